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
"""Worker types that only some may see: nobody else learns of their runs."""
import time
from unittest import mock

import transaction
from zope.component import getGlobalSiteManager
from zope.component import provideUtility
from zope.security.management import endInteraction
from zope.security.management import setSecurityPolicy
from zope.security.simplepolicies import ParanoidSecurityPolicy

from cipher.background.declarations.schedule import Schedule
from cipher.background.interfaces import FAILING_TYPE
from cipher.background.interfaces import NEWEST
from cipher.background.interfaces import NO_RUNTIME
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import UNRESPONSIVE_RUN
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import RunNotFound
from cipher.background.interfaces import ScheduleNotFound
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.queries import paging
from cipher.background.registry.vocabulary import workerTypes
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.administration import PROCESS
from cipher.background.tests.support.administration import AdministrationTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import login


PERMISSION = 'application.Audit'


class SightTests(AdministrationTests):
    """An auditor sees the runs of the type ``audit``, nobody else does."""

    def setUp(self):
        super().setUp()

        class Policy(ParanoidSecurityPolicy):

            def checkPermission(self, permission, object):
                return permission != PERMISSION or any(
                    participation.principal.id == 'auditor'
                    for participation in self.participations)

        self.addCleanup(setSecurityPolicy, setSecurityPolicy(Policy))
        login('admin')
        declareWorker('audit', lambda worker: None,
                      view_permission=PERMISSION)
        for name, worker in ('nightly', 'work'), ('secret', 'audit'):
            provideUtility(
                Schedule(name, worker, every=86400.0), ISchedule, name)

    def fill(self):
        """Store runs of both types by turns; return the ids of each."""
        ids = {'work': [], 'audit': []}
        for _ in range(5):
            for name in ids:
                self.clock.advance(1.0)
                ids[name].insert(0, self.make(type=name).id)
                ids[name].insert(0, self.registry.start(name).id)
        transaction.commit()
        return ids

    def listed(self, **arguments):
        """Return the ids of all pages, which are full but for the last."""
        found, key = [], None
        while True:
            page = self.registry.listRuns(limit=3, before=key, **arguments)
            found += [status.id for status in page.items]
            key = page.older
            if key is None:
                return found
            self.assertEqual(len(page.items), 3)

    def test_lists_are_filtered_before_the_pages_are_made(self):
        ids = self.fill()
        for arguments in {}, {'states': ['pending']}, {'states': ['failed']}:
            with self.subTest(**arguments):
                found = self.listed(**arguments)
                self.assertTrue(found)
                self.assertLessEqual(set(found), set(ids['work']))
                login('auditor')
                self.assertEqual(len(self.listed(**arguments)),
                                 2 * len(found))
                login('admin')
        self.assertEqual(self.listed(types=['audit']), [])
        self.assertEqual(sorted(self.listed(types=['audit', 'work'])),
                         sorted(ids['work']))
        self.assertEqual(self.listed(text='audit'), [])
        page = self.registry.listRuns(types=['audit'])
        self.assertEqual((page.looked_at, page.is_cut), (0, False))

    def test_lists_tell_of_what_is_seen_only(self):
        ids = self.fill()
        for arguments in {}, {'order': OLDEST}, {'text': 'nothing'}:
            with self.subTest(**arguments):
                page = self.registry.listRuns(**arguments)
                self.assertEqual((page.looked_at, page.older), (10, None))
        # What is beside the last one does not make another page.
        self.registry.start('work')
        audit = [self.registry.start('audit').id for _ in range(3)]
        for order, number in (NEWEST, 11), (OLDEST, 11):
            page = self.registry.listRuns(order=order, limit=number)
            self.assertIsNone(page.older)
            page = self.registry.listRuns(order=order, limit=number - 1)
            self.assertNotIn(page.older[1:].split('-', 1)[1],
                             ids['audit'] + audit)

    def test_search_that_is_cut_names_none(self):
        for name in 'work', 'audit', 'audit', 'work':
            self.clock.advance(1.0)
            run = self.registry.start(name)
        with mock.patch.object(paging, 'SCAN_LIMIT', 1):
            page = self.registry.listRuns(text='nothing')
            self.assertEqual((page.looked_at, page.is_cut), (1, True))
            self.assertEqual(page.older.split('-', 1)[1], run.id)
            page = self.registry.listRuns(text='nothing', before=page.older)
            self.assertEqual((page.looked_at, page.older), (1, None))
        with mock.patch.object(paging, 'TIME_LIMIT', 0.0):
            # Each leads forward, though most is not to be seen.
            self.assertEqual(len(set(self.cuts())), 3)

    def cuts(self):
        """Return the keys of a search that takes too long."""
        keys = [None]
        for _ in range(9):
            key = self.registry.listRuns(
                text='nothing', before=keys[-1]).older
            if key is None:
                return keys[1:]
            keys.append(key)
        self.fail('it does not come forward: %s' % keys)

    def test_running_ones_are_told_of_what_is_seen_only(self):
        record = None
        for name in 'audit', 'work', 'audit':
            self.clock.advance(1.0)
            run = self.makeRunning(name)
            now = getDirectory(self.connection).processes[PROCESS]
            now.live.runs.update(record.live.runs if record else {})
            now.live.runs[self.registry._p_oid, run.id] = (
                run.started_at, None, '', None)
            record = now
        page = self.registry.listRuns(states=['running'], limit=1)
        self.assertEqual([status.type for status in page.items], ['work'])
        self.assertEqual((page.looked_at, page.older), (1, None))
        login('auditor')
        page = self.registry.listRuns(states=['running'])
        self.assertEqual(page.looked_at, 3)

    def test_a_hidden_type_is_refused_as_an_unknown_one(self):
        self.fill()
        for arguments in {'before': 'x'}, {'order': 'x'}, {'since': 1e999}:
            for name in 'audit', 'unknown':
                with self.subTest(name, **arguments):
                    with self.assertRaises(ValueError):
                        self.registry.listRuns(types=[name], **arguments)

    def test_vocabulary_lists_what_is_seen(self):
        self.assertEqual([term.value for term in workerTypes(None)],
                         ['work'])
        login('auditor')
        self.assertEqual([term.value for term in workerTypes(None)],
                         ['audit', 'work'])
        endInteraction()
        self.assertEqual(len(workerTypes(None)), 2)

    def test_schedule_names_no_run_of_its_former_type(self):
        login('auditor')
        run = self.registry.runSchedule('secret')
        provideUtility(
            Schedule('secret', 'work', every=86400.0), ISchedule, 'secret')
        status = self.registry.listSchedules()[1]
        self.assertEqual((status.name, status.last_run), ('secret', run.id))
        login('admin')
        status = self.registry.listSchedules()[1]
        self.assertEqual((status.name, status.last_run), ('secret', None))

    def test_counts_and_summaries(self):
        self.fill()
        work = {'failed': 5, 'pending': 5}
        self.assertEqual(self.registry.getCounts(), {'work': work})
        self.assertEqual(
            [status.name for status in self.registry.listTypes()], ['work'])
        self.assertEqual(list(self.registry.getWorkerTypes()), ['work'])
        self.assertEqual(
            [status.name for status in self.registry.listSchedules()],
            ['nightly'])
        self.assertEqual(self.registry.getActivity().day.counts, {'failed': 5})
        self.assertEqual(
            [(problem.kind, problem.subject, problem.number)
             for problem in self.registry.listProblems()],
            [(NO_RUNTIME, None, 5), (FAILING_TYPE, 'work', 5)])
        login('auditor')
        self.assertEqual(['audit', 'work'], self.subjects(FAILING_TYPE))
        self.assertEqual(self.registry.getCounts(),
                         {'work': work, 'audit': work})
        self.assertEqual(len(self.registry.listTypes()), 2)
        self.assertEqual(set(self.registry.getWorkerTypes()),
                         {'work', 'audit'})
        self.assertEqual(len(self.registry.listSchedules()), 2)
        self.assertEqual(
            sum(sum(hour.counts.values())
                for hour in self.registry.getActivity().hours), 10)
        self.assertEqual(self.registry.listProblems()[0].number, 10)

    def test_oldest_that_waits_is_one_to_be_seen(self):
        self.registry.start('audit')
        self.assertEqual(self.registry.listProblems(), [])
        self.clock.advance(100.0)
        created_at = self.registry.start('work').created_at
        problem, = self.registry.listProblems()
        self.assertEqual((problem.number, problem.since), (1, created_at))

    def test_run_that_does_not_respond_is_one_to_be_seen(self):
        runs = [self.makeRunning(name) for name in ('work', 'audit')]
        record = getDirectory(self.connection).processes[PROCESS]
        for run in runs:
            record.live.runs[self.registry._p_oid, run.id] = (
                run.started_at, None, '', None)
            self.registry.stops[run.id] = ('admin', self.clock.now, None)
        self.clock.advance(61.0)
        record.heartbeat.beat_at = self.clock.now
        self.assertEqual([runs[0].id], self.subjects(UNRESPONSIVE_RUN))
        self.assertEqual(self.registry.getCounts(), {'work': {'running': 1}})
        login('auditor')
        self.assertEqual([run.id for run in runs],
                         self.subjects(UNRESPONSIVE_RUN))

    def subjects(self, kind):
        """Return the subjects of the problems of that kind, sorted."""
        return sorted(problem.subject
                      for problem in self.registry.listProblems()
                      if problem.kind == kind)

    def test_ended_process_tells_of_what_is_seen_only(self):
        seen = self.registry.start('work')
        hidden = self.registry.start('audit')
        record = ProcessRecord('host:1:aa', 'host', 1, None, None, 4, 90.0,
                               time.time())
        directory = getDirectory(self.connection)
        directory.processes[record.id] = record
        ended = directory.end(record, 'gone')
        for run in seen, hidden:
            ended.leave((self.registry._p_oid, run.id))
        transaction.commit()
        status, = self.registry.listEndedProcesses()
        self.assertEqual((status.taken_over, status.run_ids), (1, [seen.id]))
        login('auditor')
        status, = self.registry.listEndedProcesses()
        self.assertEqual((status.taken_over, sorted(status.run_ids)),
                         (2, sorted([seen.id, hidden.id])))

    def test_nothing_is_done_to_what_is_not_seen(self):
        waiting = self.registry.start('audit').id
        failed = self.make(type='audit').id
        calls = [
            lambda run_id, verb=verb: getattr(self.registry, verb)(run_id)
            for verb in ('getStatus', 'getDetails', 'getStack', 'getContext',
                         'requestStop', 'retry', 'remove', 'beginNow')]
        for run_id in waiting, failed:
            for call in calls:
                with self.assertRaises(RunNotFound) as caught:
                    call(run_id)
                with self.assertRaises(RunNotFound) as unknown:
                    call('9-99')
                self.assertEqual(str(caught.exception).replace(run_id, '9-99'),
                                 str(unknown.exception))
            self.assertIsNone(self.registry.get(run_id))
        for is_paused in True, False:
            with self.assertRaises(UnknownWorkerType):
                self.registry.pauseType('audit', is_paused)
            with self.assertRaises(ScheduleNotFound):
                self.registry.pauseSchedule('secret', is_paused)
        with self.assertRaises(ScheduleNotFound):
            self.registry.runSchedule('secret')
        self.assertEqual(self.registry.listActions()[0], [])
        login('auditor')
        self.assertEqual(self.registry.requestStop(waiting), 'stopped')
        self.registry.retry(failed)

    def test_pause_of_a_type_that_is_not_seen_stays(self):
        login('auditor')
        self.registry.pauseType('audit')
        login('admin')
        with self.assertRaises(UnknownWorkerType):
            self.registry.pauseType('audit', False)
        self.assertEqual(list(self.registry.pauses), ['audit'])

    def test_journal_is_filtered_before_the_pages_are_made(self):
        done = []
        login('auditor')
        for name, schedule in ('audit', 'secret'), ('work', 'nightly'):
            self.registry.pauseType(name)
            self.registry.pauseSchedule(schedule)
            run = self.make(SUCCEEDED, name)
            self.registry.remove(run.id)
            self.registry.retry(self.make(type=name).id)
            done = [action.subject for action
                    in self.registry.listActions()[0][:4]]
        self.assertEqual(len(self.registry.listActions()[0]), 8)
        login('admin')
        found, key = [], None
        while True:
            actions, key = self.registry.listActions(2, key)
            found += [action.subject for action in actions]
            if key is None:
                break
            self.assertEqual(len(actions), 2)
        # A row knows of which type a run was that is removed.
        self.assertEqual(found, done)

    def test_journal_has_no_page_for_what_is_not_seen(self):
        login('auditor')
        self.registry.pauseType('audit')
        self.registry.pauseType('work')
        self.registry.pauseType('audit', False)
        self.assertIsNotNone(self.registry.listActions(2)[1])
        login('admin')
        actions, key = self.registry.listActions(1)
        self.assertEqual([action.subject for action in actions], ['work'])
        self.assertIsNone(key)

    def test_journal_of_a_schedule_that_is_gone(self):
        login('auditor')
        self.registry.pauseSchedule('secret')
        getGlobalSiteManager().unregisterUtility(
            provided=ISchedule, name='secret')
        self.assertEqual(len(self.registry.listActions()[0]), 1)
        login('admin')
        # The row knows what it started.
        self.assertEqual(self.registry.listActions()[0], [])

    def test_where_nobody_asks_nothing_is_hidden(self):
        ids = self.fill()
        endInteraction()
        self.assertEqual(set(self.listed()), {*ids['work'], *ids['audit']})
        self.assertEqual(len(self.registry.getCounts()), 2)

    def test_who_may_start_it_need_not_see_it(self):
        run = self.registry.startByPrincipal('audit')
        self.assertEqual((run.type, run.starter), ('audit', 'admin'))
        self.assertIsNone(self.registry.get(run.id))

    def test_types_without_it_are_seen_by_all(self):
        declareWorker('audit', lambda worker: None)
        self.fill()
        self.assertEqual(len(self.listed()), 20)
        self.assertEqual(len(self.registry.getActivity().hours), 24)
