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
"""The record of one execution: its stored form and its life."""
import pickle
import unittest

from ZODB.DB import DB
from zope.interface.verify import verifyObject

from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STATES
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IllegalTransition
from cipher.background.interfaces import IStopRequest
from cipher.background.interfaces import IWorkerRun
from cipher.background.store import run as run_module
from cipher.background.store.run import RunDetails
from cipher.background.store.run import StopRequest
from cipher.background.store.run import WorkerRun


NOW = 1800000000.25

#: The order of what is stored.  Append only: databases have it.
STORED = (
    'lane', 'serial', 'stored_state', 'type', 'created_at', 'starter',
    'reference', 'input', 'permission', 'title', 'priority', 'due_at',
    'depth', 'merged_starts', 'epoch', 'attempts', 'interruptions', 'owner',
    'started_at', 'finished_at', 'result', 'error', 'progress',
    'stop_request', 'details', 'must_not_rerun')


def makeRun(**values):
    return WorkerRun('count', 3, 17, NOW, **values)


class StoredFormTests(unittest.TestCase):

    def test_order_of_what_is_stored_only_grows(self):
        self.assertEqual(run_module._FIELDS[:len(STORED)], STORED)
        self.assertEqual(
            STATES, ('pending', 'running', 'succeeded', 'failed', 'stopped',
                     'interrupted'))

    def test_new_run_stores_its_birth_only(self):
        self.assertEqual(makeRun().__getstate__(), (3, 17, 0, 'count', NOW))

    def test_every_field_comes_back(self):
        values = {name: [n] for n, name in enumerate(STORED)
                  if name not in ('lane', 'serial', 'type', 'created_at')}
        state = makeRun(**values).__getstate__()
        copy = WorkerRun.__new__(WorkerRun)
        copy.__setstate__(pickle.loads(pickle.dumps(state)))
        for name, value in values.items():
            with self.subTest(name=name):
                self.assertEqual(getattr(copy, name), value)
        self.assertEqual(
            (copy.lane, copy.serial, copy.type, copy.created_at),
            (3, 17, 'count', NOW))

    def test_what_is_not_stored_has_its_default(self):
        copy = WorkerRun.__new__(WorkerRun)
        copy.__setstate__(makeRun(starter='bob').__getstate__())
        self.assertEqual((copy.starter, copy.input, copy.attempts),
                         ('bob', None, 0))

    def test_state_of_an_older_and_of_a_newer_version_is_read(self):
        copy = WorkerRun.__new__(WorkerRun)
        copy.__setstate__((3, 17))
        self.assertEqual((copy.id, copy.state), ('3-17', PENDING))
        copy = WorkerRun.__new__(WorkerRun)
        copy.__setstate__(tuple(range(len(STORED))) + ('of the future',))
        self.assertEqual(getattr(copy, STORED[-1]), len(STORED) - 1)

    def test_default_in_the_middle_is_kept_apart_from_what_follows(self):
        for name in STORED[5:]:
            with self.subTest(name=name):
                copy = WorkerRun.__new__(WorkerRun)
                copy.__setstate__(makeRun(**{name: 'x'}).__getstate__())
                for other in STORED[5:]:
                    expected = getattr(WorkerRun, other)
                    self.assertEqual(getattr(copy, other),
                                     'x' if other == name else expected)

    def test_false_and_zero_are_not_lost(self):
        for result in (False, 0, 0.0, '', (), [], {}):
            with self.subTest(result=result):
                copy = WorkerRun.__new__(WorkerRun)
                copy.__setstate__(makeRun(result=result).__getstate__())
                self.assertEqual(copy.result, result)
                self.assertIs(type(copy.result), type(result))

    def test_run_that_becomes_shorter_forgets(self):
        # As at an abort or an invalidation: the object stays, its state goes.
        db = DB(None)
        self.addCleanup(db.close)
        connection = db.open()
        self.addCleanup(connection.close)
        run = connection.root()['run'] = makeRun()
        connection.transaction_manager.commit()
        run.change(RUNNING, owner='somebody', started_at=NOW)
        connection.transaction_manager.abort()
        self.assertEqual((run.state, run.owner, run.started_at),
                         (PENDING, None, None))

    def test_stored_sizes_stay_small(self):
        run = makeRun()
        sizes = [len(pickle.dumps(run.__getstate__(), 3))]
        run.claim('host:12345:' + '0' * 16, NOW, False)
        run.change(SUCCEEDED, finished_at=NOW, result='done')
        sizes.append(len(pickle.dumps(run.__getstate__(), 3)))
        self.assertLessEqual(sizes[0], 40)
        self.assertLessEqual(sizes[1], 140)

    def test_details_store_only_what_there_is(self):
        self.assertFalse(RunDetails().__getstate__())
        details = RunDetails(log='a line')
        self.assertEqual(details.__getstate__(), {'log': 'a line'})
        self.assertEqual((details.traceback, details.log), ('', 'a line'))


