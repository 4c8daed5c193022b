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
"""What an administrator decides about a copy: by buttons, and by JSON."""
import transaction

from cipher.background.store.kept import keepBack
from cipher.background.store.process import getDirectory
from cipher.background.tests.browser.test_api import ApiTests
from cipher.background.tests.support.browser import TOKEN


class CopyTests(ApiTests):
    """The database is a copy; two runs came with a copy of the registry."""

    def setUp(self):
        super().setUp()
        self.runs = [self.makeRun().id for _ in range(2)]
        keepBack(self.registry)
        self.process = self.addProcess()
        self.process.copied = 'deployment', 'production', 'staging'
        self.process.deployment = 'staging'
        transaction.commit()
        self.id = self.process.id

    def act(self, verb, user='admin', **form):
        """Send the form of that button of the overview."""
        page = self.get('index.html', user).text
        answer = self.post('index.html', user, csrf_token=TOKEN.search(
            page)[1], **{verb: '1'}, **form)
        self.sync()
        return answer

    def journal(self):
        self.sync()
        return [(action.verb, action.reason)
                for action in self.registry.listActions()[0]]

    def deployment(self):
        self.sync()
        return getDirectory(self.registry._p_jar).belonging.deployment

    def states(self):
        self.sync()
        return [run and run.state for run in map(self.registry.get,
                                                 self.runs)]

    def test_overview_has_the_buttons(self):
        page = self.get('index.html')
        for verb in 'adopt', 'adopt_new', 'begin_kept', 'remove_kept':
            self.assertIn('name="%s"' % verb, page.text)
        shown = page.html.select('ul.cb-problems > li details[data-show]')
        self.assertEqual(
            [element['data-show'] for element in shown
             if not element.has_attr('hidden')], ['can_adopt', 'can_decide'])
        self.assertEqual(
            [element.get('value') for element in page.html.select(
                'ul.cb-problems > li input[name=name]')][0], self.id)
        problems = self.get('index.json').json['problems']
        self.assertEqual(
            [(one['kind'], one['can_adopt'], one['can_decide'])
             for one in problems],
            [('copied-database', True, False), ('kept-runs', False, True)])

    def test_those_who_may_not_manage_see_the_problems_only(self):
        for user in 'editor', 'viewer':
            page = self.get('index.html', user)
            self.assertIn('with the copy of this registry and', page.text)
            self.assertEqual(
                [element for element in page.html.select(
                    'ul.cb-problems > li [data-show^=can_]')
                 if not element.has_attr('hidden')], [])

    def test_buttons_of_the_overview(self):
        self.assertEqual(self.act('begin_kept').status_int, 303)
        self.assertIsNone(self.registry.kept)
        answer = self.act('adopt_new', name=self.id, reason='staging')
        self.assertEqual(answer.status_int, 303)
        self.assertEqual(self.deployment(), 'staging')
        self.assertIsNotNone(self.registry.kept)
        self.act('remove_kept', reason='mails')
        self.assertEqual(self.states(), [None, None])
        self.assertEqual(self.journal(), [
            ('remove kept', 'mails'), ('adopt database', 'staging'),
            ('begin kept', None)])
        page = self.get('journal.html').text
        for text in ('removed from a copy', 'released from a copy',
                     'copy of a database activated'):
            self.assertIn(text, page)

    def test_adopt_lets_all_begin(self):
        self.registry.kept = None
        transaction.commit()
        self.act('adopt', name=self.id)
        self.assertEqual(self.deployment(), 'staging')
        self.assertIsNone(self.registry.kept)

    def test_process_that_is_gone(self):
        self.assertEqual(self.act('adopt', name='x').status_int, 404)
        self.assertIsNone(self.deployment())

    def test_buttons_need_permission_and_token(self):
        for verb in 'adopt', 'adopt_new', 'begin_kept', 'remove_kept':
            for user in 'editor', 'viewer', 'stranger':
                token = self.get('token.json').json['csrf_token']
                answer = self.post('index.html', user, name=self.id,
                                   csrf_token=token, **{verb: '1'})
                self.assertEqual(answer.status_int, 403, (verb, user))
            answer = self.post('index.html', name=self.id, **{verb: '1'})
            self.assertEqual(answer.status_int, 403)
            self.assertEqual(self.get(
                'index.html?%s=1&name=%s' % (verb, self.id)).status_int, 405)
        self.assertEqual(self.states(), ['pending', 'pending'])
        self.assertEqual(self.journal(), [])
        self.assertIsNone(self.deployment())

    def test_viewer_who_may_see_gets_no_further_with_the_own_token(self):
        for verb in 'adopt', 'begin_kept', 'remove_kept':
            token = self.get('token.json', 'viewer').json['csrf_token']
            self.assertEqual(self.post(
                'index.html', 'viewer', name=self.id, csrf_token=token,
                **{verb: '1'}).status_int, 403)
            self.assertEqual(self.send(
                verb + '.json', {}, 'viewer', token).status_int, 403)
        self.assertEqual(self.journal(), [])

    def test_by_JSON(self):
        answer = self.send('begin_kept.json', {'reason': 'fine'})
        self.assertEqual((answer.status_int, answer.json['number']), (200, 2))
        answer = self.send('adopt.json', {
            'process': self.id, 'keep_back': True, 'reason': 'why'})
        self.assertEqual((answer.status_int, answer.json['is_adopted']),
                         (200, True))
        self.assertEqual(self.deployment(), 'staging')
        answer = self.send('remove_kept.json')
        self.assertEqual(answer.json['number'], 2)
        self.assertEqual(self.states(), [None, None])
        self.assertEqual(
            self.send('remove_kept.json').json['number'], 0)
        self.assertEqual(self.journal(), [
            ('remove kept', None), ('adopt database', 'why'),
            ('begin kept', 'fine')])

    def test_bad_JSON(self):
        for path, body, status in (
                ('begin_kept.json', {'process': 1}, 400),
                ('remove_kept.json', {'limit': 5}, 400),
                ('begin_kept.json', {'reason': 5}, 400),
                ('adopt.json', {}, 404),
                ('adopt.json', {'process': 'x'}, 404),
                ('adopt.json', {'process': ['x']}, 400),
                ('adopt.json', {'process': self.id, 'keep_back': 1}, 400),
                ('adopt.json', {'process': self.id, 'x': 1}, 400)):
            with self.subTest(path, body=body):
                self.assertEqual(self.send(path, body).status_int, status)
        self.assertEqual(self.journal(), [])

    def test_run_page_and_processes_say_why(self):
        self.assertIn('came with a copy of the registry',
                      self.get(self.runs[0] + '/index.html').text)
        self.assertIn('takes no new runs: the database is a copy',
                      self.get('processes.html').text)
