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
"""What one process does about the work of another, and replies that are lost.
"""
import threading
from unittest import mock

import transaction
from zope.component.hooks import getSite

from cipher.background.interfaces import FAIL
from cipher.background.tests.support.cluster import LONG
from cipher.background.tests.support.cluster import PostgreSQLTests
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT


try:
    from relstorage.storage.tpc import vote
except ImportError:
    vote = None   # then its tests are skipped


class LostReplyTests:
    """The server commits, and its client does not get to know."""

    def lose(self, note):
        """Let the reply to the next commit with such a note be lost."""
        raise NotImplementedError

    def waitLost(self):
        """Wait until that has happened; have the server again."""
        raise NotImplementedError

    def check(self, note, **values):
        """Carry out work; the reply to a commit is lost."""
        calls = []

        def work(worker):
            getSite()['counter'].value += 1
            calls.append(worker.run_id)

        declareWorker('work', work, **values)
        self.lose(note)
        run_id = self.start('work')
        self.waitLost()
        status = self.waitFinal(run_id, 'succeeded')
        self.assertEqual((status.attempts, status.interruptions), (1, 0))
        self.assertEqual(self.value(), 1)
        waitUntil(lambda: not self.runtime.allLive(), 'its end')
        return calls

    def test_reply_to_the_work_is_lost(self):
        # Perhaps called once more, in a transaction that is aborted.
        self.check('work, run')

    def test_reply_to_the_claim_is_lost(self):
        calls = self.check(': claim', on_interrupt=FAIL)
        self.assertEqual(len(calls), 1)

    def test_reply_to_a_failure_is_lost(self):
        def fail(worker):
            calls.append(worker.run_id)
            raise ValueError('no')

        calls = []
        declareWorker('work', fail, max_attempts=2, retry_delay=0.01)
        # Which is the note of what tells the end, too.
        self.lose('run ')
        transaction.begin()
        run = self.registry.start('work')
        transaction.commit()
        self.waitLost()
        status = self.waitFinal(run.id, 'failed')
        self.assertEqual(status.attempts, 2)
        self.assertEqual(len(calls), 2)


class ZEOLostReplyTests(LostReplyTests, ZEOTests):
    """The ZEO server exits right after the commit."""

    def lose(self, note):
        self.server.exitAfterCommit(note)

    def waitLost(self):
        self.server.waitEnd()
        self.assertFalse(self.server.hasToExit())
        self.server.start()
        self.waitBack()


class PostgreSQLLostReplyTests(LostReplyTests, PostgreSQLTests):
    """The connection breaks right after the commit."""

    def lose(self, note):
        finish = vote.Finish
        error = self.db.storage._adapter.driver.disconnected_exceptions[0]
        self.is_lost = threading.Event()

        def losing(*args):
            state = finish(*args)
            if note in transaction.get().description and (
                    not self.is_lost.is_set()):
                self.is_lost.set()
                raise error('the reply is lost')
            return state

        self._start(mock.patch.object(vote, 'Finish', losing))

    def waitLost(self):
        self.assertTrue(self.is_lost.wait(LONG))


class StopTests:
    """A process asks for the stop of what another one works on."""

    def setUp(self):
        super().setUp()
        self.runtime.shutdown()   # a web process, from now on

    def test_stop_of_a_run_in_another_process(self):
        other = self.act()
        web = self.actWithout()
        for is_told, ask in (True, web.stop), (False, self.requestStop):
            with self.subTest(is_told=is_told):
                run_id, = other.start('polite')
                self.waitInside()
                if is_told:
                    self.waitForeign(run_id)
                else:
                    # It has begun, which nobody else knows yet.
                    waitUntil(lambda run_id=run_id: self.run_of(run_id))
                ask(run_id, 'enough')
                status = self.waitFinal(run_id, 'stopped')
                self.assertEqual(status.stop.reason, 'enough')
                # Long before the work would have ended by itself.
                waitUntil(lambda: not other.live(), 'its end', LIMIT / 2)
        self.assertEqual(self.value(), 0)

    def run_of(self, run_id):
        self.begin()
        return self.registry.get(run_id)


class ZEOStopTests(StopTests, ZEOTests):
    """With ZEO."""


class PostgreSQLStopTests(StopTests, PostgreSQLTests):
    """With RelStorage."""


class LeaseTests:
    """Nobody can tell by the pid who is dead: it may be another machine."""

    def setUp(self):
        super().setUp()
        self.patch('cipher.background.store.process.isKnownDead',
                   lambda record: False)

    def test_killed_on_another_machine(self):
        self.checkKilled('silent')

    def test_owner_is_paused_beyond_its_lease(self):
        other = self.act()
        rerun, = other.start('rerun')
        self.waitInside()
        fail, = other.start('fail')
        self.waitInside()
        other.pause()
        self.waitInside()   # in this process
        self.letGoOn()
        before = [self.waitFinal(rerun, 'succeeded'),
                  self.waitFinal(fail, 'interrupted')]
        self.assertEqual(self.value(), 1)
        other.resume()
        waitUntil(lambda: not other.live(), 'that it leaves them', LONG)
        self.assertFalse(self.isInside(), 'it tried again')
        self.assertEqual([self.status(rerun), self.status(fail)], before)
        self.assertEqual(self.value(), 1)
        # It is of use again, as another process: what of the old one nobody
        # has rescued yet must not count as carried out.

        def others():
            self.begin()
            return {p.id for p in self.registry.listProcesses()} - {
                self.runtime.id}
        waitUntil(lambda: len(others()) == 1, 'its record', LONG)
        self.assertNotIn(other.id, others())
        self.runtime.shutdown()
        for run_id in other.start('add', number=3):
            self.waitFinal(run_id, 'succeeded')
        self.assertEqual(self.value(), 4)


class ZEOLeaseTests(LeaseTests, ZEOTests):
    """With ZEO."""


class PostgreSQLLeaseTests(LeaseTests, PostgreSQLTests):
    """With RelStorage."""
