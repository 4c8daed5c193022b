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
"""A host that makes no security proxies: the verbs alone keep the pages safe.

Here no object and no view has a proxy, so no permission of ZCML is asked.
"""
from unittest import mock

import transaction
from zope.app.publication import zopepublication

from cipher.background.queries import errors
from cipher.background.tests.browser.test_security import OWN_CHECK
from cipher.background.tests.browser.test_security import POST
from cipher.background.tests.browser.test_security import QUERIES
from cipher.background.tests.browser.test_security import REGISTRY_VIEWS
from cipher.background.tests.browser.test_security import RUN_VIEWS
from cipher.background.tests.support.browser import BrowserTests


#: A token for oneself is of no use to somebody who may do nothing; an address
#: is known already.
HARMLESS = {'token.json', 'absolute_url', ''}
#: What visitors of browser_ftesting.zcml were granted.
RIGHTS = {'viewer': {'ViewWorkers'}, 'editor': {'ViewWorkers',
                                                'StartWorkers'},
          'stopper': {'ViewWorkers', 'StopWorkers'}, 'stranger': set()}


class BareTests(BrowserTests):

    def setUp(self):
        super().setUp()
        # Removes what each step of a path is wrapped into.
        patch = mock.patch.object(
            zopepublication, 'ProxyFactory', lambda ob: ob)
        patch.start()
        self.addCleanup(patch.stop)
        self.process = self.addProcess().id
        self.waiting = self.makeRun().id
        self.delayed = [self.makeDelayed().id for _ in range(2)]
        failed = self.makeFailed(traceback='SECRET TRACEBACK',
                                 log='SECRET LOG')
        self.failed = failed.id
        queries = {**QUERIES, 'error.html': '?error=%s' % errors.keyOf(
            failed)[0]}
        self.views = [(name, permission, name + queries.get(name, ''))
                      for name, (permission, methods)
                      in REGISTRY_VIEWS.items()
                      if name not in HARMLESS and methods != POST]
        self.views += [(name, permission, '%s/%s' % (self.failed, name))
                       for name, (permission, methods) in RUN_VIEWS.items()
                       if name not in HARMLESS and methods != POST]

    def state(self):
        self.sync()
        return self.registry._p_jar.db().lastTransaction()

    def test_nothing_is_wrapped(self):
        with mock.patch('cipher.background.browser.page.Published.__call__',
                        lambda view: repr(type(view.context)).encode()):
            body = self.get('index.html').text
        self.assertIn('WorkerRegistry', body)

    def test_no_page_is_shown_without_its_permission(self):
        for user, rights in RIGHTS.items():
            for name, permission, path in self.views:
                if name in ('begin.html', 'retry.html',
                            'remove.html', 'bulk.html'):
                    # The question shows a run to who may see runs; the
                    # answer is asked for its permission below.
                    permission = 'ViewWorkers'
                if name in OWN_CHECK:
                    permission = 'ViewWorkers'   # they ask for it themselves
                if name == 'stop.html':
                    permission = 'StopWorkers'   # or the run is one's own
                with self.subTest(user=user, path=path):
                    answer = self.get(path, user)
                    if name == 'own.json':
                        self.assertEqual(
                            answer.status_int,
                            404 if permission in rights else 403)
                    elif permission not in rights or name == 'bulk.html' and (
                            user != 'stopper'):
                        self.assertEqual(answer.status_int, 403)
                        self.assertNotIn(self.failed, answer.text)
                    else:
                        self.assertEqual(answer.status_int, 200)
                    self.assertNotIn('SECRET', answer.text)

    def acts(self):
        """Yield (permission, path, form) of everything a form can do."""
        def form(**fields):
            return fields

        yield 'StopWorkers', self.waiting + '/stop.html', form(stop='1')
        yield 'ManageWorkers', self.delayed[0] + '/begin.html', form(begin='1')
        yield 'ManageWorkers', self.failed + '/retry.html', form(retry='1')
        yield 'ManageWorkers', self.failed + '/remove.html', form(remove='1')
        yield 'ManageWorkers', 'bulk.html', form(all='begin')
        yield 'StopWorkers', 'bulk.html', form(all='stop')
        yield 'ManageWorkers', 'bulk.html', form(all='retry')
        yield 'ManageWorkers', 'bulk.html', form(all='remove')
        yield 'ManageWorkers', 'types.html', form(pause='1', name='plain')
        yield 'ManageWorkers', 'schedules.html', form(
            pause='1', name='nightly')
        yield 'ManageWorkers', 'schedules.html', form(run='1', name='nightly')
        for verb in 'quiet', 'drain':
            yield 'ManageWorkers', 'processes.html', {
                verb: '1', 'name': self.process}
        yield 'StartWorkers', 'start.html?type=plain', form(
            type='plain', form__buttons__start='1')

    def test_no_form_acts_without_its_permission(self):
        for user, rights in RIGHTS.items():
            token = self.get('token.json', user).json['csrf_token']
            for permission, path, form in self.acts():
                if permission in rights:
                    continue
                with self.subTest(user=user, path=path, form=form):
                    before = self.state()
                    answer = self.post(
                        path, user, csrf_token=token, **form)
                    self.assertEqual(answer.status_int, 403)
                    self.assertEqual(self.state(), before)

    def test_no_JSON_acts_without_its_permission(self):
        for user, rights in RIGHTS.items():
            token = self.get('token.json', user).json['csrf_token']
            for permission, path, body in (
                    ('StartWorkers', 'start.json', {'type': 'plain'}),
                    ('StopWorkers', self.waiting + '/stop.json', {}),
                    ('ManageWorkers', self.delayed[0] + '/begin.json', {}),
                    ('ManageWorkers', self.failed + '/retry.json', {}),
                    ('ManageWorkers', self.failed + '/remove.json', {})):
                if permission in rights:
                    continue
                with self.subTest(user=user, path=path):
                    before = self.state()
                    answer = self.app(user).post_json(
                        '/++background++/' + path, body,
                        headers={'X-CSRF-Token': token}, expect_errors=True)
                    self.assertEqual(answer.status_int, 403)
                    self.assertEqual(self.state(), before)

    def test_no_registry_is_added_without_the_permission(self):
        page = self.get('/other/@@background.html', 'viewer')
        self.assertNotIn('addBackground', page.text)
        before = self.state()
        token = 'a' * 64
        answer = self.app(
            'viewer', HTTP_COOKIE='cipher.background.csrf=' + token).post(
            '/other/@@addBackground', {'csrf_token': token},
            expect_errors=True)
        self.assertEqual(answer.status_int, 403)
        self.assertEqual(self.state(), before)

    def test_acts_are_carried_out_with_it(self):
        # Else those above may be refused for another reason.
        token = self.get('token.json').json['csrf_token']
        for _permission, path, form in self.acts():
            with self.subTest(path=path, form=form):
                before = self.state()
                answer = self.post(path, csrf_token=token, **form)
                self.assertEqual(answer.status_int, 303)
                self.assertNotEqual(self.state(), before)
                transaction.abort()
                self.failed = self.makeFailed().id
