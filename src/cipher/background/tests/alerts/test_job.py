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
"""What an alert reports, when, and how often; without a server."""
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import transaction
from zope.component import hooks
from zope.component import provideUtility
from zope.i18n.gettextmessagecatalog import GettextMessageCatalog
from zope.i18n.interfaces import ITranslationDomain
from zope.i18n.translationdomain import TranslationDomain
from zope.interface.verify import verifyObject
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from cipher.background import locales
from cipher.background.alerts import news
from cipher.background.alerts.job import Alerts
from cipher.background.browser.alerttexts import GROUPS_LIMIT
from cipher.background.browser.alerttexts import AlertTexts
from cipher.background.i18n import DOMAIN
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import IAlertTexts
from cipher.background.registry.installation import addRegistry
from cipher.background.store.process import getDirectory
from cipher.background.tests.queries.test_problems import LEASE
from cipher.background.tests.queries.test_problems import WatchTests


class Channel:
    """Keeps the messages; `error` is raised instead, if there is one."""

    error = None

    def __init__(self):
        self.got = []

    def send(self, message):
        if self.error is not None:
            raise self.error
        self.got.append(message)
        return {}


class AlertTests(WatchTests):

    def setUp(self):
        super().setUp()
        provideUtility(AlertTexts(), IAlertTexts)
        self.channel = Channel()
        self.alerts = Alerts('alerts', self.channel, interval=0.0)
        self.addProcess()

    def look(self, alerts=None):
        """Do the work of one run; return its result."""
        with hooks.site(self.site):
            said = (alerts or self.alerts)(
                SimpleNamespace(checkpoint=transaction.commit, log=None))
        transaction.commit()
        self.clock.advance(1.0)
        return said

    def fail(self, name='ValueError', text='no', state=FAILED, **values):
        run = self.makeRun(state=state, error=(name, text), **values)
        transaction.commit()
        self.clock.advance(1.0)
        return run

    def sent(self):
        """Return the message that was sent since the last call."""
        message, = self.channel.got
        self.channel.got.clear()
        return message

    def addSilence(self):
        """Let a process be silent, another one live."""
        record = self.addProcess('lost')
        self.clock.advance(LEASE + 1)
        self.addProcess()
        return record

    def heal(self, record):
        record.live.beat_at = self.clock.now
        transaction.commit()


