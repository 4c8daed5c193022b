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
import io
import logging
import time

import transaction
from ZODB.POSException import ConflictError
from zope.component import provideHandler
from zope.interface import Interface
from zope.schema import Password

from cipher.background.events import RunFailedEvent
from cipher.background.events import RunStoppedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import IRunRequeuedEvent
from cipher.background.runtime.runtime import Runtime
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.store.process import machineId
from cipher.background.store.run import StopRequest
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests
from cipher.background.work.liverun import LiveRun
from cipher.background.work.liverun import Ticket


class RescuerTests(SiteTests):
    """A runtime that has not started, and its rescuer."""

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: None)
        self.runtime = Runtime(self.db, RuntimeSettings(threads=1))
        self.runtime._maintenance.turn(True)
        maintenance = self.runtime._maintenance
        self.rescuer = maintenance._rescuer
        self.dead_processes = maintenance._dead_processes


class RescueTests(RescuerTests):

    def makeRunning(self, owner, **input):
        """Return a committed run that *owner* runs."""
        transaction.begin()
        run = self.registry.start('work', **input)
        run.change(RUNNING, owner=owner, started_at=time.time())
        transaction.commit()
        return run

    def rescue(self, *runs):
        """Rescue these as lost."""
        self.rescuer.rescueAll(self.connection, [
            Ticket(self.registry._p_oid, run.lane, run.serial)
            for run in runs])
        transaction.begin()

    def assertLostIsRescued(self, *runs):
        """Rescue *runs* and a lost one; assert that one waits again."""
        lost = self.makeRunning('host:1:dead')
        self.rescue(*runs, lost)
        self.assertEqual((lost.state, lost.owner, lost.interruptions),
                         ('pending', None, 1))

    def test_lost_run_waits_again(self):
        self.assertLostIsRescued()

    def test_lost_run_is_found_by_a_turn(self):
        lost = self.makeRunning('host:1:dead')
        for _ in range(2):
            self.runtime._maintenance.turn(True)
        transaction.begin()
        self.assertEqual((lost.state, lost.interruptions), ('pending', 1))
        # Who does not survive it next is counted.
        self.assertTrue(self.runtime.backlog.poll().must_claim)

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
        transaction.commit()
        claimed = self.makeRunning(other.id)
        taken = self.registry.start('work')
        taken.owner = other.id
        transaction.commit()
        epochs = claimed.epoch, taken.epoch
        self.assertLostIsRescued(claimed, taken)
        self.assertEqual((claimed.state, claimed.owner),
                         ('running', other.id))
        self.assertEqual((taken.state, taken.owner), ('pending', other.id))
        self.assertEqual((claimed.epoch, taken.epoch), epochs)

    def test_run_of_this_process_whose_end_could_not_be_written(self):
        run = self.makeRunning(self.runtime.id)
        self.runtime.runs.unrecorded.add(
            Ticket(self.registry._p_oid, run.lane, run.serial))
        self.rescuer.rescueUnrecorded(self.connection)
        transaction.begin()
        self.assertEqual((run.state, run.owner), ('pending', None))
        self.assertFalse(self.runtime.runs.unrecorded)

    def test_error_of_a_subscriber_shows_no_secret(self):
        class ILogin(Interface):
            password = Password(title='Password')

        def fail(event):
            raise ValueError(event.object.input['password'])

        provideHandler(fail, [IRunRequeuedEvent])
        declareWorker('work', lambda worker, password: None, schema=ILogin)
        run = self.makeRunning('host:1:dead', password='sesame-open')
        logged = io.StringIO()
        handler = logging.StreamHandler(logged)
        logger = logging.getLogger(
            'cipher.background.runtime.maintenance.troubles')
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)
        self.rescue(run)
        self.assertEqual(run.state, 'pending')
        self.assertIn('ValueError: \u2022\u2022\u2022', logged.getvalue())
        self.assertNotIn('sesame-open', logged.getvalue())

    def test_registry_that_is_gone(self):
        lost = self.makeRunning('host:1:dead')
        self.rescuer.rescueAll(self.connection, [
            Ticket(b'\0' * 7 + b'\xff', 1, 1),
            Ticket(self.registry._p_oid, lost.lane, lost.serial)])
        transaction.begin()
        self.assertEqual(lost.state, 'pending')


