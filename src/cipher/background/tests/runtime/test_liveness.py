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
"""Who is taken for dead, and who is not."""
import unittest
from types import SimpleNamespace
from unittest import mock

from ZODB.MappingStorage import MappingStorage

from cipher.background.runtime.maintenance.liveness import Liveness


LEASE = 90.0


class CensusTests(unittest.TestCase):
    """The clock is set by hand; nobody can tell anything by a pid."""

    def setUp(self):
        self.now = 1000.0
        patchers = (
            mock.patch(
                'cipher.background.runtime.maintenance.liveness.time'
                '.monotonic', lambda: self.now),
            mock.patch('cipher.background.store.process.isKnownDead',
                       lambda record: False))
        for patcher in patchers:
            patcher.start()
            self.addCleanup(patcher.stop)
        self.other = SimpleNamespace(
            id='other', lease=LEASE, heartbeat=SimpleNamespace(count=0))
        self.directory = SimpleNamespace(processes={'other': self.other})
        self.liveness = self.make(None)

    def make(self, storage):
        return Liveness(SimpleNamespace(
            id='me', settings=SimpleNamespace(lease=LEASE),
            db=SimpleNamespace(storage=storage)))

    def live(self, seconds, beats=True, is_away=False):
        """Let time pass; return who was ever taken for dead.

        We look and beat every 20 s, the other one too where it *beats*.
        Where the storage *is_away* nobody can.
        """
        dead = []
        for _ in range(int(seconds / 20)):
            self.now += 20
            if is_away:
                continue
            dead += self.liveness.findDead(self.directory)
            self.liveness.noteBeat()
            self.other.heartbeat.count += beats
        return dead

    def test_who_beats(self):
        self.assertEqual(self.live(10 * LEASE), [])

    def test_who_is_silent(self):
        self.live(100)
        self.assertEqual(self.live(80, beats=False), [])
        self.assertIn(self.other, self.live(80, beats=False))

    def test_who_was_silent_before_us(self):
        # Its silence begins when we first see it.
        self.assertEqual(self.live(100, beats=False), [])
        self.assertIn(self.other, self.live(40, beats=False))

    def test_storage_was_away(self):
        self.live(100)
        self.live(10 * LEASE, is_away=True)
        # We are back, and it is not yet.
        self.assertEqual(self.live(80, beats=False), [])
        self.assertEqual(self.live(200), [])
        # One that does not come back is found out all the same.
        self.live(10 * LEASE, is_away=True)
        self.assertIn(self.other, self.live(140, beats=False))

    def test_we_were_paused_together(self):
        self.live(100)
        self.now += 10 * LEASE
        self.assertEqual(self.live(80, beats=False), [])

    def test_reads_alone_tell_nothing(self):
        # Our own beats do not get through, but a cache still answers.
        self.live(100)
        self.liveness.noteBeat = lambda: None
        self.assertEqual(self.live(10 * LEASE, beats=False), [])

    def test_who_is_alone_has_the_database(self):
        self.liveness = self.make(MappingStorage())
        self.assertEqual(self.live(20), [self.other])

    def test_who_is_gone_is_forgotten(self):
        self.live(100)
        del self.directory.processes['other']
        self.live(20)
        self.assertEqual(self.liveness._beats, {})
