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
"""Schedules: when the next tick is, on any day of the year."""
import unittest
from datetime import datetime
from datetime import timezone
from zoneinfo import ZoneInfo

from zope.interface.verify import verifyObject

from cipher.background.declarations.schedule import Schedule
from cipher.background.declarations.schedule import checkCron
from cipher.background.declarations.schedule import getZone
from cipher.background.interfaces import ISchedule


VILNIUS = 'Europe/Vilnius'


def ticks(cron, after, number, timezone=VILNIUS):
    """Return the next ticks, as texts in local time."""
    schedule = Schedule('report', 'report', cron=cron, timezone=timezone)
    zone = ZoneInfo(timezone)
    moment = datetime.fromisoformat(after)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    found = []
    after = moment.timestamp()
    for _ in range(number):
        after = schedule.nextTick(after)
        found.append(datetime.fromtimestamp(after, zone).isoformat())
    return found


class ScheduleTests(unittest.TestCase):

    def test_it_is_a_schedule(self):
        verifyObject(ISchedule, Schedule('report', 'report', every=1.0))

    def test_every_counts_from_the_time_given(self):
        schedule = Schedule('beat', 'beat', every=90.5)
        self.assertEqual(schedule.nextTick(1000.25), 1090.75)

    def test_expression_for_people(self):
        self.assertEqual(Schedule('a', 'a', every=90.0).expression,
                         'every 90 s')
        self.assertEqual(
            Schedule('a', 'a', cron='0 3 * * *').expression,
            '0 3 * * * UTC')
        self.assertEqual(
            Schedule('a', 'a', cron='0 3 * * *',
                     timezone=VILNIUS).expression,
            '0 3 * * * Europe/Vilnius')

    def test_expressions_of_different_intervals_differ(self):
        # A schedule counts as changed when its expression does.
        self.assertNotEqual(
            Schedule('a', 'a', every=1000000.0).expression,
            Schedule('a', 'a', every=1000001.0).expression)

    def test_tick_is_after_the_time_given(self):
        # Else a schedule would start twice at its tick.
        schedule = Schedule('a', 'a', cron='0 3 * * *')
        tick = datetime(2026, 7, 1, 3, tzinfo=timezone.utc).timestamp()
        self.assertEqual(schedule.nextTick(tick), tick + 86400)
        self.assertEqual(schedule.nextTick(tick - 0.001), tick)
        self.assertEqual(schedule.nextTick(tick + 0.001), tick + 86400)

    def test_cron_is_of_its_zone(self):
        self.assertEqual(
            ticks('0 3 * * *', '2026-07-01T12:00', 1),
            ['2026-07-02T03:00:00+03:00'])
        self.assertEqual(
            ticks('0 3 * * *', '2026-07-01T12:00', 1, 'UTC'),
            ['2026-07-02T03:00:00+00:00'])

    def test_names_and_steps_are_known(self):
        self.assertEqual(
            ticks('0/30 9 * * mon', '2026-07-01T12:00', 2),
            ['2026-07-06T09:00:00+03:00', '2026-07-06T09:30:00+03:00'])

    def test_leap_day(self):
        self.assertEqual(
            ticks('0 0 29 2 *', '2026-03-01T00:00', 1, 'UTC'),
            ['2028-02-29T00:00:00+00:00'])


class SpringTests(unittest.TestCase):
    """2026-03-29 in Vilnius: 03:00 is followed by 04:00."""

    def test_tick_in_the_hour_that_is_not_comes_right_after_it(self):
        for cron in '0 3 * * *', '30 3 * * *':
            with self.subTest(cron):
                minute = int(cron.split()[0])
                self.assertEqual(
                    ticks(cron, '2026-03-28T12:00', 3),
                    ['2026-03-29T04:00:00+03:00',
                     '2026-03-30T03:%02d:00+03:00' % minute,
                     '2026-03-31T03:%02d:00+03:00' % minute])

    def test_tick_beside_that_hour_comes_as_ever(self):
        self.assertEqual(
            ticks('30 2 * * *', '2026-03-28T12:00', 2),
            ['2026-03-29T02:30:00+02:00', '2026-03-30T02:30:00+03:00'])
        self.assertEqual(
            ticks('30 4 * * *', '2026-03-28T12:00', 2),
            ['2026-03-29T04:30:00+03:00', '2026-03-30T04:30:00+03:00'])

    def test_two_ticks_that_fall_together_are_one(self):
        self.assertEqual(
            ticks('0 3,4 * * *', '2026-03-29T02:00', 2),
            ['2026-03-29T04:00:00+03:00', '2026-03-30T03:00:00+03:00'])

    def test_hourly_ticks_are_an_hour_apart(self):
        self.assertEqual(
            ticks('30 * * * *', '2026-03-29T02:00', 3),
            ['2026-03-29T02:30:00+02:00', '2026-03-29T04:30:00+03:00',
             '2026-03-29T05:30:00+03:00'])

    def test_day_that_begins_at_one(self):
        # Midnight is the hour that is not.
        self.assertEqual(
            ticks('0 0 * * *', '2026-09-05T12:00', 2, 'America/Santiago'),
            ['2026-09-06T01:00:00-03:00', '2026-09-07T00:00:00-03:00'])


