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
"""The layers of tests that take their time, and the guard of all others.

``bin/test -u`` runs the tests that are of no layer: the unit tests.  They are
quick and start no runtime, no process and no server: the guard refuses.

`bootstrap.py test` runs `Live`, `Long` and all others in a process each.
"""
import functools
import sys
import threading
import unittest

from cipher.background.work.stack import frameOf


class Live:
    """Tests that start a runtime, a process or a server."""


class Long:
    """Tests that compute or store much."""


class NoUnitTest(Exception):
    """A test that is of no layer starts what only others may."""


#: The events of `sys.addaudithook` that no unit test may cause.
FORBIDDEN = {
    'os.fork': 'fork',
    'os.forkpty': 'fork',
    'os.posix_spawn': 'process',
    'os.spawn': 'process',
    'os.system': 'process',
    'subprocess.Popen': 'process',
    'socket.bind': 'server',
}
_RUNTIME = 'cipher.background.runtime.'


def findTest():
    """Return the test that is run in the main thread, or None."""
    frame = frameOf(threading.main_thread().ident)
    while frame is not None:
        if frame.f_code is unittest.TestCase.run.__code__:
            return frame.f_locals['self']
        frame = frame.f_back
    return None


def installGuard():
    """Let unit tests fail that start what they must not."""
    sys.addaudithook(_audit)
    start = threading.Thread.start

    @functools.wraps(start)
    def guarded(thread):
        if _is_of_runtime(thread):
            _refuse('runtime', thread.name)
        start(thread)

    threading.Thread.start = guarded


def _audit(event, _args):
    if event in FORBIDDEN:
        _refuse(FORBIDDEN[event], event)


def _refuse(what, got):
    test = findTest()
    if test is not None and getattr(test, 'layer', None) is None:
        raise NoUnitTest(
            '%s: expected no %s of a unit test, got %s; let its class have a '
            'layer of cipher.background.tests.support.layers' % (
                test.id(), what, got))


def _is_of_runtime(thread):
    return any(str(getattr(one, '__module__', '')).startswith(_RUNTIME)
               for one in (type(thread), getattr(thread, '_target', None)))
