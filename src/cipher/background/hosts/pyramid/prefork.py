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
"""Servers that load the application before they fork."""
import os

from cipher.background.util.forks import Locked
from cipher.background.util.logs import getLogger


log = getLogger(__name__)


class PerProcess(Locked):
    """A WSGI application that each process makes for itself.

    *make* is a function without arguments that returns the application, with
    a database of its own.  It is called at the first request, or earlier when
    the process calls ``open()``, as the hooks of servers that fork do.
    """

    def __init__(self, make):
        super().__init__()
        self._make = make
        self._pid = None
        self._made = []   # those of a parent are kept: not to be closed here

    def open(self):
        """Make the application, once in each process; return it."""
        with self._lock:
            if self._pid != os.getpid():
                if self._pid is not None:
                    log.warning(
                        'Start: expected an application that is made after '
                        'the fork, got one that process %d has made and '
                        'works with; do not call it before the fork',
                        self._pid)
                self._made.append(self._make())
                self._pid = os.getpid()
            return self._made[-1]

    def __call__(self, environ, start_response):
        """Answer a request."""
        return self.open()(environ, start_response)
