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
"""What became of a lost run before its rescue begins is looked at again."""
import time
import traceback

import transaction
from zope.component import provideHandler
from zope.interface import Interface
from zope.schema import Password

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import IRunRequeuedEvent
from cipher.background.interfaces import RunFailedEvent
from cipher.background.logs import MaskedError
from cipher.background.process import ProcessRecord
from cipher.background.process import getDirectory
from cipher.background.rescuer import Rescuer
from cipher.background.runtime import Runtime
from cipher.background.runtime import RuntimeSettings
from cipher.background.tests.live_support import declareWorker
from cipher.background.tests.support import SiteTests


class RescueTests(SiteTests):

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: None)
        self.runtime = Runtime(self.db, RuntimeSettings(threads=1))
        self.rescuer = Rescuer(self.runtime)

    def makeRunning(self, owner, **input):
        """Return a committed run that *owner* runs."""
        run = self.registry.start('work', **input)
        run.change(RUNNING, owner=owner, started_at=time.time())
        transaction.commit()
        return run

    def rescue(self, *runs):
        """Rescue these as lost."""
        self.assertTrue(self.rescuer.rescue(self.connection, [
            (self.registry._p_oid, run.lane, run.serial) for run in runs]))

    def assertLostIsRescued(self, *runs):
        """Rescue *runs* and a lost one; assert that one waits again."""
        lost = self.makeRunning('host:1:dead')
        self.rescue(*runs, lost)
        self.assertEqual((lost.state, lost.owner, lost.interruptions),
                         ('pending', None, 1))

    def test_lost_run_waits_again(self):
        self.assertLostIsRescued()

    def test_run_that_is_gone(self):
        run = self.makeRunning('host:1:dead')
        self.registry.finish(run, FAILED, RunFailedEvent)
        self.registry.remove(run.id)
        transaction.commit()
        self.assertLostIsRescued(run)
        self.assertIsNone(self.registry.get(run.id))

    def test_run_that_is_finished(self):
        run = self.makeRunning('host:1:dead')
        self.registry.finish(run, FAILED, RunFailedEvent)
        transaction.commit()
        epoch = run.epoch
        self.assertLostIsRescued(run)
        self.assertEqual((run.state, run.epoch, run.interruptions),
                         ('failed', epoch, 0))

    def test_run_that_another_process_took(self):
        other = ProcessRecord('host:2:alive', 'host', 2, None, None, 1, 90.0,
                              time.time())
        getDirectory(self.connection).processes[other.id] = other
        taken = self.makeRunning(other.id)
        waiting = self.registry.start('work')
        other.live.runs[self.registry._p_oid, waiting.id] = (
            time.time(), None, '', None)
        other.live._p_changed = True
        transaction.commit()
        epochs = taken.epoch, waiting.epoch
        self.assertLostIsRescued(taken, waiting)
        self.assertEqual((taken.state, taken.owner), ('running', other.id))
        self.assertEqual((taken.epoch, waiting.epoch), epochs)

    def test_run_of_this_process_whose_end_could_not_be_written(self):
        own = ProcessRecord(self.runtime.id, 'host', 1, None, None, 1, 90.0,
                            time.time())
        getDirectory(self.connection).processes[own.id] = own
        run = self.makeRunning(own.id)
        self.rescue(run)
        self.assertEqual((run.state, run.owner), ('pending', None))

    def test_line_49_error_of_a_subscriber_shows_no_secret(self):
        class ILogin(Interface):
            password = Password(title='Password')

        def fail(event):
            raise ValueError(event.object.input['password'])

        provideHandler(fail, [IRunRequeuedEvent])
        declareWorker('work', lambda worker, password: None, schema=ILogin)
        run = self.makeRunning('host:1:dead', password='sesame-open')
        with self.assertRaises(MaskedError) as caught:
            self.rescue(run)
        text = ''.join(traceback.format_exception(caught.exception))
        self.assertIn('ValueError: \u2022\u2022\u2022', text)
        self.assertNotIn('sesame-open', text)

    def test_registry_that_is_gone(self):
        lost = self.makeRunning('host:1:dead')
        self.assertTrue(self.rescuer.rescue(self.connection, [
            (b'\0' * 7 + b'\xff', 1, 1),
            (self.registry._p_oid, lost.lane, lost.serial)]))
        self.assertEqual(lost.state, 'pending')