class LifeTests(unittest.TestCase):

    def test_run_provides_its_interface(self):
        verifyObject(IWorkerRun, makeRun())
        verifyObject(IStopRequest, StopRequest())

    def test_new_run_is_pending(self):
        run = makeRun()
        self.assertEqual((run.id, run.__name__), ('3-17', '3-17'))
        self.assertEqual((run.state, run.isFinished()), (PENDING, False))
        self.assertEqual((run.attempts, run.epoch, run.stop), (0, 0, None))
        self.assertIsNone(run.context)
        self.assertIsNone(run.__parent__)

    def test_claim_gives_the_run_to_a_process(self):
        run = makeRun()
        self.assertEqual(run.claim('host:7:1f', NOW + 1, True), 1)
        self.assertEqual(
            (run.state, run.owner, run.started_at, run.epoch,
             run.attempts, run.must_not_rerun),
            (RUNNING, 'host:7:1f', NOW + 1, 1, 1, True))

    def test_run_cannot_be_claimed_twice(self):
        run = makeRun()
        run.claim('first', NOW, False)
        with self.assertRaises(IllegalTransition):
            run.claim('second', NOW, False)
        self.assertEqual((run.owner, run.epoch, run.attempts), ('first', 1, 1))

    def test_put_back_makes_it_wait_and_takes_it_from_its_owner(self):
        run = makeRun()
        run.claim('first', NOW, True)
        run.putBack(interruptions=1)
        self.assertEqual(
            (run.state, run.owner, run.started_at,
             run.interruptions, run.attempts),
            (PENDING, None, None, 1, 1))
        self.assertEqual(run.epoch, 2)

    def test_epoch_grows_at_each_claim_and_put_back(self):
        run = makeRun()
        epochs = [run.epoch]
        for _ in range(3):
            run.claim('o', NOW, False)
            epochs.append(run.epoch)
            run.putBack()
            epochs.append(run.epoch)
        self.assertEqual(epochs, list(range(7)))
        self.assertEqual(run.attempts, 3)

    def test_run_that_waits_can_be_put_back(self):
        run = makeRun()
        run.putBack(interruptions=1)
        self.assertEqual((run.state, run.epoch, run.interruptions),
                         (PENDING, 1, 1))

    def test_finished_run_changes_no_more(self):
        for state in FINISHED_STATES:
            run = makeRun()
            run.change(state, finished_at=NOW)
            self.assertTrue(run.isFinished())
            before = run.__getstate__()
            for action in (
                    lambda: run.claim('o', NOW, False),
                    run.putBack,
                    lambda: run.change(STOPPED, result='late')):
                with self.assertRaises(IllegalTransition):
                    action()
            self.assertEqual(run.__getstate__(), before)

    def test_refused_change_sets_nothing(self):
        run = makeRun()
        with self.assertRaises(IllegalTransition):
            run.change(PENDING, owner='x')
        self.assertIsNone(run.owner)

    def test_stop_request_is_read_as_an_object(self):
        run = makeRun(stop_request=('bob', NOW, 'why'))
        self.assertEqual(
            (run.stop.principal, run.stop.asked_at, run.stop.reason),
            ('bob', NOW, 'why'))

    def test_repr_tells_run_type_and_state(self):
        self.assertEqual(
            repr(makeRun()), "<WorkerRun 3-17 of 'count': pending>")
