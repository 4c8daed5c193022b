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
"""A storage with a transient failure at any chosen load or store."""
import threading
from unittest import mock

from transaction.interfaces import TransientError
from ZODB.Connection import Connection
from ZODB.mvccadapter import MVCCAdapterInstance


class Away(TransientError):
    """The storage is unavailable for a moment."""


class Flaky:
    """Context manager: chosen calls of the storage fail.

    *fails* is called in the calling thread, with the name of the method and
    the number of the call.  If it returns true, the call fails.
    """

    # A load; the stores of a commit or some of them; the vote.
    METHODS = ((MVCCAdapterInstance, 'load'), (Connection, '_store_objects'),
               (Connection, 'tpc_vote'))

    # The begin of a commit; its end, of which a failure loses only the reply.
    ENDS = ((Connection, 'tpc_begin'), (MVCCAdapterInstance, 'tpc_finish'))

    def __init__(self, fails, with_ends=False):
        self._fails = fails
        self._methods = self.METHODS + (self.ENDS if with_ends else ())
        self._lock = threading.Lock()
        self._patchers = []
        self.calls = 0
        self.failures = 0

    def __enter__(self):
        for kind, name in self._methods:
            patcher = mock.patch.object(
                kind, name, self._wrap(name, vars(kind)[name]))
            self._patchers.append(patcher)
            patcher.start()
        return self

    def __exit__(self, *error):
        while self._patchers:
            self._patchers.pop().stop()

    def _wrap(self, name, original):
        def call(*args, **kwargs):
            with self._lock:
                self.calls += 1
                number = self.calls
            fails = self._fails(name, number)
            if not fails or name == 'tpc_finish':
                result = original(*args, **kwargs)
            if fails:
                self.failures += 1
                if name == 'tpc_finish':
                    # Like a client after its server was unavailable.
                    args[0]._base.invalidateCache()
                raise Away('%s, call %d' % (name, number))
            return result

        return call


class FailOnce:
    """For `Flaky`: fail call *number* of the threads of a runtime."""

    def __init__(self, number, prefix='background'):
        self._left = number
        self._prefix = prefix
        self._lock = threading.Lock()

    def __call__(self, name, number):
        if not threading.current_thread().name.startswith(self._prefix):
            return False
        with self._lock:
            self._left -= 1
            return self._left == 0
