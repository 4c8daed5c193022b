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
"""The metrics, as a parser of Prometheus reads them."""
import math
from unittest import mock

import transaction
from prometheus_client.parser import text_string_to_metric_families
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import KEPT_RUNS
from cipher.background.interfaces import PAUSED_TYPE
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import PROBLEMS
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import NewerDatabase
from cipher.background.monitoring import metrics
from cipher.background.monitoring.metrics import OTHERS
from cipher.background.monitoring.metrics import makeText
from cipher.background.queries.oldest import LOOKS
from cipher.background.queries.oldest import oldestWait
from cipher.background.queries.snapshot import Snapshot
from cipher.background.registry.installation import addRegistry
from cipher.background.runtime.maintenance.pruner import BATCH
from cipher.background.runtime.maintenance.pruner import _prune_registry
from cipher.background.store.bookmark import DUE
from cipher.background.store.bookmark import LIMIT
from cipher.background.store.bookmark import PAUSE
from cipher.background.store.bookmark import orderOf
from cipher.background.store.chunks import SPILL
from cipher.background.tests.queries.test_problems import LEASE
from cipher.background.tests.queries.test_problems import WatchTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import Grants
from cipher.background.tests.support.sites import login
from cipher.background.util import switchboard


def parse(text):
    """Return ({name: type}, {name: {labels without name: value}})."""
    kinds, found = {}, {}
    for family in text_string_to_metric_families(text):
        kinds[family.name] = family.type
        if not family.documentation:
            raise AssertionError('%s has no help' % family.name)
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            series = found.setdefault(sample.name, {})
            if labels in series:
                raise AssertionError('%s comes twice' % (sample,))
            series[labels] = sample.value
    return kinds, found


