##############################################################################
#
# Copyright (c) Zope Foundation and Contributors.
# All Rights Reserved.
#
# This software is subject to the provisions of the Zope Public License,
# Version 2.1 (ZPL).  A copy of the ZPL should accompany this distribution.
# THIS SOFTWARE IS PROVIDED "AS IS" AND ANY AND ALL EXPRESS OR IMPLIED
# WARRANTIES ARE DISCLAIMED, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED
# WARRANTIES OF TITLE, MERCHANTABILITY, AGAINST INFRINGEMENT, AND FITNESS
# FOR A PARTICULAR PURPOSE.
#
##############################################################################
"""Context managers for work in the environment of an application.

They set up an interaction, a connection, a site and a transaction for the
calling thread.  A worker enters them anew for each iteration: they are
classes, because a generator could be entered only once.
"""
import logging
from contextlib import ContextDecorator
from contextlib import nullcontext
from typing import TYPE_CHECKING
from typing import Any

import transaction

from cipher.background.util.host import getHost
from cipher.background.util.spoiled import forgetCaches
from cipher.background.util.spoiled import noteServer
from cipher.background.util.spoiled import spoils


if TYPE_CHECKING:
    from transaction import Transaction
    from ZODB.Connection import Connection
    from ZODB.DB import DB


log = logging.getLogger(__name__)


def abortQuietly() -> None:
    """Abort the thread's transaction while another error is handled.

    If the storage is away, the abort may raise as well, after it has taken
    effect.  That error is logged only: the first one is to be reported.
    """
    try:
        transaction.abort()
    except Exception as error:
        log.debug('Abort: %s: %s', type(error).__name__, error)


class ZopeInteraction(ContextDecorator):
    """Work in an interaction with these participations.

    Raise ``ExistingInteraction`` if the thread already has an interaction.
    Beware: an interaction without participations is allowed everything.
    """

    def __init__(self, *participations: Any) -> None:
        self._participations = participations

    def __enter__(self) -> None:
        getHost().beginInteraction(*self._participations)

    def __exit__(self, *error: Any) -> None:
        getHost().endInteraction()


def closeConnection(db: 'DB', connection: 'Connection') -> None:
    """Close *connection* of *db*, unless `DB.close` has done so.

    `DB.close` closes the connections of all threads, and two closes of one at
    a time fail.  So this waits for the lock that it holds meanwhile.
    """
    with getattr(db, '_lock', None) or nullcontext():
        if getattr(connection, '_storage', db) is not None:
            connection.close()


class ZodbConnection(ContextDecorator):
    """Work with a connection of *db*, which is closed at the end."""

    def __init__(self, db: 'DB') -> None:
        self._db = db

    def __enter__(self) -> 'Connection':
        return self._open()

    def __exit__(self, type: Any, error: Any, traceback: Any) -> None:
        if error is not None and spoils(error):
            forgetCaches(self._db)
        closeConnection(self._db, self._connection)

    def renew(self) -> 'Connection':
        """Abort, and return another connection with an empty cache."""
        abortQuietly()
        forgetCaches(self._db)
        closeConnection(self._db, self._connection)
        return self._open()

    def _open(self) -> 'Connection':
        noteServer(self._db)
        self._connection = self._db.open()
        return self._connection


class Door(ZodbConnection):
    """A connection to look at the database, and to work with at once.

    Call `open` to look.  To work, enter it as a context manager: it goes on
    with the open connection, or opens one, and closes it at the end.
    """

    _connection: 'Connection | None' = None
    #: What a look found, for the work in the same snapshot; else None.
    found: Any = None

    def __enter__(self) -> 'Connection':
        return self._connection or self._open()

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)
        finally:
            self._connection = self.found = None

    def open(self) -> 'Connection':
        """Return a new connection, which shows all that is committed now."""
        self.close()
        return self._open()

    def close(self) -> None:
        """Close the connection if it is open."""
        connection, self._connection = self._connection, None
        self.found = None
        if connection is not None:
            try:
                closeConnection(self._db, connection)
            except Exception as error:
                log.debug('Close: %s: %s', type(error).__name__, error)


class ZopeSite(ContextDecorator):
    """Work with *site* as the current site; restore the previous one."""

    def __init__(self, site: Any) -> None:
        self._site = site

    def __enter__(self) -> Any:
        self._previous = getHost().enterSite(self._site)
        return self._site

    def __exit__(self, *error: Any) -> None:
        getHost().leaveSite(self._previous)


class ZopeTransaction(ContextDecorator):
    """Work in a new transaction of the thread.

    Commit it at the end; on an exception, abort it and let the exception go
    on.  Beware: changes that were pending in the thread before are aborted.
    """

    def __init__(self, user: str | None = None, note: str | None = None,
                 path: str = "/") -> None:
        self._user = user
        self._note = note
        self._path = path

    def __enter__(self) -> 'Transaction':
        try:
            txn = transaction.begin()
            if self._user:
                txn.setUser(self._user, self._path)
            if self._note:
                txn.note(self._note)
        except BaseException:
            abortQuietly()
            raise
        return txn

    def __exit__(self, type: Any, error: Any, traceback: Any) -> None:
        if type is not None:
            abortQuietly()
            return
        # Commit the current transaction: the work may have ended the one of
        # __enter__ and begun another.
        try:
            transaction.commit()
        except BaseException:
            abortQuietly()
            raise
