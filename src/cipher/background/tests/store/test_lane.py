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
"""Lanes against simple models of them."""
import bisect
import itertools
import unittest

from BTrees.check import check
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.store.lane import SPILL
from cipher.background.store.lane import Births
from cipher.background.store.lane import Bookmark
from cipher.background.store.lane import Chunk
from cipher.background.store.lane import Finishes
from cipher.background.store.lane import Lane
from cipher.background.store.lane import momentOf
from cipher.background.store.run import WorkerRun


NOW = 1800000000.0


def bear(births, created_at=NOW, type='count', lane=1):
    run = WorkerRun(type, lane, births.next_serial, created_at)
    births.add(run)
    return run


def bearMany(number, step=1.0):
    """Return Births with *number* runs, one each *step* seconds, and these.
    """
    births = Births()
    return births, [bear(births, NOW + n * step) for n in range(number)]


def finish(finishes, finished_at=NOW, state=SUCCEEDED, serial=1, lane=1,
           type='count'):
    run = WorkerRun(type, lane, serial, NOW)
    run.change(state, finished_at=finished_at)
    finishes.add(run)
    return run


SIZES = (0, 1, 2, SPILL - 1, SPILL, SPILL + 1, 2 * SPILL, 3 * SPILL + 5)


class BirthsTests(unittest.TestCase):

    def test_every_run_is_found_by_its_serial(self):
        for size in SIZES:
            births, runs = bearMany(size)
            self.assertEqual(
                [births.get(serial) for serial in range(1, size + 1)], runs)
            self.assertEqual(births.next_serial, size + 1)

    def test_serial_that_was_never_given_out_leads_to_nothing(self):
        for size in SIZES:
            births, _ = bearMany(size)
            for serial in (-1, 0, size + 1, size + SPILL, 10 ** 15):
                self.assertIsNone(births.get(serial))

    def test_head_spills_into_chunks_of_equal_size(self):
        births, runs = bearMany(3 * SPILL + 5)
        self.assertEqual(
            list(births.chunks), [1, SPILL + 1, 2 * SPILL + 1])
        self.assertEqual(len(births.recent), 5)
        self.assertEqual(births.chunks[1].entries, tuple(runs[:SPILL]))
        check(births.chunks)

    def test_walk_goes_from_any_point_newest_first(self):
        for size in SIZES:
            births, runs = bearMany(size)
            self.assertEqual(list(births.walk()), runs[::-1])
            for below in range(0, size + SPILL):
                with self.subTest(size=size, below=below):
                    expected = [run for run in runs if run.serial < below]
                    self.assertEqual(list(births.walk(below)),
                                     expected[::-1])

    def test_removed_run_is_gone_and_the_others_stay(self):
        for size in SIZES[1:]:
            for index in {0, size // 2, size - 1}:
                births, runs = bearMany(size)
                births.drop(runs[index].serial, from_recent=True)
                self.assertIsNone(births.get(index + 1))
                del runs[index]
                self.assertEqual(list(births.walk()), runs[::-1])
                self.assertEqual(births.next_serial, size + 1)

    def test_chunk_without_any_run_is_empty(self):
        births, runs = bearMany(2 * SPILL)
        for run in runs[:SPILL]:
            self.assertIsNone(births.emptyChunk(run.serial))
            births.drop(run.serial, from_recent=True)
        self.assertEqual(births.emptyChunk(1), 1)
        # It keeps its place in the tree, which the writer of the lane writes.
        self.assertEqual(list(births.chunks), [1, SPILL + 1])
        self.assertIsNone(births.get(1))
        self.assertEqual(list(births.walk()), runs[:SPILL - 1:-1])

    def test_empty_chunks_are_given_up_as_the_next_one_spills(self):
        lane = Lane(7)
        for name, add, part in (
                ('births', lane.bear, lane.births),
                ('finishes', lane.finish, lane.finishes)):
            runs = [bear(Births()) for _ in range(3 * SPILL)]
            for serial, run in enumerate(runs, 1):
                run.serial = serial
                run.change(SUCCEEDED, finished_at=float(serial))
            for run in runs[:2 * SPILL]:
                add(run)
            first, second = part.chunks
            # The second one is not empty: it stays whatever is said.
            setattr(lane.emptied, name, (first, second))
            part.chunks[first].entries = type(part.chunks[first].entries)()
            add(runs[2 * SPILL])
            self.assertEqual(list(part.chunks), [first, second])
            for run in runs[2 * SPILL + 1:]:
                add(run)
            self.assertEqual(list(part.chunks)[0], second)

    def test_run_removed_from_the_head_does_not_come_back_as_it_spills(self):
        births, runs = bearMany(3)
        births.drop(runs[1].serial, from_recent=True)
        runs += [bear(births) for _ in range(SPILL)]
        del runs[1]
        self.assertEqual(list(births.walk()), runs[::-1])

    def test_counts_tell_the_runs_ever_born_of_each_type(self):
        births = Births()
        runs = [bear(births, type=type) for type in 'aab']
        births.drop(runs[0].serial, from_recent=True)
        self.assertEqual(births.counts, {'a': 2, 'b': 1})

    def test_run_in_the_head_is_not_dropped_unless_told_to(self):
        births, runs = bearMany(3)
        self.assertFalse(births.drop(2))
        self.assertEqual(list(births.walk()), runs[::-1])

    def test_serial_after_a_moment_is_above_all_runs_up_to_it(self):
        for size, step in itertools.product(SIZES, (0, 0.0001, 0.25)):
            births, runs = bearMany(size, step)
            for run in runs:
                moment = momentOf(run)
                for at in (moment - 1, moment, moment + 1):
                    serial = births.serialAfter(at)
                    upto = [run.serial for run in runs
                            if momentOf(run) <= at]
                    self.assertLess(max(upto, default=0), serial)
                    if step:
                        # And not far above it.
                        self.assertLessEqual(serial, len(upto) + 2 * SPILL)

    def test_serial_from_a_moment_is_under_all_runs_from_it(self):
        for size, step in itertools.product(SIZES, (0, 0.0001, 0.25)):
            births, runs = bearMany(size, step)
            for run in runs:
                for at in (momentOf(run) - 1, momentOf(run),
                           momentOf(run) + 1):
                    serial = births.serialFrom(at)
                    least = min((run.serial for run in runs
                                 if momentOf(run) >= at), default=size + 1)
                    self.assertLessEqual(serial, least)
                    if step:
                        self.assertGreater(serial, least - 2 * SPILL)

    def test_moments_are_found_though_chunks_were_given_up(self):
        births, runs = bearMany(20 * SPILL)
        for run in runs[3 * SPILL:17 * SPILL]:
            births.drop(run.serial)
        for run in births.walk():
            at = momentOf(run)
            self.assertGreater(births.serialAfter(at), run.serial)
            self.assertLessEqual(births.serialFrom(at), run.serial)

    def test_walk_up_goes_from_any_point_oldest_first(self):
        for size in SIZES:
            births, runs = bearMany(size)
            for begin in range(1, size + SPILL):
                self.assertEqual(
                    list(births.walkUp(begin)),
                    [run for run in runs if run.serial >= begin])

    def test_walk_for_types_passes_over_chunks_without_them(self):
        births = Births()
        runs = [bear(births, type='rare' if n in (40, 41, 900) else 'count')
                for n in range(1000)]
        rare = [runs[40], runs[41], runs[900]]
        for found, expected in (
                (list(births.walk(types=['rare'])), rare[::-1]),
                (list(births.walkUp(types=['rare'])), rare)):
            self.assertEqual([run for run in found if run.type == 'rare'],
                             expected)
            # Those of two chunks, and of the head.
            self.assertLessEqual(len(found), 3 * SPILL)
        self.assertEqual(list(births.walk(types=['none'])), [])
        self.assertEqual(list(births.walkUp(types=['none'])), [])

    def test_whole_state_comes_back(self):
        births, runs = bearMany(SPILL + 3)
        copy = Births.__new__(Births)
        copy.__setstate__(births.__getstate__())
        self.assertEqual(list(copy.walk()), runs[::-1])
        self.assertEqual(copy.counts, births.counts)

    @settings(max_examples=100, deadline=None, database=None)
    @given(strategies.lists(strategies.integers(-3, 200), max_size=150))
    def test_births_behave_as_a_list_of_runs(self, steps):
        # A step of 0 and below adds some, any other removes the nth.
        births, model = Births(), {}
        for step in steps:
            if step <= 0:
                for _ in range(1 + -step * 7):
                    run = bear(births)
                    model[run.serial] = run
            elif step in model:
                del model[step]
                births.drop(step, from_recent=True)
        expected = [model[serial] for serial in sorted(model, reverse=True)]
        self.assertEqual(list(births.walk()), expected)
        for below in (0, 1, 31, 32, 33, 64, 65, births.next_serial):
            self.assertEqual(
                list(births.walk(below)),
                [run for run in expected if run.serial < below])
        for serial in range(births.next_serial + 1):
            self.assertIs(births.get(serial), model.get(serial))


class FinishesTests(unittest.TestCase):

    def test_clock_comes_back_where_chunks_are_empty(self):
        finishes = Finishes()
        for number in range(2 * SPILL):
            finish(finishes, NOW + number, serial=number + 1)
        for number in range(SPILL):
            finish(finishes, NOW + 10 ** 9, serial=100 + number)
        ahead = list(finishes.chunks)[2]
        gone = {entry.key for entry in finishes.walk()
                if not SPILL < entry.serial <= 2 * SPILL}
        self.assertEqual(len(finishes.drop(gone)), 2)
        finish(finishes, NOW + 1000, serial=200)
        self.assertNotIn(ahead, finishes.chunks)
        self.assertEqual([entry.serial for entry in finishes.walkUp()],
                         [*range(SPILL + 1, 2 * SPILL + 1), 200])

    def keys(self, finishes, below=None):
        return [entry[0] for entry in finishes.walk(below)]

    def counts(self, finishes):
        return {(name, state): number for name, state, number
                in finishes.getCounts() if number}

    def test_entry_tells_when_which_and_how(self):
        finishes = Finishes()
        finish(finishes, NOW + 0.5, FAILED, serial=17, lane=3)
        entry, = finishes.walk()
        self.assertEqual(
            entry,
            (int((NOW + 0.5) * 1000000), 3, 17, FAILED, 'count', None, None))
        self.assertEqual((entry.lane, entry.serial, entry.state),
                         (3, 17, FAILED))

    def test_keys_grow_though_the_clock_stands_or_goes_back(self):
        finishes = Finishes()
        for at in (NOW, NOW, NOW, NOW - 100, NOW + 1, NOW + 1):
            finish(finishes, at)
        keys = self.keys(finishes)
        self.assertEqual(len(set(keys)), 6)
        self.assertEqual(keys, sorted(keys, reverse=True))
        self.assertEqual(keys[1], int((NOW + 1) * 1000000))

    def test_walk_goes_from_any_point_newest_first(self):
        for size in SIZES:
            finishes = Finishes()
            for n in range(size):
                finish(finishes, NOW + n * 0.0001, serial=n + 1)
            keys = sorted(self.keys(finishes))
            self.assertEqual(len(keys), size)
            self.assertEqual(self.keys(finishes), keys[::-1])
            for key in keys:
                for below in (key - 1, key, key + 1):
                    expected = keys[:bisect.bisect_left(keys, below)]
                    self.assertEqual(self.keys(finishes, below),
                                     expected[::-1])
            self.assertEqual(self.keys(finishes, 0), [])
            self.assertEqual(self.keys(finishes, 2 ** 63 - 1), keys[::-1])

    def test_head_spills(self):
        finishes = Finishes()
        for n in range(SPILL + 1):
            finish(finishes, NOW + n)
        self.assertEqual(list(finishes.chunks), [int(NOW * 1000000)])
        self.assertEqual(
            len(finishes.chunks[int(NOW * 1000000)].entries),
            SPILL * len(finishes.recent))
        check(finishes.chunks)

    def test_counts_tell_the_runs_by_type_and_state(self):
        finishes = Finishes()
        finish(finishes, state=SUCCEEDED)
        finish(finishes, state=SUCCEEDED)
        finish(finishes, state=STOPPED)
        finish(finishes, state=FAILED, type='other')
        self.assertEqual(self.counts(finishes), {
            ('count', SUCCEEDED): 2, ('count', STOPPED): 1,
            ('other', FAILED): 1})

    def test_types_are_kept_apart(self):
        finishes = Finishes()
        names = ['type %d' % n for n in range(300)] + ['žodis']
        for name in names:
            finish(finishes, type=name)
        self.assertEqual([entry.type for entry in finishes.walk()],
                         names[::-1])
        self.assertEqual(len(self.counts(finishes)), 301)

    def test_whole_state_comes_back(self):
        finishes = Finishes()
        for n in range(SPILL + 3):
            finish(finishes, NOW + n)
        copy = Finishes.__new__(Finishes)
        copy.__setstate__(finishes.__getstate__())
        self.assertEqual(list(copy.walk()), list(finishes.walk()))
        self.assertEqual(self.counts(copy), self.counts(finishes))
        finish(copy, NOW)
        self.assertEqual(self.keys(copy)[0], copy.last_key)

    def test_entry_tells_how_long_it_took(self):
        finishes = Finishes()
        for took in (None, 0.0, 2.5, 86400.0 * 365, -3.0):
            run = WorkerRun('count', 1, 1, NOW)
            run.change(SUCCEEDED, finished_at=NOW, started_at=(
                None if took is None else NOW - took))
            finishes.add(run)
        self.assertEqual([entry.took for entry in finishes.inRecent()],
                         [None, 0.0, 2.5, 86400.0 * 365, 0.0])

    def test_spill_of_a_head_that_is_not_full_loses_nothing(self):
        finishes = Finishes()
        for n in range(SPILL + 3):
            finish(finishes, NOW + n)
        keys, counts = self.keys(finishes), self.counts(finishes)
        finishes.spill()
        finishes.spill()
        self.assertEqual(finishes.recent, b'')
        self.assertEqual(self.keys(finishes), keys)
        self.assertEqual(self.counts(finishes), counts)

    @settings(max_examples=60, deadline=None, database=None)
    @given(strategies.lists(strategies.tuples(
        strategies.sampled_from('aaaaaaaabc'),
        strategies.sampled_from((SUCCEEDED,) * 9 + (FAILED, STOPPED)),
        strategies.integers(1, 30)), max_size=40),
        strategies.lists(strategies.integers(0, 400), max_size=150),
        strategies.integers(-1, 400))
    def test_walks_agree_with_a_list_of_entries(self, steps, gone, at):
        # Each step is so many finishes of a type and a state.
        finishes, model = Finishes(), []
        for type, state, number in steps:
            for _ in range(number):
                finish(finishes, NOW + len(model), state, len(model) + 1,
                       type=type)
                model.append((int((NOW + len(model)) * 1000000), type, state))
        in_chunks = len(model) - len(list(finishes.inRecent()))
        gone = {model[n][0] for n in gone if n < in_chunks}
        finishes.drop(gone)
        bound = int((NOW + at) * 1000000)
        for types, states in ((), ()), ('b', ()), ((), (FAILED,)), (
                'bc', (FAILED, STOPPED)), ('a', (SUCCEEDED,)), ('z', ()):
            expected = [
                key for key, type, state in model if key not in gone
                and (not types or type in types)
                and (not states or state in states)]
            self.assertEqual(
                [entry.key for entry in finishes.walk(None, types, states)],
                expected[::-1])
            self.assertEqual(
                [entry.key for entry in finishes.walkUp(None, types, states)],
                expected)
            self.assertEqual(
                [entry.key for entry in finishes.walk(bound, types, states)],
                [key for key in expected if key < bound][::-1])
            self.assertEqual(
                [entry.key for entry
                 in finishes.walkUp(bound, types, states)],
                [key for key in expected if key >= bound])


class LaneTests(unittest.TestCase):

    def test_parts_are_objects_of_their_own(self):
        lane = Lane(7)
        self.assertEqual((lane.number, lane.writer.id), (7, None))
        parts = lane.writer, lane.births, lane.finishes, lane.bookmark
        self.assertEqual(len(set(map(id, parts))), 4)

    def test_bookmark_begins_at_the_first_serial(self):
        bookmark = Bookmark()
        self.assertEqual((bookmark.home, bookmark.low, bookmark.stragglers),
                         (None, 1, ()))
        self.assertEqual(bookmark.low, Births().next_serial)
        bookmark.home, bookmark.low, bookmark.stragglers = 'me', 5, (3,)
        copy = Bookmark.__new__(Bookmark)
        copy.__setstate__(bookmark.__getstate__())
        self.assertEqual((copy.home, copy.low, copy.stragglers),
                         ('me', 5, (3,)))

    def test_chunk_is_stored_with_its_totals(self):
        chunk = Chunk((1, None, 2), [7, 2 ** 40], 5)
        copy = Chunk.__new__(Chunk)
        copy.__setstate__(chunk.__getstate__())
        self.assertEqual((copy.entries, copy.moment), ((1, None, 2), 5))
        self.assertEqual((copy.total([0]), copy.total([2])), (7, 0))
        # More than it can tell is as much as it can tell.
        self.assertEqual(copy.total([1]), 2 ** 32 - 1)
