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
"""What a child has after a fork: locks, and databases of its parent.

Whichever thread held a lock is not there.  The child goes on with the thread
that forked, its open transaction and its run: what these end with must not
wait for ever.

A storage that the parent opened is the parent's.  Two processes that write
into one file, or talk over one connection, damage both.
"""
import os
import threading
from weakref import WeakKeyDictionary
from weakref import WeakSet


_owners = WeakSet()   # of `Locked`
_opened = WeakKeyDictionary()   # DB -> pid of the process that opened it


class Locked:
    """Base of what has a lock, ``_lock``; another one in each child."""

    def __init__(self):
        self._lock = threading.Lock()
        _owners.add(self)


def noteDatabase(db):
    """Remember that this process opened *db*, unless a parent did."""
    _opened.setdefault(db, os.getpid())


def isInherited(db):
    """Return whether a parent of this process opened the storage of *db*."""
    me = os.getpid()
    return me != _opened.get(db, me) or me != _lockedBy(db.storage)


def _lockedBy(storage):
    """Return the pid in the lock file of a FileStorage; ours for others."""
    path = getattr(storage, '_file_name', None)
    if path is None or getattr(storage, '_lock_file', None) is None:
        return os.getpid()
    try:
        with open(path + '.lock') as file:
            return int(file.read(100))
    except (OSError, ValueError):
        return os.getpid()


def _renew():
    for owner in list(_owners):
        owner._lock = threading.Lock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_renew)
