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
"""What the starter of a run may do without rights: see it, and stop it."""
import transaction

from cipher.background.tests.support.browser import BrowserTests


PERSON = 'test.%s'


class OwnTests(BrowserTests):

    def setUp(self):
        super().setUp()
        self.own = self.makeRun('plain')
        self.own.starter = 'background.stranger'
        self.foreign = self.makeRun('plain')
        self.foreign.starter = 'background.somebody'
        self.nobodys = self.makeRun('plain')
        self.nobodys.starter = None
        transaction.commit()

    def ask(self, run_id, user='stranger'):
        return self.get('own.json?run=%s' % run_id, user)

    def as_starter(self, user):
        self.own.starter = PERSON % user
        transaction.commit()

    def test_starter_without_rights_sees_the_progress(self):
        self.as_starter('stranger')
        answer = self.ask(self.own.id)
        self.assertEqual(answer.status_int, 200, answer.text)
        self.assertEqual(answer.json['id'], self.own.id)
        self.assertEqual(answer.json['text']['state'], 'pending')
        for key in 'details', 'owner', 'starter', 'url', 'context', 'result':
            self.assertNotIn(key, answer.json)
        again = self.get('own.json?run=' + self.own.id, 'stranger',
                         HTTP_IF_NONE_MATCH=answer.headers['ETag'])
        self.assertEqual(again.status_int, 304)

    def test_all_other_runs_are_refused_alike(self):
        self.as_starter('stranger')
        for user, status in (('stranger', 403), (None, 401), ('viewer', 404)):
            answers = {
                (answer.status_int, answer.text) for answer in (
                    self.ask(run_id, user) for run_id in (
                        self.foreign.id, self.nobodys.id, '9-99', '', 'x',
                        '1-1&run=1-1', '%00'))}
            self.assertEqual(len(answers), 1)
            self.assertEqual(answers.pop()[0], status)

    def test_anonymous_has_no_runs(self):
        for starter in None, 'zope.anybody', 'background.anonymous':
            self.own.starter = starter
            transaction.commit()
            self.assertEqual(self.ask(self.own.id, None).status_int, 401)

    def test_viewer_may_stop_the_own_run_only(self):
        self.as_starter('viewer')
        page = self.get(self.own.id + '/index.html', 'viewer')
        self.assertIn('stop.html', page.text)
        self.assertNotIn('retry.html', page.text)
        self.assertEqual(
            self.get(self.own.id + '/stop.html', 'viewer').status_int, 200)
        for view in '/stop.html', '/stop.json':
            self.assertEqual(
                self.get(self.foreign.id + view, 'viewer').status_int, 403)
        self.assertNotIn(
            'stop.html', self.get(self.foreign.id, 'viewer').text)
        form = self.get(self.own.id + '/stop.html', 'viewer').forms[0]
        form['reason'] = 'mine'
        form.submit('stop')
        self.sync()
        self.assertEqual(self.own.state, 'stopped')
        self.assertEqual(self.foreign.state, 'pending')
        self.assertEqual(self.own.stop.reason, 'mine')
