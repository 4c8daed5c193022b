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
"""Forks: give a child new locks, and recognise databases of its parent.

A child has only the thread that forked, with its open transaction and its
run.  A lock that another thread held is never released there, so the end of
the transaction would wait for ever.

A storage that the parent opened belongs to the parent.  Two processes that
write to one file, or use one connection, damage the data.
"""
import os
import threading
from weakref import WeakKeyDictionary
from weakref import WeakSet


_owners = WeakSet()   # of `Locked`
_opened = WeakKeyDictionary()   # DB -> pid of the process that opened it


class Locked:
    """Base of what has a lock, ``_lock``: a new one in each child."""

    def __init__(self):
        self._lock = threading.Lock()
        _owners.add(self)


def noteDatabase(db):
    """Remember that this process opened *db*, unless a parent did."""
    _opened.setdefault(db, os.getpid())


def listDatabases():
    """Return the databases that this process opened, as far as is known."""
    me = os.getpid()
    return [db for db, pid in list(_opened.items()) if pid == me]


def isInherited(db):
    """Return whether a parent of this process opened the storage of *db*."""
    me = os.getpid()
    return me != _opened.get(db, me) or me != _locked_by(db.storage)


def _locked_by(storage):
    """Return the pid in the lock file of *storage*, a FileStorage.

    Return the pid of this process for any other storage.
    """
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
