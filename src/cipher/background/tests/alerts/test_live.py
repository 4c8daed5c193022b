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
"""Alerts carried out by a runtime, with a real mail server."""
import transaction
from zope.component import getUtility
from zope.component import provideUtility

from cipher.background.browser.alerttexts import AlertTexts
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IAlertTexts
from cipher.background.interfaces import IWorkerType
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.mailserver import MailServer
from cipher.background.tests.support.sites import SECURITY
from cipher.background.tests.support.sites import declare


def fail(worker):
    """Fail."""
    raise ValueError('no answer in 30 s')


class AlertTests(LiveTests):

    def setUp(self):
        super().setUp()
        provideUtility(AlertTexts(), IAlertTexts)
        self.server = MailServer()
        self.addCleanup(self.server.close)
        declare(SECURITY + '<background:alerts mail_to="a@example.org" '
                'mail_from="b@example.org" interval="0" smtp_host="127.0.0.1" '
                'smtp_port="%d" timeout="60" />' % self.server.port)
        declareWorker('work', fail)

    def alert(self):
        return self.carryOut('alerts')

    def test_mail_on_a_failure(self):
        self.assertEqual(self.alert().result, 'nothing new')
        self.carryOut('work')
        self.assertEqual(self.alert().state, SUCCEEDED)
        self.assertEqual(self.alert().result, 'nothing new')
        mail, = self.server.got
        self.assertIn('1 × ValueError: no answer in ‹number› s',
                      mail.get_content())

    def test_failing_server_is_a_failed_attempt_that_is_done_again(self):
        self.alert()
        self.carryOut('work')
        self.server.behaviour['RCPT'] = '451 later'
        run_id = self.start('alerts')

        def isPutOff():
            status = self.status(run_id)
            return status.state == PENDING and status.attempts

        waitUntil(isPutOff, 'the end of the first attempt')
        self.assertEqual(self.server.got, [])
        self.server.behaviour.clear()
        self.change(lambda: self.registry.beginNow(run_id))
        self.assertEqual(self.waitFinished(run_id).state, SUCCEEDED)
        self.assertEqual(len(self.server.got), 1)
        self.assertEqual(self.alert().result, 'nothing new')

    def test_conflict_after_the_mail_sends_no_second_one(self):
        self.alert()
        self.carryOut('work')

        def meddle():
            # Another transaction writes what the run is about to write.
            with ZodbConnection(self.db) as connection:
                registry = connection.get(self.registry._p_oid)
                registry.alerts['alerts'].looked_at = 1.0
                transaction.commit()

        self.server.behaviour['.'] = meddle
        self.assertEqual(self.alert().state, SUCCEEDED)
        self.assertEqual(len(self.server.got), 1)
        self.server.behaviour.clear()
        self.assertEqual(self.alert().result, 'nothing new')

    def test_server_that_is_away_for_all_attempts(self):

        self.alert()
        self.carryOut('work')
        worker_type = getUtility(IWorkerType, 'alerts')
        self.server.behaviour['EHLO'] = self.server.behaviour['HELO'] = None
        declareWorker('alerts', worker_type.handler, max_attempts=1)
        self.assertEqual(self.alert().state, FAILED)
        self.server.behaviour.clear()
        self.assertIn('1 failed run', self.alert().result)
        self.assertIn('1 failed run', self.alert().result)   # its own
        self.assertEqual(self.alert().result, 'nothing new')
        self.assertEqual(len(self.server.got), 2)