class MetricsTests(WatchTests):

    def read(self, source=None):
        """Return {name without prefix: {labels: value}}."""
        self.kinds, found = parse(makeText(source or self.connection))
        for name in found:
            self.assertTrue(name.startswith('cipher_background_'), name)
        return {name.removeprefix('cipher_background_'): series
                for name, series in found.items()}

    def value(self, name, source=None, **labels):
        """Return the value of a series; None if there is none."""
        return self.read(source).get(name, {}).get(
            tuple(sorted(labels.items())))

    def test_type_of_each_metric_says_whether_it_only_grows(self):
        self.addProcess()
        self.makeRuns(1)
        self.read()
        prefix = 'cipher_background_'
        by_type = {}
        for name, kind in self.kinds.items():
            by_type.setdefault(kind, set()).add(name.removeprefix(prefix))
        self.assertEqual(by_type, {
            'gauge': {
                'info', 'health', 'problems', 'runs',
                'oldest_waiting_seconds', 'process_up', 'process_quiet',
                'process_draining', 'heartbeat_age_seconds', 'threads',
                'threads_busy', 'process_start_time_seconds'},
            'counter': {'runs_finished'},
            'histogram': {'run_duration_seconds', 'queue_wait_seconds'}})

    def test_runs_are_counted_by_type_and_state(self):
        self.makeRun(state=FAILED)
        self.makeRuns(3)
        self.makeRuns(2, 'other', None)
        found = self.read()
        self.assertEqual(found['runs'], {
            (('site', '/'), ('state', state), ('type', type)): number
            for state, type, number in (
                (FAILED, 'work', 1), (SUCCEEDED, 'work', 3),
                (PENDING, 'other', 2))})
        self.assertEqual({
            labels: number for labels, number
            in found['runs_finished_total'].items() if number
        }, {(('site', '/'), ('state', state), ('type', 'work')): number
            for state, number in ((FAILED, 1), (SUCCEEDED, 3))})

    def test_times_are_histograms(self):
        for took, waited in (0.5, 0.0), (1.5, 3.0), (1.75, 200000.0):
            self.makeRun(took=took, due_at=self.clock.now - took - waited)
        self.makeRun(state=STOPPED, took=None)
        transaction.commit()
        labels = {'site': '/', 'type': 'work'}
        for name, total, buckets in (
                ('run_duration_seconds', 3.75,
                 {'0.2': 0, '0.5': 1, '1.0': 1, '2.0': 3, '+Inf': 3}),
                ('queue_wait_seconds', 200003.0,
                 {'0.001': 1, '2.0': 1, '5.0': 2, '100000.0': 2,
                  '+Inf': 3})):
            for le, number in buckets.items():
                self.assertEqual(number, self.value(
                    name + '_bucket', le=le, **labels), (name, le))
            self.assertEqual(self.value(name + '_count', **labels), 3)
            self.assertAlmostEqual(
                self.value(name + '_sum', **labels) / total, 1.0, places=3)

    def test_what_only_grows_does_so_when_runs_are_pruned_or_removed(self):
        def grown():
            found = self.read()
            return {(name, labels): value
                    for name, series in found.items()
                    for labels, value in series.items()
                    if name.endswith(('_total', '_sum', '_count', '_bucket'))}

        self.makeRuns(3 * SPILL + 2, took=2.0)
        self.makeRuns(2, 'other', FAILED)
        before = grown()
        self.assertGreater(len(before), 50)
        for status in self.registry.listRuns(limit=3).items:
            self.registry.remove(status.id)
        self.registry.keep = 1
        transaction.commit()
        _prune_registry(self.registry, list(self.registry.lanes.values()),
                        BATCH)
        transaction.commit()
        self.assertLess(sum(self.read()['runs'].values()), 5)
        self.assertEqual(grown(), before)

    def test_health_and_problems_are_numbers(self):
        self.addProcess()
        self.assertEqual(self.value('health'), 0)
        self.registry.addRun('work')
        self.registry.pauseType('work')
        transaction.commit()
        self.assertEqual(self.value('health'), 1)
        self.clock.advance(LEASE + 1)
        found = self.read()
        self.assertEqual(found['health'], {(): 2})
        self.assertEqual(
            {labels for labels, value in found['problems'].items() if value},
            {(('kind', kind), ('site', site)) for kind, site in (
                (PAUSED_TYPE, '/'), (SILENT_PROCESS, ''),
                ('no-runtime', '/'))})
        # The others are 0, so that an alert ends.
        self.assertEqual(len(found['problems']), 2 * len(PROBLEMS))
        self.assertEqual(found['problems'][
            (('kind', KEPT_RUNS), ('site', '/'))], 0)

    def test_processes_have_threads_and_heartbeats(self):
        declareWorker('loop', print, is_loop=True)
        first = self.addProcess('first', threads=4)
        self.tell(first, self.makeRun(state=None),
                  self.makeRun('loop', state=None))
        self.clock.advance(LEASE + 1)
        self.addProcess('second', threads=2, is_quiet=True, is_draining=True)
        self.clock.advance(2.0)
        found = self.read()
        for name, numbers in {
                'process_up': (0, 1), 'process_quiet': (0, 1),
                'process_draining': (0, 1), 'threads': (4, 2),
                'threads_busy': (1, 0),
                'heartbeat_age_seconds': (LEASE + 3, 2)}.items():
            self.assertEqual(found[name], {
                (('process', host + ':1'),): number for host, number
                in zip(('first', 'second'), numbers)}, name)

    def test_conflicts_are_those_of_the_process_that_answers(self):
        self.assertNotIn('conflicts_total', self.read())
        for threads, expected in (0, None), (4, {(('process', 'p:1'),): 7}):
            runtime = mock.Mock(id='p:1:x', threads=threads, conflicts=7)
            runtime.name = 'p:1'
            runtime.getLive.return_value = None
            runtime.listLive.return_value = ()
            switchboard.connect(self.db, runtime)
            self.addCleanup(switchboard.disconnect, self.db, runtime)
            self.assertEqual(self.read().get('conflicts_total'), expected)
            switchboard.disconnect(self.db, runtime)

    def test_registry_has_its_own_and_a_connection_those_of_all(self):
        inner = self.site['inner'] = Folder()
        inner.setSiteManager(LocalSiteManager(inner))
        transaction.commit()
        registry = addRegistry(inner)
        self.makeRuns(1)
        registry.addRun('work')
        transaction.commit()
        for source, sites in ((self.connection, {'/', '/inner'}),
                              (self.registry, {'/'}), (registry, {'/inner'})):
            self.assertEqual({dict(labels)['site'] for labels
                              in self.read(source)['runs']}, sites)

    def test_database_without_a_registry_has_no_runs(self):
        self.addProcess()
        del self.connection.root()['Application']
        transaction.commit()
        found = self.read()
        self.assertEqual(found['health'], {(): 0})
        self.assertNotIn('runs', found)

    def test_database_that_cannot_be_read_raises(self):
        self.registry.structure_version = 99
        with self.assertRaises(NewerDatabase):
            makeText(self.connection)

    def test_hidden_types_are_left_out(self):
        grants = Grants(self)
        declareWorker('secret', print, view_permission='test.Secret')
        for _ in range(2):
            self.makeRun('secret')
            self.makeRun('secret', state=None)
        transaction.commit()
        self.assertIn('secret', makeText(self.registry))
        login('auditor')
        grants('auditor', self.site, VIEW_WORKERS)
        self.clock.advance(60.0)
        self.assertNotIn('secret', makeText(self.registry))
        self.assertEqual(self.value(
            'oldest_waiting_seconds', self.registry, site='/'), 0)

    def test_number_of_series_has_a_bound_and_none_is_lost(self):
        self.patch('PAIRS', 5)
        names = ['type %02d' % number for number in range(20)]
        for name in names:
            self.makeRun(name, took=2.0)
        transaction.commit()
        found = self.read()
        for name in 'runs', 'runs_finished_total':
            values = found[name]
            self.assertEqual(
                {dict(labels)['type'] for labels in values},
                {*names[:5], OTHERS})
            self.assertEqual(sum(values.values()), 20)
            self.assertEqual(values[(
                ('site', OTHERS), ('state', SUCCEEDED),
                ('type', OTHERS))], 15)
        self.assertEqual(found['run_duration_seconds_count'][
            (('site', OTHERS), ('type', OTHERS))], 15)
        self.patch('PROCESSES', 3)
        for number in range(10):
            self.clock.advance(1.0)
            self.addProcess('p%d' % number)
        self.assertEqual(
            set(self.read()['process_up']),
            {(('process', 'p%d:1' % number),) for number in (7, 8, 9)})

    def patch(self, name, value):
        patcher = mock.patch.object(metrics, name, value)
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_odd_names_stay_labels(self):
        names = ['a"b', 'a\\b', 'a\nb', 'a b', 'é\ud800', '\x00', '{}', '']
        for name in names:
            self.makeRun(name, took=1.0)
        transaction.commit()
        found = self.read()
        # Two of them are the same when they are shown: they are one series.
        self.assertEqual(sum(found['runs'].values()), len(names))
        self.assertEqual(found['runs'][
            (('site', '/'), ('state', SUCCEEDED), ('type', 'a b'))], 2)
        self.assertEqual(sum(found['queue_wait_seconds_count'].values()),
                         len(names))

    def test_values_are_numbers(self):
        self.addProcess()
        self.makeRuns(2)
        for name, series in self.read().items():
            for value in series.values():
                self.assertTrue(math.isfinite(value), name)