class AutumnTests(unittest.TestCase):
    """2026-10-25 in Vilnius: 04:00 is followed by 03:00."""

    def test_tick_in_the_hour_that_comes_twice_comes_once(self):
        for cron in '0 3 * * *', '30 3 * * *':
            with self.subTest(cron):
                minute = int(cron.split()[0])
                self.assertEqual(
                    ticks(cron, '2026-10-24T12:00', 2),
                    ['2026-10-25T03:%02d:00+03:00' % minute,
                     '2026-10-26T03:%02d:00+02:00' % minute])

    def test_wherever_one_looks_from_it_comes_once(self):
        schedule = Schedule('a', 'a', cron='30 3 * * *', timezone=VILNIUS)
        begin = datetime(2026, 10, 24, 21, tzinfo=timezone.utc).timestamp()
        found = set()
        for after in range(int(begin), int(begin) + 6 * 3600, 300):
            tick = schedule.nextTick(after)
            self.assertGreater(tick, after)
            found.add(datetime.fromtimestamp(
                tick, timezone.utc).isoformat()[:16])
        self.assertEqual(found, {'2026-10-25T00:30', '2026-10-26T01:30'})

    def test_tick_beside_that_hour_comes_as_ever(self):
        self.assertEqual(
            ticks('30 2 * * *', '2026-10-24T12:00', 2),
            ['2026-10-25T02:30:00+03:00', '2026-10-26T02:30:00+02:00'])
        self.assertEqual(
            ticks('30 4 * * *', '2026-10-24T12:00', 2),
            ['2026-10-25T04:30:00+02:00', '2026-10-26T04:30:00+02:00'])

    def test_hourly_ticks_are_an_hour_apart(self):
        self.assertEqual(
            ticks('30 * * * *', '2026-10-25T03:00:00+03:00', 4),
            ['2026-10-25T03:30:00+03:00', '2026-10-25T03:30:00+02:00',
             '2026-10-25T04:30:00+02:00', '2026-10-25T05:30:00+02:00'])


class CheckTests(unittest.TestCase):

    def test_what_is_no_cron_expression_is_refused(self):
        for text in ('', '* * * *', '60 * * * *', 'a b c d e', '@reboot',
                     'daily', '*/0 * * * *', '0 5-3 * * *', '* * * * * * *'):
            with self.subTest(text):
                with self.assertRaises(ValueError) as caught:
                    checkCron(text)
                self.assertIn('cron: expected minute, hour', str(
                    caught.exception))
                self.assertIn('got %r' % text, str(caught.exception))

    def test_words_stand_for_fields(self):
        for word, fields in (
                ('@hourly', '0 * * * *'), ('@daily', '0 0 * * *'),
                ('@weekly', '0 0 * * 0'), ('@monthly', '0 0 1 * *'),
                ('@yearly', '0 0 1 1 *'), ('@annually', '0 0 1 1 *'),
                ('@midnight', '0 0 * * *'), ('@Daily', '0 0 * * *')):
            checkCron(word)
            one, other = [Schedule('s', 'w', cron=cron) for cron in (
                word, fields)]
            for after in 1.7e9, 1.8e9:
                self.assertEqual(one.nextTick(after), other.nextTick(after))
            self.assertEqual(one.expression, word + ' UTC')

    def test_seconds_are_refused(self):
        # Five fields are promised.  With six, the first would be seconds,
        # and other rules would hold on the days of DST.
        with self.assertRaises(ValueError):
            checkCron('0 0 3 * * *')

    def test_fields_that_do_not_go_together_are_refused(self):
        for text in '0 0 * * 1#2/2', '0 0 * * 5L/2':
            with self.subTest(text):
                with self.assertRaises(ValueError):
                    checkCron(text)

    def test_day_that_never_comes_is_refused(self):
        with self.assertRaises(ValueError):
            checkCron('0 0 30 2 *')

    def test_usual_expressions_are_taken(self):
        for text in ('0 3 * * *', '*/5 9-17 * * 1-5', '0 0 29 2 *',
                     '0 0 L * *', ' 0  3 * * * ', '0 9 * JAN mon#1'):
            with self.subTest(text):
                checkCron(text)

    def test_zones(self):
        self.assertIs(getZone('UTC'), timezone.utc)
        self.assertEqual(getZone(VILNIUS), ZoneInfo(VILNIUS))

    def test_what_is_no_zone_is_refused(self):
        for name in ('', 'Europe', 'Mars/Olympus', '../../etc/passwd',
                     '/etc/localtime', 'a\0b'):
            with self.subTest(name):
                with self.assertRaises(ValueError) as caught:
                    getZone(name)
                self.assertEqual(
                    str(caught.exception),
                    'timezone: expected the name of a time zone such as '
                    'Europe/Vilnius, got %r' % name)
