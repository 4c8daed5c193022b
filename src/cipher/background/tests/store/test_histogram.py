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
"""Histograms: their buckets, and how they are packed."""
import math
import random
import unittest

from cipher.background.store.histogram import BOUNDS
from cipher.background.store.histogram import NO_SPAN
from cipher.background.store.histogram import Histogram
from cipher.background.store.histogram import packSpan
from cipher.background.store.histogram import unpackAll
from cipher.background.store.histogram import unpackSpan


class HistogramTests(unittest.TestCase):

    def used(self, *values):
        """Return {upper bound: number of values} without zeros."""
        return {bound: number for bound, number in zip(
            (*BOUNDS, math.inf), Histogram().plus(values).numbers) if number}

    def test_bounds_read_well_and_grow_by_about_two(self):
        self.assertEqual([*map(str, BOUNDS[:4]), *map(str, BOUNDS[-3:])], [
            '0.001', '0.002', '0.005', '0.01', '20000', '50000', '100000'])
        for lower, upper in zip(BOUNDS, BOUNDS[1:]):
            self.assertLessEqual(2.0, upper / lower)
            self.assertLessEqual(upper / lower, 2.5)

    def test_value_is_in_the_bucket_up_to_the_next_bound(self):
        self.assertEqual(self.used(0.0, 0.0005, 0.001), {0.001: 3})
        self.assertEqual(self.used(0.0011, 1.0, 1.1, 2.0),
                         {0.002: 1, 1: 1, 2: 2})
        self.assertEqual(self.used(99999.0, 1e6, 1e300),
                         {100000: 1, math.inf: 2})

    def test_value_at_a_bound_stays_there_when_it_was_packed(self):
        for bound in BOUNDS:
            self.assertEqual(
                self.used(unpackSpan(packSpan(bound))), {bound: 1})

    def test_sum_counts_all_values(self):
        histogram = Histogram().plus([1.5, 2.5]).plus([]).plus([0.25])
        self.assertEqual(histogram.seconds, 4.25)
        self.assertEqual(sum(histogram.numbers), 3)

    def test_merged_histograms_count_the_values_of_both(self):
        draw = random.Random(7)
        mine = [draw.expovariate(1.0) for _ in range(50)]
        others = [draw.expovariate(0.001) for _ in range(50)]
        merged = Histogram().plus(mine).merged(Histogram().plus(others))
        expected = Histogram().plus(mine + others)
        self.assertEqual(merged.numbers, expected.numbers)
        self.assertAlmostEqual(merged.seconds, expected.seconds)

    def test_packed_histograms_come_back(self):
        numbers = [0, 1, 127, 128, 16383, 16384, 2 ** 32, 2 ** 60]
        draw = random.Random(8)
        histograms = [Histogram()] + [
            Histogram(tuple(draw.choice(numbers)
                            for _ in range(len(BOUNDS) + 1)), draw.random())
            for _ in range(20)]
        packed = b''.join(one.pack() for one in histograms)
        self.assertEqual(unpackAll(packed), histograms)
        self.assertEqual(unpackAll(b''), [])

    def test_packed_histogram_is_small(self):
        # A type whose runs take about as long as each other.
        histogram = Histogram().plus([0.3, 0.7, 1.5, 3.0] * 1000)
        self.assertLessEqual(len(histogram.pack()), 20)

    def test_span_comes_back_from_two_bytes_nearly_unchanged(self):
        for power in range(-6, 6):
            for digit in range(1, 10):
                seconds = digit * 10.0 ** power
                found = unpackSpan(packSpan(seconds))
                self.assertAlmostEqual(
                    found, seconds, delta=0.0002 * (seconds + 0.001))

    def test_span_is_none_or_within_what_fits(self):
        self.assertEqual(packSpan(None), NO_SPAN)
        self.assertIsNone(unpackSpan(NO_SPAN))
        self.assertEqual(unpackSpan(packSpan(0.0)), 0.0)
        self.assertEqual(packSpan(-5.0), packSpan(0.0))
        for seconds in 50 * 86400, 1e12, 1e300:
            self.assertEqual(packSpan(seconds), NO_SPAN - 1)
        self.assertGreater(unpackSpan(NO_SPAN - 1), 49 * 86400)
