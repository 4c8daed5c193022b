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
"""A reindex in many steps, killed ten times: each item is indexed once."""
import random
import tempfile

from cipher.background.tests.support import reindexprocess
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.sites import ComponentTests


SIZE = 5000
KILLS = 10
BATCH = 50


class ReindexTests(ComponentTests):

    layer = Live

    def test_each_object_is_indexed_exactly_once_though_killed(self):
        seed = random.SystemRandom().randrange(1000000)
        with tempfile.TemporaryDirectory() as folder, self.subTest(seed=seed):
            reindexprocess.prepare(folder, SIZE)
            figures = reindexprocess.carryOut(
                folder, SIZE, KILLS, seed, BATCH, pause=0.0002)
            verdict = reindexprocess.audit(folder)
            self.assertEqual(figures['code'], 0)
            self.assertEqual(figures['hits'], KILLS)
            self.assertEqual(
                (verdict['state'], verdict['error']), ('succeeded', None))
            self.assertEqual(verdict['wrong'], [])
            self.assertTrue(verdict['is_index_whole'])
            self.assertEqual(verdict['result'], '%d items' % SIZE)
            self.assertEqual(verdict['progress'], (SIZE, SIZE))
            # Work was lost by the kills, and only that was repeated.
            repeated = figures['processed'] - SIZE
            self.assertGreater(repeated, 0)
            self.assertLessEqual(repeated, KILLS * BATCH)