class ReportTests(AlertTests):

    def test_texts(self):
        verifyObject(IAlertTexts, AlertTexts())

    def test_nothing_is_reported_that_was_there_before(self):
        self.fail()
        self.assertEqual(self.look(), 'nothing new')
        self.assertEqual(self.look(), 'nothing new')
        self.assertEqual(self.channel.got, [])

    def test_problem_is_reported_once_and_once_when_it_goes(self):
        self.look()
        self.addSilence()
        self.assertEqual(self.look(), 'sent: Background work: 1 problem')
        message = self.sent()
        problem, = message['problems']
        self.assertEqual(
            (problem['kind'], problem['subject'], problem['site']),
            (SILENT_PROCESS, 'lost:1:x', None))
        self.assertIn('Process lost:1 is silent', problem['text'])
        self.assertIn(problem['text'], message['text'])
        for _ in range(3):
            self.clock.advance(10)
            self.assertEqual(self.look(), 'nothing new')
        self.removeLost()
        self.assertEqual(self.look(), 'sent: Background work: 1 problem gone')
        message = self.sent()
        self.assertEqual([one['text'] for one in message['gone']],
                         [problem['text']])
        self.assertEqual(message['problems'], [])
        self.assertEqual(self.look(), 'nothing new')

    def removeLost(self):
        del getDirectory(self.connection).processes['lost:1:x']
        transaction.commit()

    def test_problem_that_comes_back_is_reported_again(self):
        self.look()
        for _ in range(2):
            self.addSilence()
            self.look()
            self.assertEqual(len(self.sent()['problems']), 1)
            self.removeLost()
            self.look()
            self.assertEqual(len(self.sent()['gone']), 1)

    def test_each_failed_run_counts_once_and_the_same_reason_is_one_group(
            self):
        self.look()
        self.fail('TimeoutError', 'no answer in 30 s')
        last = self.fail('TimeoutError', 'no answer in 60 s', type='other')
        self.fail('KeyError', "'customer'")
        self.fail(None, None, state=INTERRUPTED)
        self.makeRun()
        self.makeRun(state=STOPPED)
        self.assertEqual(self.look(), 'sent: Background work: 4 failed runs')
        message = self.sent()
        first = message['failures'][0]
        self.assertEqual(
            (first['error_type'], first['message'], first['number'],
             first['types'], first['last_run']),
            ('TimeoutError', 'no answer in ‹number› s', 2,
             {'work': 1, 'other': 1}, last.id))
        self.assertIn('- 2 × TimeoutError: no answer in ‹number› s\n'
                      '  other (1), work (1)\n', message['text'])
        self.assertEqual(
            {one['error_type'] for one in message['failures']},
            {'TimeoutError', 'KeyError', 'interrupted'})
        self.assertEqual(self.look(), 'nothing new')
        self.fail('TimeoutError', 'no answer in 90 s')
        self.look()
        self.assertEqual(self.sent()['failures'][0]['number'], 1)

    def test_failure_of_a_lane_that_is_new(self):
        self.look()
        lane = self.registry.lanes[1]
        self.fail()
        del self.registry.alerts['alerts'].marks[self.registry._p_oid, 1]
        self.assertEqual(self.look(), 'sent: Background work: 1 failed run')
        self.assertEqual(
            self.registry.alerts['alerts'].marks,
            {(self.registry._p_oid, 1): lane.finishes.last_key})

    def test_clock_that_was_ahead_hides_no_failure(self):
        self.look()
        self.clock.advance(10 * 86400)
        self.fail()
        self.look()
        self.channel.got.clear()
        self.clock.advance(-10 * 86400)
        self.fail()
        self.look()
        self.fail()
        self.assertIn('sent: ', self.look())

    def test_of_many_failures_each_counts(self):
        self.look()
        for number in range(GROUPS_LIMIT + 5):
            self.fail('Error%d' % number)
        with mock.patch.object(news, 'RUNS_LIMIT', GROUPS_LIMIT + 2):
            self.look()
        message = self.sent()
        self.assertEqual(len(message['failures']), GROUPS_LIMIT)
        self.assertEqual(message['more'], 5)
        self.assertIn('%d failed runs' % (GROUPS_LIMIT + 5),
                      message['subject'])
        self.assertIn('5 more failed runs are not listed here.',
                      message['text'])
        self.assertEqual(self.look(), 'nothing new')

    def test_run_that_was_removed_is_left_out(self):
        self.look()
        run = self.fail()
        self.registry.getRun(run.lane, run.serial).is_removed = True
        self.assertEqual(self.look(), 'nothing new')

    def test_without_failures(self):
        alerts = Alerts('quiet', self.channel, 0.0, failures=False)
        self.look(alerts)
        self.fail()
        self.assertEqual(self.look(alerts), 'nothing new')
        self.addSilence()
        self.look(alerts)
        self.assertEqual(self.sent()['failures'], [])

    def test_more_problems_than_the_limit(self):
        self.look()
        self.addProcess('one')
        self.addProcess('two')
        self.addSilence()
        with mock.patch.object(news, 'PROBLEMS_LIMIT', 2):
            self.look()
        self.assertEqual(len(self.sent()['problems']), 2)

    def test_two_types_report_for_themselves(self):
        second = Alerts('second', self.channel, 0.0)
        self.look(), self.look(second)
        self.fail()
        self.look(), self.look(second)
        self.assertEqual(len(self.channel.got), 2)

    def test_all_registries_count_and_their_sites_are_named(self):
        site = self.site['sub'] = Folder()
        site.setSiteManager(LocalSiteManager(site))
        transaction.commit()
        other = addRegistry(site)
        transaction.commit()
        self.alerts.url = 'https://example.org/app/'
        self.look()
        first, self.registry = self.registry, other
        self.fail()
        self.registry = first
        self.addSilence()
        self.look()
        message = self.sent()
        self.assertEqual(len(message['problems']), 1)
        group, = message['failures']
        self.assertEqual(group['site'], '/sub')
        self.assertIn('(site /sub)', message['text'])
        self.assertTrue(group['url'].startswith(
            'https://example.org/app/sub/++background++/runs.html?error='))
        self.assertEqual(
            message['problems'][0]['url'],
            'https://example.org/app/++background++/processes.html')
        self.assertIn(group['url'], message['text'])

    def test_language(self):
        domain = TranslationDomain(DOMAIN)
        domain.addCatalog(GettextMessageCatalog('de', DOMAIN, str(
            Path(locales.__file__).with_name('de') / 'LC_MESSAGES'
            / (DOMAIN + '.mo'))))
        provideUtility(domain, ITranslationDomain, DOMAIN)
        self.alerts.language = 'de'
        self.look()
        self.fail()
        self.look()
        self.assertEqual(self.sent()['subject'],
                         'Hintergrundarbeit: 1 fehlgeschlagener Lauf')

    def test_hostile_text_makes_no_line_and_no_header(self):
        self.look()
        self.fail('A\r\nBcc: x@y', 'b\r\n\x1b[31m\u202e\ud800 <b>')
        self.look()
        message = self.sent()
        self.assertNotIn('\r', message['text'])
        self.assertNotIn('\x1b', message['text'])
        self.assertNotIn('\nBcc', message['text'])
        message['text'].encode('utf-8')


