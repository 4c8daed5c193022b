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
"""The rules of a run's life."""
import itertools
import unittest

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STATES
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IllegalTransition
from cipher.background.store import lifecycle


LEGAL = {
    (PENDING, RUNNING),
    (PENDING, SUCCEEDED),
    (PENDING, FAILED),
    (PENDING, STOPPED),
    (PENDING, INTERRUPTED),
    (RUNNING, PENDING),
    (RUNNING, SUCCEEDED),
    (RUNNING, FAILED),
    (RUNNING, STOPPED),
    (RUNNING, INTERRUPTED),
}


class TransitionTests(unittest.TestCase):

    def test_every_pair_of_states_is_legal_or_refused(self):
        for pair in itertools.product(STATES, STATES):
            with self.subTest(pair=pair):
                if pair in LEGAL:
                    lifecycle.checkTransition('1-2', *pair)
                else:
                    with self.assertRaises(IllegalTransition):
                        lifecycle.checkTransition('1-2', *pair)

    def test_unknown_states_are_refused(self):
        for old, new in (PENDING, 'lost'), ('lost', RUNNING), (None, None):
            with self.subTest(old=old, new=new):
                with self.assertRaises(IllegalTransition):
                    lifecycle.checkTransition('1-2', old, new)

    def test_refusal_names_the_run_and_both_states(self):
        with self.assertRaises(IllegalTransition) as caught:
            lifecycle.checkTransition('1-2', STOPPED, RUNNING)
        self.assertEqual(
            str(caught.exception),
            "run '1-2': expected a state that may follow 'stopped', got "
            "'running'")

    def test_states_that_nothing_follows_are_the_finished_ones(self):
        for state in STATES:
            has_next = any(old == state for old, new in LEGAL)
            self.assertEqual(lifecycle.isFinished(state), not has_next)
        self.assertEqual(
            FINISHED_STATES, (SUCCEEDED, FAILED, STOPPED, INTERRUPTED))


class InterruptionTests(unittest.TestCase):

    def test_run_waits_again_until_it_was_interrupted_too_often(self):
        states = [lifecycle.afterInterruption(False, count, False)
                  for count in (1, 2, 3, 4)]
        self.assertEqual(states, [PENDING, PENDING, FAILED, FAILED])

    def test_run_that_must_not_rerun_is_interrupted(self):
        for count in 1, 3:
            self.assertEqual(
                lifecycle.afterInterruption(True, count, False), INTERRUPTED)

    def test_run_that_somebody_asked_to_stop_is_not_rerun(self):
        for count in 1, 3:
            self.assertEqual(
                lifecycle.afterInterruption(False, count, True), INTERRUPTED)

    def test_each_interruption_counts(self):
        for is_loop, ran_for in ((False, 0.0), (False, 1e6), (True, 1.0),
                                 (True, None), (True, -3600.0)):
            with self.subTest(is_loop=is_loop, ran_for=ran_for):
                self.assertEqual(
                    lifecycle.countInterruption(2, is_loop, ran_for), 3)

    def test_loop_that_went_on_for_long_begins_to_count_anew(self):
        self.assertEqual(lifecycle.countInterruption(
            2, True, lifecycle.STEADY_AFTER), 1)

    def test_what_follows_is_legal_for_runs_in_work(self):
        for must_not, stop in itertools.product((False, True), repeat=2):
            for count in range(1, 5):
                new = lifecycle.afterInterruption(must_not, count, stop)
                lifecycle.checkTransition('1-1', RUNNING, new)


class BackOffTests(unittest.TestCase):

    def delays(self, counts, rand):
        return [lifecycle.backOff(count, 0.1, 1.0, lambda: rand)
                for count in counts]

    def test_delay_doubles_up_to_the_cap(self):
        self.assertEqual(
            self.delays((1, 2, 3, 4, 5, 6), 1.0),
            [0.1, 0.2, 0.4, 0.8, 1.0, 1.0])

    def test_jitter_takes_half_at_the_most(self):
        self.assertEqual(self.delays((1, 2, 9), 0.0), [0.05, 0.1, 0.5])

    def test_delay_is_random_unless_told_otherwise(self):
        delays = {lifecycle.backOff(3) for _ in range(50)}
        self.assertGreater(len(delays), 1)
        self.assertLessEqual(max(delays), 0.04)
        self.assertGreaterEqual(min(delays), 0.02)

    def test_very_many_failures_do_not_overflow(self):
        self.assertEqual(self.delays((10 ** 9,), 1.0), [1.0])


class SilenceTests(unittest.TestCase):

    def test_process_is_silent_after_its_lease_not_at_it(self):
        self.assertFalse(lifecycle.isSilent(0.0, 90.0))
        self.assertFalse(lifecycle.isSilent(90.0, 90.0))
        self.assertTrue(lifecycle.isSilent(90.1, 90.0))
