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
"""Context managers for a thread that enters the world of an application.

Classes rather than generators: they are entered for each iteration.
"""
import logging
from contextlib import ContextDecorator

import transaction
from zope.component import hooks
from zope.security.management import endInteraction
from zope.security.management import newInteraction

from cipher.background.util.spoiled import forgetCaches
from cipher.background.util.spoiled import noteServer
from cipher.background.util.spoiled import spoils


log = logging.getLogger(__name__)


def abortQuietly():
    """Abort the thread's transaction because of an error that goes on.

    A storage that is away may make that fail as well, but only behind the
    abort proper: the error to tell of is the first one.
    """
    try:
        transaction.abort()
    except Exception as error:
        log.debug('Abort: %s: %s', type(error).__name__, error)


class ZopeInteraction(ContextDecorator):
    """Work within an interaction of these participations.

    Raise ``ExistingInteraction`` where the thread already has one.  Beware:
    an interaction without any participation is allowed everything.
    """

    def __init__(self, *participations):
        self._participations = participations

    def __enter__(self):
        newInteraction(*self._participations)

    def __exit__(self, *error):
        endInteraction()


class ZodbConnection(ContextDecorator):
    """Work with a connection of *db*, closed at the end whatever happens."""

    def __init__(self, db):
        self._db = db

    def __enter__(self):
        return self._open()

    def __exit__(self, type, error, traceback):
        if error is not None and spoils(error):
            forgetCaches(self._db)
        self._close()

    def renew(self):
        """Return another connection, with an empty cache, for another try."""
        abortQuietly()
        forgetCaches(self._db)
        self._close()
        return self._open()

    def _close(self):
        # `DB.close` in another thread takes the storage away first and then
        # closes the connection itself: a second close would disturb it.
        if getattr(self._connection, '_storage', self) is not None:
            self._connection.close()

    def _open(self):
        noteServer(self._db)
        self._connection = self._db.open()
        return self._connection


class Door(ZodbConnection):
    """A connection for a look and for what that leads to.

    `open` it, then go on with it as a context manager, which closes it at the
    end.  Only what was not opened before is opened there.
    """

    _connection = None

    def __enter__(self):
        return self._connection or self._open()

    def __exit__(self, *error):
        try:
            super().__exit__(*error)
        finally:
            self._connection = None

    def open(self):
        """Return a connection that sees what was committed before."""
        self.close()
        return self._open()

    def close(self):
        """Close it, if it is open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                log.debug('Close: %s: %s', type(error).__name__, error)


class ZopeSite(ContextDecorator):
    """Work with *site* as the current site; the one before comes back."""

    def __init__(self, site):
        self._site = site

    def __enter__(self):
        self._previous = hooks.getSite()
        try:
            hooks.setSite(self._site)
        except BaseException:
            hooks.setSite(self._previous)
            raise
        return self._site

    def __exit__(self, *error):
        hooks.setSite(self._previous)


class ZopeTransaction(ContextDecorator):
    """Work within a fresh transaction of the thread.

    It is committed at the end, and aborted on any exception, which goes on.
    Beware: what was pending in the thread before is aborted, not committed.
    """

    def __init__(self, user=None, note=None, path="/"):
        self._user = user
        self._note = note
        self._path = path

    def __enter__(self):
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

    def __exit__(self, type, error, traceback):
        if type is not None:
            abortQuietly()
            return
        # Not the one of __enter__: the work may have ended that one and
        # begun another.
        try:
            transaction.commit()
        except BaseException:
            abortQuietly()
            raise
