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
"""Loops outlive more crashes than jobs, if they went on for long."""
import transaction

from cipher.background.store.lifecycle import MAX_INTERRUPTIONS
from cipher.background.store.lifecycle import STEADY_AFTER
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util import clock


class Loop(BackgroundWorkerThread):
    """Ends as soon as it is begun."""


class LoopRescueTests(LiveTests):

    def carryOutOfTheDead(self, ran_for):
        """Return the status of a loop whose process died after *ran_for*.

        It had died too often before.
        """
        declareWorker('loop', factory=Loop, is_loop=True)
        self.runtime.shutdown()
        run_id = self.start('loop')
        run = self.registry.get(run_id)
        run.claim('dead:1:0', clock.now() - ran_for, must_not_rerun=False)
        run.interruptions = MAX_INTERRUPTIONS - 1
        transaction.commit()
        self.runtime = self.startRuntime()
        return self.waitFinished(run_id)

    def test_loop_that_ends_its_process_soon_is_failed(self):
        status = self.carryOutOfTheDead(1.0)
        self.assertEqual((status.state, status.error_type),
                         ('failed', 'ProcessDied'))

    def test_loop_that_went_on_for_long_is_begun_again(self):
        status = self.carryOutOfTheDead(STEADY_AFTER + 1)
        self.assertEqual((status.state, status.interruptions),
                         ('succeeded', 1))