class OldestTests(WatchTests):

    def age(self):
        return oldestWait(self.registry, Snapshot(self.registry))

    def test_nothing_that_waits_has_no_age(self):
        self.assertEqual(self.age(), 0.0)
        self.makeRuns(2)
        self.clock.advance(10.0)
        self.assertEqual(self.age(), 0.0)

    def test_oldest_is_the_one_that_is_due_for_longest(self):
        self.makeRuns(1, state=None, due_at=self.clock.now + 100.0)
        self.makeRuns(2, state=None)
        self.clock.advance(49.0)
        self.assertEqual(self.age(), 50.0)
        self.clock.advance(60.0)
        self.assertEqual(self.age(), 110.0)

    def test_run_in_work_does_not_wait(self):
        record = self.addProcess()
        runs = self.makeRuns(2, state=None)
        self.tell(record, runs[0])
        self.clock.advance(5.0)
        self.assertEqual(self.age(), 5.0)
        self.tell(record, *runs)
        self.assertEqual(self.age(), 0.0)

    def test_run_that_waits_for_a_condition_counts_if_it_is_due(self):
        first, second, third, fourth = self.makeRuns(4, state=None)
        lane = self.registry.lanes[first.lane]
        lane.bookmark.low = fourth.serial + 1
        age = self.clock.now - first.created_at
        for key, expected in (
                ((DUE, ''), 0.0), ((PAUSE, 'work'), age),
                ((LIMIT, 'work'), age)):
            for run, priority in (first, -5), (second, 9):
                order = int((self.clock.now + 60) * 1000000) if (
                    key[0] == DUE) else orderOf(priority, run.serial)
                lane.waiting.add(key, order, run.serial)
            self.assertEqual(self.age(), expected, key)
        # One that has become due, but is not taken out yet.
        lane.waiting.remove(first.serial)
        lane.waiting.remove(second.serial)
        lane.waiting.add(
            (DUE, ''), int(self.clock.now * 1000000) - 1, third.serial)
        self.assertEqual(self.age(), self.clock.now - third.created_at)

    def test_work_has_a_bound(self):
        runs = self.makeRuns(LOOKS + 20, state=None)
        record = self.addProcess()
        self.tell(record, *runs[:LOOKS - 1])
        expected = self.clock.now - runs[LOOKS - 1].created_at
        self.assertEqual(self.age(), expected)
        self.tell(record, *runs[:LOOKS + 1])
        self.assertEqual(self.age(), 0.0)
