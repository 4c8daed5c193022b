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
"""Locks in a child after a fork: whichever thread held them is not there.

The child goes on with the thread that forked, its open transaction and its
run: what these end with must not wait for ever.
"""
import os
import threading
from weakref import WeakSet


_owners = WeakSet()


def renewLock(owner):
    """Give *owner* a new lock, ``_lock``; another one in each child."""
    owner._lock = threading.Lock()
    _owners.add(owner)


def _renew():
    for owner in list(_owners):
        owner._lock = threading.Lock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_renew)
