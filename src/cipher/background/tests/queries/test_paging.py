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
"""Lists over several lanes: order, pages, filters, keys."""
import unittest

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import SUCCEEDED
from cipher.background.queries import paging
from cipher.background.queries.merging import Wanted
from cipher.background.store.lane import Lane
from cipher.background.store.run import WorkerRun


NOW = 1800000000.0


def everything(run):
    return True


class World:
    """Some lanes, and all runs in them in the order of their making."""

    def __init__(self, number=3):
        self.lanes = {n: Lane(n) for n in range(1, number + 1)}
        self.runs = []
        self.finished = []

    def bear(self, lane_number, created_at, type='count'):
        births = self.lanes[lane_number].births
        run = WorkerRun(type, lane_number, births.next_serial, created_at)
        births.add(run)
        self.runs.append(run)
        return run

    def finish(self, run, lane_number, finished_at, state=SUCCEEDED):
        run.change(state, finished_at=finished_at)
        self.lanes[lane_number].finishes.add(run)
        self.finished.append(run)

    def look(self, states=(), matches=everything, limit=10, before=None,
             types=(), **wanted):
        """Return what `paging.listRuns` found."""
        wanted = Wanted(frozenset(states), frozenset(types), **wanted)
        return paging.listRuns(
            self.lanes, wanted, matches, limit, before,
            [run for run in self.runs
             if run.state == RUNNING])

    def page(self, *args, **wanted):
        """Return (runs, key of the next page)."""
        return self.look(*args, **wanted)[:2]

    def pages(self, states=(), matches=everything, limit=10, **wanted):
        """Return the runs of all pages, one after the other."""
        found, before = [], None
        for _ in range(500):
            runs, before = self.page(states, matches, limit, before, **wanted)
            found += runs
            if before is None:
                return found
        raise AssertionError('no end of pages')


def newestFirst(runs):
    return sorted(runs, reverse=True, key=lambda run: (
        int(run.created_at * 1000000), run.lane, run.serial))


class CreatedTests(unittest.TestCase):

    def setUp(self):
        self.world = World()
        for n in range(150):
            self.world.bear(n % 3 + 1, NOW + n * 0.001)

    def test_runs_of_all_lanes_come_newest_first(self):
        runs, older = self.world.page(limit=1000)
        self.assertEqual(runs, self.world.runs[::-1])
        self.assertIsNone(older)

    def test_pages_lose_and_double_nothing(self):
        for limit in (1, 2, 7, 16, 149, 150, 151):
            with self.subTest(limit=limit):
                self.assertEqual(
                    self.world.pages(limit=limit), self.world.runs[::-1])

    def test_page_that_ends_at_the_last_run_is_the_last(self):
        self.assertIsNone(self.world.page(limit=150)[1])
        self.assertIsNotNone(self.world.page(limit=149)[1])

    def test_runs_of_one_moment_are_told_apart(self):
        world = World()
        for n in range(60):
            world.bear(n % 3 + 1, NOW)
        self.assertEqual(world.pages(limit=7), newestFirst(world.runs))

    def test_page_stays_when_newer_runs_come(self):
        first, older = self.world.page(limit=10)
        self.world.bear(1, NOW + 10)
        second, _ = self.world.page(limit=10, before=older)
        self.assertEqual(first + second, self.world.runs[149:129:-1])

    def test_removed_runs_are_left_out(self):
        gone = self.world.runs[::2]
        for run in gone:
            self.world.lanes[run.lane].births.drop(
                run.serial, from_recent=True)
        self.assertEqual(self.world.pages(limit=7),
                         self.world.runs[1::2][::-1])

    def test_filter_picks_and_pages_go_on(self):
        def matches(run):
            return run.serial % 5 == 0
        expected = [run for run in self.world.runs[::-1] if matches(run)]
        for limit in (1, 3, 100):
            self.assertEqual(
                self.world.pages(matches=matches, limit=limit), expected)

    def test_waiting_runs_are_sought_down_to_the_bookmark_only(self):
        for run in self.world.runs[:90]:
            self.world.finish(run, 1, NOW + 1)
        for lane in self.world.lanes.values():
            lane.bookmark.low = 31
        asked = []

        def matches(run):
            asked.append(run)
            return run.state in (PENDING, RUNNING)

        found = self.world.pages({PENDING, RUNNING}, matches)
        self.assertEqual(found, self.world.runs[:89:-1])
        self.assertLessEqual(len(set(asked)), 60)

    def test_what_the_bookmark_has_passed_is_found_in_either_order(self):
        for run in self.world.runs[:120]:
            if run.serial not in (3, 5, 7, 20):
                self.world.finish(run, 1, NOW + 1)
        for lane in self.world.lanes.values():
            lane.bookmark.low = 41
            lane.bookmark.stragglers = 3, 7
            # One is in both places, as it goes from the one to the other.
            for serial in 5, 7, 20:
                lane.waiting.add(('pause', 'count'), serial, serial)
        waiting = [run for run in self.world.runs if not run.isFinished()]
        self.assertEqual(len(waiting), 3 * 4 + 30)

        def matches(run):
            return run.state == PENDING

        for limit in 1, 7, 100:
            self.assertEqual(self.world.pages({PENDING}, matches, limit),
                             waiting[::-1])
            self.assertEqual(
                self.world.pages({PENDING}, matches, limit, order=OLDEST),
                waiting)

    def test_empty_registry_has_one_empty_page(self):
        self.assertEqual(World().page(), ([], None))
        self.assertEqual(World().page({FAILED}), ([], None))

    def test_look_is_bounded_and_goes_on_with_the_next_page(self):
        limit = paging.SCAN_LIMIT
        paging.SCAN_LIMIT = 20
        self.addCleanup(setattr, paging, 'SCAN_LIMIT', limit)
        asked = []

        def matches(run):
            asked.append(run)
            return run is self.world.runs[0]

        runs, older = self.world.page(matches=matches)
        self.assertEqual((runs, len(asked)), ([], 20))
        self.assertIsNotNone(older)
        self.assertEqual(self.world.pages(matches=matches),
                         [self.world.runs[0]])