class OnceTests(AlertTests):

    def setUp(self):
        super().setUp()
        self.look()

    def test_failing_server_loses_and_doubles_nothing(self):
        self.fail()
        self.channel.error = OSError('no server')
        for _ in range(3):
            with self.assertRaises(OSError):
                self.look()
            transaction.abort()
        self.fail('KeyError')
        self.channel.error = None
        self.assertEqual(self.look(), 'sent: Background work: 1 failed run')
        self.assertEqual(self.sent()['failures'][0]['error_type'],
                         'ValueError')
        self.look()
        self.assertEqual(self.sent()['failures'][0]['error_type'], 'KeyError')
        self.assertEqual(self.look(), 'nothing new')

    def test_conflict_after_the_answer_does_not_send_again(self):
        self.fail()
        with hooks.site(self.site):
            worker = SimpleNamespace(checkpoint=transaction.commit)
            self.alerts(worker)
            transaction.abort()   # as a conflict does
            self.alerts(worker)
        transaction.commit()
        self.sent()
        self.assertEqual(self.look(), 'nothing new')

    def test_after_the_end_of_the_process_it_is_sent_again_with_its_id(self):
        self.fail()
        with hooks.site(self.site):
            self.alerts(SimpleNamespace(checkpoint=transaction.commit))
        transaction.abort()
        self.look(Alerts('alerts', self.channel, 0.0))
        first, second = self.channel.got
        self.assertEqual(first, second)

    def test_interval(self):
        self.alerts.interval = 600.0
        self.fail()
        self.look()
        self.sent()
        self.fail('KeyError')
        self.assertIn('the next message may be sent at ', self.look())
        self.fail('IndexError')
        self.clock.advance(600)
        self.look()
        self.assertEqual(self.sent()['subject'],
                         'Background work: 2 failed runs')

    def test_clock_that_was_ahead_holds_no_message_back(self):
        self.alerts.interval = 600.0
        self.fail()
        self.look()
        self.clock.advance(-86400)
        self.fail()
        self.look()
        self.fail()
        self.look()
        self.assertEqual(len(self.channel.got), 2)

    def test_look_that_finds_nothing_new_writes_nothing(self):
        before = self.registry.alerts['alerts']._p_serial
        self.look()
        self.assertEqual(self.registry.alerts['alerts']._p_serial, before)