class AbandonTests(RescuerTests):
    """A young live run is abandoned only if others took or stopped it."""

    def look(self, change, **values):
        """Let *change* act on a live run; return whether it is abandoned.

        *values* are those of its ticket.
        """
        run = self.registry.start('work')
        transaction.commit()
        live = LiveRun(self.runtime, Ticket(
            self.registry._p_oid, run.lane, run.serial, **values))
        self.assertTrue(self.runtime.running.enter(live))
        self.addCleanup(self.runtime.running.leave, live)
        change(run, live)
        transaction.commit()
        self.rescuer.abandonLost(self.connection)
        return live.is_abandoned

    def test_run_that_works_on(self):
        self.assertFalse(self.look(lambda run, live: None))

    def test_run_that_others_stopped_as_a_waiting_one(self):
        self.assertTrue(self.look(
            lambda run, live: self.registry.requestStop(run.id)))

    def test_run_that_others_took(self):
        self.assertTrue(self.look(
            lambda run, live: run.claim('host:2:alive', 1.0, True)))

    def test_run_of_a_dead_process_that_is_not_claimed_yet(self):
        def leave(run, live):
            run.owner = 'host:1:dead'

        self.assertFalse(self.look(leave, must_claim=True))
        self.assertTrue(self.look(leave))

    def test_run_that_its_own_thread_ended(self):
        self.assertFalse(self.look(lambda run, live: self.registry.finish(
            run, FAILED, RunFailedEvent)))

    def test_stop_that_its_own_thread_carried_out(self):
        def stop(run, live):
            asked = 'zope.admin', time.time(), None
            live.requestStop(StopRequest(*asked))
            self.registry.finish(
                run, STOPPED, RunStoppedEvent, stop_request=asked)

        self.assertFalse(self.look(stop))

    def test_old_run_that_is_finished(self):
        def finish(run, live):
            live.started_at -= 1.0
            self.registry.finish(run, FAILED, RunFailedEvent)

        self.assertTrue(self.look(finish))


class DeadProcessTests(RescueTests):
    """What a dead process said it worked on is counted as its death."""

    def die(self, *runs):
        """Let a process die that said that it works on these."""
        dead = ProcessRecord('host:1:dead', 'host', 1, machineId(), 'never',
                             1, 90.0, time.time())
        dead.live.runs = {(self.registry._p_oid, run.id): (
            time.time(), None, '', None) for run in runs}
        getDirectory(self.connection).processes[dead.id] = dead
        transaction.commit()
        return dead

    def test_its_run_is_counted_whoever_looks_after_it(self):
        run, other = self.registry.start('work'), self.registry.start('work')
        self.die(run)
        self.dead_processes.remove(self.connection)
        transaction.begin()
        self.assertNotIn('host:1:dead',
                         getDirectory(self.connection).processes)
        # It is stored, not remembered by the process that saw the death.
        self.assertEqual((run.state, run.owner), ('running', 'host:1:dead'))
        self.assertEqual((other.state, other.owner), ('pending', None))
        for _ in range(2):
            self.runtime._maintenance.turn(True)
        transaction.begin()
        self.assertEqual((run.state, run.interruptions), ('pending', 1))
        self.assertEqual(other.interruptions, 0)

    def test_process_that_beats_after_all_loses_nothing(self):
        run = self.registry.start('work')
        dead = self.die(run)
        beats = [1]
        find = self.dead_processes._liveness.findDead

        def find_and_beat(directory):
            found = find(directory)
            for record in found:
                record.heartbeat._p_activate()
            while beats:
                beats.pop()
                manager = transaction.TransactionManager()
                connection = self.db.open(manager)
                connection.get(dead.heartbeat._p_oid).count += 1
                manager.commit()
                connection.close()
            return found

        self.dead_processes._liveness.findDead = find_and_beat
        with self.assertRaises(ConflictError):
            self.dead_processes.remove(self.connection)
        transaction.begin()
        self.assertEqual((run.state, run.owner), ('pending', None))
        self.assertIn(dead.id, getDirectory(self.connection).processes)
