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
"""Context managers for a thread that enters the world of an application."""
from contextlib import closing
from contextlib import contextmanager

import transaction
from zope.component import hooks
from zope.security.management import endInteraction
from zope.security.management import newInteraction


@contextmanager
def ZopeInteraction(*participations):
    """Work within an interaction of these participations.

    Raise ``ExistingInteraction`` where the thread already has one.  Beware:
    an interaction without any participation is allowed everything.
    """
    newInteraction(*participations)
    try:
        yield None
    finally:
        endInteraction()


@contextmanager
def ZodbConnection(db):
    """Work with a connection of *db*, closed at the end whatever happens."""
    with closing(db.open()) as connection:
        yield connection


@contextmanager
def ZopeSite(site):
    """Work with *site* as the current site; the one before comes back."""
    previous = hooks.getSite()
    try:
        hooks.setSite(site)
        yield site
    finally:
        hooks.setSite(previous)


@contextmanager
def ZopeTransaction(user=None, note=None, path="/"):
    """Work within a fresh transaction of the thread.

    It is committed at the end, and aborted on any exception, which goes on.
    Beware: what was pending in the thread before is aborted, not committed.
    """
    txn = transaction.begin()
    try:
        if user:
            txn.setUser(user, path)
        if note:
            txn.note(note)
        yield txn
        # Not txn: the work may have ended that one and begun another.
        transaction.commit()
    except BaseException:
        transaction.abort()
        raise
