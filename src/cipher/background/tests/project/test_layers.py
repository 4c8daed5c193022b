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
"""Unit tests, which are of no layer, start no runtime, process or server."""
import os
import socket
import subprocess
import sys
import threading
import unittest

from ZODB.DB import DB

from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.runtime.runtime import startRuntime
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.layers import NoUnitTest
from cipher.background.tests.support.layers import findTest
from cipher.background.tests.support.live import inFork


def _run_process():
    subprocess.run([sys.executable, '-c', ''], check=True, timeout=60)


def _spawn():
    os.waitpid(os.posix_spawn(
        sys.executable, [sys.executable, '-c', ''], {}), 0)


def _serve():
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        server.listen()


def _serve_in_a_thread():
    errors = []

    def serve():
        try:
            _serve()
        except NoUnitTest as error:
            errors.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def _start_runtime():
    db = DB(None)
    try:
        startRuntime(db, RuntimeSettings(threads=0)).shutdown()
    finally:
        db.close()


#: What only tests of a layer may do.
STARTS = {
    'fork': lambda: inFork(lambda: None),
    'process': _run_process,
    'spawn': _spawn,
    'system': lambda: os.system('true'),
    'server': _serve,
    'server in a thread': _serve_in_a_thread,
    'runtime': _start_runtime,
}


class GuardTests(unittest.TestCase):
    """Of a layer, as its tests start what unit tests must not."""

    layer = Live

    def runAs(self, layer, call):
        """Return the error of a test of that layer that calls *call*."""
        test = unittest.FunctionTestCase(call)
        if layer is not None:
            test.layer = layer
        result = unittest.TestResult()
        test.run(result)
        self.assertEqual(result.testsRun, 1)
        self.assertEqual(result.failures, [])
        return ''.join(text for _test, text in result.errors)

    def test_unit_tests_start_nothing(self):
        for name, call in STARTS.items():
            with self.subTest(name):
                error = self.runAs(None, call)
                self.assertRegex(
                    error, r'NoUnitTest: \S+: expected no \w+ of a unit test')

    def test_tests_of_a_layer_start_what_they_like(self):
        for name, call in STARTS.items():
            with self.subTest(name):
                self.assertEqual(self.runAs(Live, call), '')

    def test_threads_of_others_may_be_started(self):
        def start():
            thread = threading.Thread(target=findTest)
            thread.start()
            thread.join()

        self.assertEqual(self.runAs(None, start), '')

    def test_innermost_test_counts(self):
        self.assertIs(findTest(), self)
        found = []
        self.runAs(None, lambda: found.append(findTest()))
        self.assertIsInstance(found[0], unittest.FunctionTestCase)