class FinishedTests(unittest.TestCase):

    def setUp(self):
        self.world = World()
        for n in range(120):
            run = self.world.bear(n % 3 + 1, NOW + n * 0.001)
            if n % 4:
                # By the writer of some other lane.
                self.world.finish(
                    run, n % 2 + 1, NOW + 100 - n * 0.001 + (n % 2) * 0.01,
                    FINISHED_STATES[n % 4 % 2])
        self.newest_first = sorted(
            self.world.finished, key=lambda run: run.finished_at,
            reverse=True)

    def test_finished_runs_come_by_their_end(self):
        world = World()
        runs = [world.bear(1, NOW + n) for n in range(5)]
        for n, run in enumerate(runs[::-1]):
            world.finish(run, n % 3 + 1, NOW + 10 + n)
        self.assertEqual(world.pages(set(FINISHED_STATES)), runs)

    def test_pages_lose_and_double_nothing(self):
        for limit in (1, 2, 7, 89, 90, 91):
            with self.subTest(limit=limit):
                found = self.world.pages(set(FINISHED_STATES), limit=limit)
                self.assertEqual(len(found), len(set(found)))
                self.assertEqual(set(found), set(self.world.finished))

    def test_states_restrict(self):
        for states in {FAILED}, {SUCCEEDED}, {SUCCEEDED, FAILED}:
            found = self.world.pages(
                states, lambda run: run.state in states, limit=7)
            self.assertEqual(
                sorted(run.id for run in found),
                sorted(run.id for run in self.world.finished
                       if run.state in states))

    def test_finish_and_other_states_together_come_by_creation(self):
        states = {FAILED, PENDING}
        found = self.world.pages(states, lambda run: run.state in states)
        self.assertEqual(found, [run for run in self.world.runs[::-1]
                                 if run.state in states])

    def test_removed_runs_are_left_out(self):
        gone = self.world.finished[::2]
        for run in gone:
            self.world.lanes[run.lane].births.drop(
                run.serial, from_recent=True)
        found = self.world.pages(set(FINISHED_STATES), limit=7)
        self.assertEqual(set(found), set(self.world.finished[1::2]))

    def test_run_of_a_lane_that_is_gone_is_left_out(self):
        del self.world.lanes[3]
        found = self.world.pages(set(FINISHED_STATES), limit=7)
        self.assertEqual(set(found), {run for run in self.world.finished
                                      if run.lane != 3})


class KeyTests(unittest.TestCase):

    BAD = ('', 'c', 'f', 'x1-2-3', 'c1-2', 'c1-2-3-4', 'c1--3', 'c-1-2-3',
           'c1-2-x', 'c1.5-2-3', 'f%d-1-1' % 10 ** 30, 'c\u0661-2-3',
           'c1-2-3\n', ' c1-2-3', '../../etc/passwd')

    def test_wrong_keys_are_refused(self):
        world = World()
        for key in self.BAD:
            for states in (set(), {FAILED}):
                with self.subTest(key=key, states=states):
                    with self.assertRaises(ValueError):
                        world.page(states, before=key)

    def test_what_is_no_text_is_refused(self):
        for key in (3, b'c1-2-3', ['c1-2-3'], object()):
            with self.subTest(key=key):
                with self.assertRaises(ValueError):
                    World().page(before=key)

    def test_key_of_the_other_order_is_refused(self):
        with self.assertRaises(ValueError):
            World().page({FAILED}, before='c1-2-3')
        with self.assertRaises(ValueError):
            World().page(before='f1-2-3')

    def test_refusal_is_short_and_says_what_to_do(self):
        with self.assertRaises(ValueError) as caught:
            World().page(before='x' * 10 ** 6)
        self.assertLess(len(str(caught.exception)), 200)
        self.assertIn('begin at the first page', str(caught.exception))

    def test_any_key_of_the_right_form_is_borne(self):
        world = World()
        for n in range(100):
            run = world.bear(1, NOW + n)
            world.finish(run, 1, NOW + n)
        for key in ('0-0-0', '9' * 18 + '-1-1', '1-1-' + '9' * 18):
            world.page(before='c' + key)
            world.page({SUCCEEDED}, before='f' + key)


steps = strategies.lists(strategies.tuples(
    strategies.integers(1, 3), strategies.integers(0, 2),
    strategies.sampled_from((None, 1, 2, 3))), max_size=80)


class ModelTests(unittest.TestCase):

    @settings(max_examples=100, deadline=None, database=None)
    @given(steps, strategies.integers(1, 9))
    def test_pages_hold_each_run_once(self, steps, limit):
        world, now = World(), NOW
        for lane, pause, finisher in steps:
            now += pause / 1000000
            run = world.bear(lane, now)
            if finisher:
                now += pause / 1000000
                world.finish(run, finisher, now)
        self.assertEqual(world.pages(limit=limit), newestFirst(world.runs))
        self.assertEqual(world.pages(limit=limit, order=OLDEST),
                         newestFirst(world.runs)[::-1])
        found = world.pages({SUCCEEDED}, limit=limit)
        self.assertEqual(len(found), len(world.finished))
        self.assertEqual(set(found), set(world.finished))
        self.assertEqual(
            world.pages({SUCCEEDED}, limit=limit, order=OLDEST), found[::-1])
