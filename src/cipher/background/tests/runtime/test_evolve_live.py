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
"""Real processes that bring a database up to date, or die of it."""
import transaction

from cipher.background.interfaces import NEWER_DATABASE
from cipher.background.interfaces import OLDER_PROCESS
from cipher.background.store.process import getDirectory
from cipher.background.store.process import processName
from cipher.background.tests.support.actor import Actor
from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.structure2 import Evolving
from cipher.background.tests.support.structure2 import shapesOf
from cipher.background.tests.support.structure2 import structure2


class EvolveTests(ZEOTests):
    """The test's process has no runtime, and the code of structure 1."""

    def setUp(self):
        super().setUp()
        self.runtime.shutdown()

    def evolving(self, batch=10):
        """Return a process of the newer code."""
        actor = Evolving(self, self.uri, self.path)
        actor.limit(batch)
        return actor

    def startMany(self, number=100):
        """Start runs that nobody carries out yet."""
        self.begin()
        for _ in range(number):
            self.registry.start('add')
        transaction.commit()

    def isEvolved(self):
        self.begin()
        return (self.registry.structure_version == 2
                and self.registry.evolving is None)

    def waitWork(self, number):
        """Wait until the newer processes have done all the work."""
        with structure2():
            waitUntil(lambda: self.value() == number, 'the work', LONG)
            waitUntil(lambda: self.begin() or self.registry.getCounts() == {
                'add': {'succeeded': number}}, 'the counts', LONG)
            waitUntil(self.isEvolved, 'the new structure', LONG)
            self.begin()
            self.assertEqual(shapesOf(self.db, self.registry), {dict})
            # As the other one wrote it.
            self.connection.cacheMinimize()

    def problems(self):
        with structure2():
            self.begin()
            return {problem.kind: problem
                    for problem in self.registry.listProblems()}

    def test_killed_in_the_middle(self):
        self.startMany()
        for number in range(1, 4):
            actor = self.evolving()
            actor.killAtBatch(3)
            actor.send('evolve', 0.0)
            actor.process.wait(LONG)
            self.begin()
            with structure2():
                self.connection.cacheMinimize()
                # Two of each time: the third was not committed.
                self.assertEqual(
                    self.registry.evolving[1], 1 + 10 * 2 * number)
                self.assertEqual(
                    shapesOf(self.db, self.registry), {tuple, dict})
        # What is half done is the newer code's alone.
        older = Actor(self, self.uri, self.path)
        with self.assertRaisesRegex(AssertionError, 'NewerDatabase: '):
            older.runtime()
        with self.assertRaisesRegex(AssertionError, 'NewerDatabase: '):
            older.start('add')
        self.assertEqual(self.evolving().evolve(0.0), 10 - 6)
        self.evolving().runtime()
        self.waitWork(100)

    def test_runtime_killed_in_the_middle(self):
        self.startMany()
        actor = self.evolving()
        actor.killAtBatch(3)
        actor.send('runtime')
        actor.process.wait(LONG)
        self.evolving().runtime()
        self.waitWork(100)

    def test_two_at_once_while_work_goes_on(self):
        self.startMany(300)
        actors = [self.evolving(batch=20) for _ in range(2)]
        for actor in actors:
            actor.send('runtime')
        for actor in actors:
            actor.answer()
        for actor in actors:
            actor.start('add', number=20)
        self.waitWork(340)

    def test_waits_for_the_older_process_which_works_on(self):
        older = self.act()
        run_id, = older.start('rerun')
        self.waitInside()
        newer = self.evolving()
        with self.assertRaisesRegex(
                AssertionError, 'OlderProcess: evolve: .* got %s; ' %
                processName(older.id)):
            newer.evolve(0.0)
        newer.runtime()
        waitUntil(lambda: OLDER_PROCESS in self.problems(), 'problem', LONG)
        self.assertEqual(self.problems()[OLDER_PROCESS].subject, older.id)
        # Both work, and what is stored is what the older one can read.
        self.letGoOn()
        self.assertEqual(self.waitFinal(run_id, 'succeeded').id, run_id)
        self.assertFalse(self.isEvolved())
        older.shutdown(5.0)
        with structure2():
            waitUntil(self.isEvolved, 'the new structure', LONG)
        waitUntil(lambda: OLDER_PROCESS not in self.problems(),
                  'the end of the problem', LONG)

    def test_killed_older_process_is_not_waited_for(self):
        older = self.act()
        older.start('rerun')
        self.waitInside()
        older.kill()
        self.letGoOn()
        self.evolving().runtime()
        with structure2():
            waitUntil(self.isEvolved, 'the new structure', LONG)
            waitUntil(lambda: self.value() == 1, 'the work', LONG)

    def test_older_process_that_was_paused(self):
        older = self.act()
        older.pause()
        self.evolving().runtime()
        with structure2():
            waitUntil(self.isEvolved, 'the new structure', LONG)
        self.begin()
        before = set(getDirectory(self.connection).processes)
        older.resume()

        def is_refused():
            try:
                older.start('add')
            except AssertionError as error:
                return 'NewerDatabase: ' in str(error)

        # Not before its connection has heard of the commit.
        waitUntil(is_refused, 'refused start', LONG)

        waitUntil(lambda: NEWER_DATABASE in older.troubles(),
                  'what it says', LONG)
        self.assertEqual(older.live(), [])
        self.begin()
        self.assertEqual(
            set(getDirectory(self.connection).processes), before)
        self.assertNotIn(NEWER_DATABASE, self.problems())
