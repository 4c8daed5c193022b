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
"""A look at the stack of another thread harms no thread."""
import gc
import subprocess
import sys
import threading
import unittest

from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.servers import programEnvironment
from cipher.background.tests.support.sites import LIMIT
from cipher.background.work.stack import frameOf


class FrameTests(unittest.TestCase):

    def test_garbage_is_collected_again_if_it_was(self):
        self.addCleanup(gc.enable)
        for is_enabled in True, False:
            (gc.enable if is_enabled else gc.disable)()
            self.assertIsNotNone(frameOf(threading.get_ident()))
            self.assertEqual(gc.isenabled(), is_enabled)

    def test_thread_that_is_not_there(self):
        self.assertIsNone(frameOf(0))


class CollectedTests(unittest.TestCase):

    layer = Live

    def test_process_goes_on_if_garbage_is_collected_meanwhile(self):
        done = subprocess.run(
            [sys.executable, '-m',
             'cipher.background.tests.support.lookingprocess'],
            env=programEnvironment(), timeout=LIMIT, check=False)
        self.assertEqual(done.returncode, 0)
