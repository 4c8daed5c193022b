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
"""Tests of the look at new runs, with and without the births of a lane."""
from unittest import mock

import transaction
from persistent import Persistent
from ZODB.Connection import Connection
from zope.container.contained import Contained

from cipher.background.contextmanagers import Door
from cipher.background.runtime.queue.poller import KEPT
from cipher.background.runtime.runtime import Runtime
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.store.lane import Births
from cipher.background.store.run import WorkerRun
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests
from cipher.background.util import switchboard


class Stamp(Contained, Persistent):
    """An object that is no run."""

    lane = 1


class LookTests(SiteTests):
    """A runtime without threads; the test looks as one of them would."""

    def setUp(self):
        super().setUp()
        declareWorker('work', lambda worker: None)
        self.runtime = Runtime(self.db, RuntimeSettings(threads=1))
        for _ in range(2):
            self.runtime._maintenance.turn(True)
        switchboard.connect(self.db, self.runtime)
        self.addCleanup(switchboard.disconnect, self.db, self.runtime)
        # The lane of this thread, and its connection for looks.
        transaction.begin()
        self.start()
        self.look()
        self.runtime._maintenance.turn(True)
        transaction.begin()

    def start(self, number=1):
        """Start and commit so many runs; return them."""
        runs = [self.registry.start('work') for _ in range(number)]
        transaction.commit()
        return runs

    def look(self):
        """Look; return (id of the run to begin, whether births were loaded).
        """
        kinds = set()
        setstate = Connection.setstate

        def watch(connection, obj):
            kinds.add(type(obj))
            setstate(connection, obj)

        door = Door(self.db)
        with mock.patch.object(Connection, 'setstate', watch):
            ticket = self.runtime.poller.next(door)
        self.found = door.found
        door.close()
        return ticket and ticket.run_id, Births in kinds

    def rest(self):
        """Return the ids of the further runs that are ready."""
        tickets = iter(self.runtime.backlog.poll, None)
        return [ticket.run_id for ticket in tickets]

    def test_one_new_run_needs_no_births(self):
        run, = self.start()
        self.assertEqual(self.look(), (run.id, False))
        registry, found = self.found
        self.assertEqual((registry._p_oid, found._p_oid),
                         (self.registry._p_oid, run._p_oid))
        self.assertEqual(self.rest(), [])

    def test_one_after_the_other(self):
        for _ in range(3):
            run, = self.start()
            self.assertEqual(self.look(), (run.id, False))
            self.assertEqual(self.look(), (None, False))

    def test_several_of_one_commit(self):
        first, *others = self.start(3)
        self.assertEqual(self.look(), (first.id, True))
        self.assertEqual(self.rest(), [run.id for run in others])

    def test_several_commits(self):
        first, second = *self.start(), *self.start()
        self.assertEqual(self.look(), (first.id, True))
        self.assertEqual(self.rest(), [second.id])

    def test_run_that_a_savepoint_took_back(self):
        savepoint = transaction.savepoint()
        self.registry.start('work')
        transaction.savepoint()   # this stores it
        savepoint.rollback()
        run, = self.start()
        self.assertEqual(self.look(), (run.id, True))
        self.assertEqual(self.rest(), [])

    def test_all_runs_that_a_savepoint_took_back(self):
        savepoint = transaction.savepoint()
        self.registry.start('work')
        transaction.savepoint()
        savepoint.rollback()
        transaction.commit()
        self.assertEqual(self.look()[0], None)
        run, = self.start()
        self.assertEqual(self.look()[0], run.id)

    def test_run_that_was_removed_meanwhile(self):
        run, = self.start()
        self.registry.requestStop(run.id)
        transaction.commit()
        self.registry.remove(run.id)
        transaction.commit()
        self.assertEqual(self.look()[0], None)
        run, = self.start()
        self.assertEqual(self.look()[0], run.id)

    def test_wrong_hints_are_not_believed(self):
        run, = self.start()
        self.assertEqual(self.look()[0], run.id)
        place = self.registry._p_oid, run.lane
        for serial, oid in (
                (run.serial + 1, b'no such '),         # nothing is there
                (run.serial + 1, run._p_oid),          # another run
                (run.serial + 1, self.registry._p_oid),   # something else
                (run.serial, run._p_oid),              # seen already
                (run.serial + 2, None)):               # not the next one
            with self.subTest(serial=serial, oid=oid):
                self.runtime.backlog.mark([place], only=(serial, oid))
                self.assertEqual(self.look()[0], None)
        other, = self.start()
        self.assertEqual(self.look()[0], other.id)

    def test_one_new_run_is_loaded_once(self):
        run, = self.start()
        loaded = []
        load = type(self.db.storage).loadBefore

        def watch(storage, oid, tid):
            loaded.append(oid)
            return load(storage, oid, tid)

        with mock.patch.object(type(self.db.storage), 'loadBefore', watch):
            self.look()
        self.assertEqual(loaded.count(run._p_oid), 1)

    def test_object_of_a_wrong_hint_keeps_its_class(self):
        run, = self.start()
        self.assertEqual(self.look()[0], run.id)
        self.site['stamp'] = Stamp()
        transaction.commit()
        oid = self.site['stamp']._p_oid
        self.runtime.backlog.mark(
            [(self.registry._p_oid, run.lane)], only=(run.serial + 1, oid))
        door = Door(self.db)
        self.assertIsNone(self.runtime.poller.next(door))
        # The connection that looked is the next one that is opened.
        with door as connection:
            self.assertIs(type(connection.get(oid)), Stamp)
            self.assertEqual(connection.get(oid).lane, 1)

    def test_hint_about_another_birth_than_the_next(self):
        # The hooks of two commits come in the wrong order.
        backlog = self.runtime.backlog
        with mock.patch.object(backlog, 'mark') as mark:
            runs = *self.start(), *self.start()
        for (places,), options in reversed(mark.call_args_list):
            self.assertIsNotNone(options['only'])
            backlog.mark(places, **options)
            found, _ = self.look()
            self.assertEqual([found, *self.rest()], [
                run.id for run in runs] if runs else [None])
            runs = ()

    def test_run_that_cannot_be_loaded_is_noted(self):
        run, = self.start()
        oid = run._p_oid
        setstate = Connection.setstate

        def fail(connection, obj):
            if obj._p_oid == oid:
                raise SystemExit('damaged')
            setstate(connection, obj)

        with mock.patch.object(Connection, 'setstate', fail):
            self.assertEqual(self.look()[0], None)
        self.assertEqual([trouble.subject for trouble
                          in self.runtime.troubles.list()], [run.id])
        other, = self.start()
        self.assertEqual(self.look()[0], other.id)

    def test_memory_has_bounds(self):
        run, = self.start()
        for name in 'CAPACITY', 'UNWRITTEN':
            with mock.patch(
                    'cipher.background.runtime.queue.backlog.%s' % name, 0):
                self.assertEqual(self.look()[0], None)
        self.assertEqual(self.look()[0], run.id)

    def test_look_at_many_leaves_the_cache_to_others(self):
        runs = self.start(KEPT + 20)
        with mock.patch.object(
                WorkerRun, '_p_deactivate', autospec=True) as deactivate:
            self.assertEqual(self.look()[0], runs[0].id)
        self.assertEqual(deactivate.call_count, 20)
        self.assertEqual(self.rest(), [run.id for run in runs[1:]])
