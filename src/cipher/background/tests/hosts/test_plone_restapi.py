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
"""The services of plone.restapi in a real site, driven by HTTP."""
import base64
import json
import urllib.request

import transaction

from cipher.background.tests.support.plonesite import ROLES
from cipher.background.tests.support.plonesite import PloneCase


ZCML = """
  <background:worker
      name="touch"
      handler="cipher.background.tests.hosts.test_plone.touch"
      title="Touch"
      permission="cipher.background.StartWorkers"
      />
  <background:worker
      name="refuse"
      handler="cipher.background.tests.hosts.test_plone_restapi.refuse"
      title="Refuse"
      max_attempts="1"
      />
"""

RUNS = '/plone/++api++/@background-runs'

#: Sent with a form of another site, as a browser does.
FORM = 'application/x-www-form-urlencoded'


def refuse(worker):
    """Fail."""
    raise ValueError('refused')


class RestapiTests(PloneCase):

    zcml = ZCML

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        site = cls.root['plone']
        with cls.acting('owner', cls.root.acl_users), cls.requesting(site):
            site.portal_setup.runAllImportStepsFromProfile(
                'profile-plone.restapi:default')
        transaction.commit()
        cls.tokens = {user: cls.login(user) for user in ROLES}

    @classmethod
    def login(cls, user):
        """Return the token of a login by plone.restapi."""
        request = urllib.request.Request(
            cls.url + '/plone/++api++/@login', json.dumps(
                {'login': user, 'password': 'secret'}).encode(),
            {'Content-Type': 'application/json'})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())['token']

    def cookie(self, user):
        """Return the cookie of a login by the form of Plone."""
        with self.requesting(self.site):
            from zope.globalrequest import getRequest
            response = getRequest().response
            self.site.acl_users.session._setupSession(user, response)
            return '__ac=' + response.cookies['__ac']['value'].decode()

    def call(self, user, path='', body=None, **headers):
        """Ask as *user* with a token of the login; return (status, data).

        POST *body* unless it is None.
        """
        if user is not None:
            headers['Authorization'] = 'Bearer ' + self.tokens[user]
        return self.ask(path, body, **headers)

    def ask(self, path='', body=None, **headers):
        """Ask; return (status, data)."""
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
        status, _headers, text = self.get(RUNS + path, data=data, **{
            'Content-Type': 'application/json', **headers})
        try:
            return status, json.loads(text)
        except ValueError:
            self.fail('%s: expected JSON, got %s' % (status, text[:1000]))

    def start(self, name='touch'):
        """Start a worker by code; return the id of the finished run."""
        run = self.registry.start(name)
        transaction.commit()
        self.wait(run.id)
        return run.id

    def look(self):
        """Return what a request could have changed."""
        transaction.begin()
        return self.registry.getCounts(), self.registry.listActions()

    # What they do

    def test_runs_are_listed_and_shown(self):
        run_id = self.start()
        status, data = self.call('admin', '?type=touch')
        self.assertEqual(status, 200, data)
        self.assertEqual(data['@id'], self.url + '/plone/@background-runs')
        item = data['items'][0]
        address = '%s/plone/@background-runs/%s' % (self.url, run_id)
        self.assertEqual((item['id'], item['@id'], item['state']),
                         (run_id, address, 'succeeded'))
        self.assertEqual(self.call('admin', '?type=nothing')[1]['items'], [])
        status, data = self.call('admin', '/' + run_id)
        self.assertEqual((status, data['@id'], data['id'], data['title']),
                         (200, address, run_id, 'Touch'))

    def test_worker_is_started_about_content(self):
        doc = self.add(self.site, 'doc', title='before')
        for context in 'doc', doc.UID():
            status, data = self.call(
                'admin', '', {'type': 'touch', 'context': context})
            self.assertEqual(status, 202, data)
            self.assertEqual(data['@id'], '%s/plone/@background-runs/%s' % (
                self.url, data['id']))
            status = self.wait(data['id'])
            self.assertEqual(
                (status.state, status.starter, doc.title),
                ('succeeded', '/plone:admin', 'touched by admin'))

    def test_waiting_run_is_stopped_not_retried(self):
        self.registry.pauseType('touch', True)
        run = self.registry.start('touch')
        transaction.commit()
        self.addCleanup(transaction.commit)
        self.addCleanup(self.registry.pauseType, 'touch', False)
        self.addCleanup(transaction.begin)
        status, data = self.call('admin', '/%s/retry' % run.id, {})
        self.assertEqual((status, data['type']), (409, 'Conflict'), data)
        status, data = self.call(
            'admin', '/%s/stop' % run.id, {'reason': 'enough'})
        self.assertEqual((status, data['state']), (202, 'stopped'), data)
        transaction.begin()
        self.assertEqual(self.registry.getStatus(run.id).stop.reason, 'enough')
        status, data = self.call('admin', '/%s/stop' % run.id, {})
        self.assertEqual((status, data['type']), (409, 'Conflict'), data)

    def test_run_is_retried(self):
        run_id = self.start('refuse')
        status, data = self.call('admin', '/%s/retry' % run_id, {})
        self.assertEqual(status, 202, data)
        self.assertNotEqual(data['id'], run_id)
        self.assertEqual(self.wait(data['id']).state, 'failed')

    # What they refuse

    def test_roles_without_our_permissions_get_one_answer(self):
        run_id = self.start('refuse')
        before = self.look()
        for user in None, 'member', 'editor':
            for path, body in (
                    ('', None), ('/' + run_id, None), ('/77-1', None),
                    ('/nothing/at/all', None), ('', {'type': 'touch'}),
                    ('', {'type': 'nothing'}), ('', b'{'),
                    ('/%s/stop' % run_id, {}), ('/77-1/stop', {}),
                    ('/%s/retry' % run_id, {}), ('/77-1/retry', {})):
                with self.subTest(user=user, path=path, body=body):
                    status, data = self.call(user, path, body)
                    self.assertEqual(status, 401, data)
                    self.assertEqual(data['type'], 'Unauthorized')
                    self.assertNotIn('Refuse', json.dumps(data))
        self.assertEqual(self.look(), before)

    def test_each_verb_asks_for_its_permission(self):
        from cipher.background.tests.hosts.test_zope import VIEW
        run_id = self.start('refuse')
        self.site.manage_permission(VIEW, ['Editor'], 1)
        transaction.commit()
        self.addCleanup(self.install)
        before = self.look()
        self.assertEqual(self.call('editor')[0], 200)
        status, data = self.call('editor', '/' + run_id)
        self.assertEqual((status, data['details']), (200, None))
        for path, body in (('', {'type': 'touch'}),
                           ('/%s/stop' % run_id, {}),
                           ('/%s/retry' % run_id, {})):
            status, data = self.call('editor', path, body)
            self.assertEqual((status, data['type']), (401, 'Unauthorized'))
        self.assertEqual(self.look(), before)

    def test_bad_input_is_refused_with_a_message(self):
        run_id = self.start()
        before = self.look()
        for path, body, expected in (
                ('', {'type': 'nothing'}, 404),
                ('', {}, 404),
                ('', {'type': 7}, 400),
                ('', {'type': 'touch', 'context': 'nowhere'}, 400),
                ('', {'type': 'touch', 'context': '0' * 32}, 400),
                ('', {'type': 'touch', 'input': {'more': 1}}, 400),
                ('', {'type': 'touch', 'input': [1]}, 400),
                ('', {'type': 'touch', 'other': 1}, 400),
                ('', b'{', 400),
                ('', b'[]', 400),
                ('', b'\xff', 400),
                ('/77-1', None, 404),
                ('/77-1/stop', {}, 404),
                ('/%s' % run_id, {}, 404),
                ('/%s/remove' % run_id, {}, 404),
                ('/%s/stop' % run_id, None, 404),
                ('/%s/stop/stop' % run_id, {}, 404),
                ('/%s/stop' % run_id, {'reason': 7}, 400),
                ('/%s/stop' % run_id, {}, 409),
                ('/%s/retry' % run_id, b'nothing', 400)):
            with self.subTest(path=path, body=body):
                status, data = self.call('admin', path, body)
                self.assertEqual(status, expected, data)
                self.assertEqual(set(data), {'type', 'message'})
                self.assertTrue(data['message'])
        self.assertEqual(self.look(), before)

    def test_get_changes_nothing(self):
        run_id = self.start('refuse')
        before = self.look()
        for path in ('?type=touch&form.submitted=1', '/%s' % run_id,
                     '/%s/stop' % run_id, '/%s/retry' % run_id):
            self.assertLess(self.call('admin', path)[0], 500)
        self.assertEqual(self.look(), before)

    def test_login_that_a_browser_repeats_needs_our_token(self):
        basic = 'Basic ' + base64.b64encode(b'admin:secret').decode()
        for login in {'Cookie': self.cookie('admin')}, {
                'Authorization': basic}:
            with self.subTest(login=login):
                self.assertEqual(self.ask(**login)[0], 200)
                before = self.look()
                for more in ({}, {'X-CSRF-Token': 'no'},
                             {'Content-Type': FORM},
                             {'Content-Type': 'text/plain'}):
                    status, data = self.ask(
                        '', {'type': 'touch'}, **{**login, **more})
                    self.assertIn(status, (403, 415), data)
                    self.assertTrue(data['message'])
                token = json.loads(self.get(
                    '/plone/++background++/token.json', **login)[2])[
                        'csrf_token']
                own = {**login, 'X-CSRF-Token': token}
                for more in ({'Origin': 'https://evil.example'},
                             {'Sec-Fetch-Site': 'cross-site'}):
                    status, data = self.ask(
                        '', {'type': 'touch'}, **{**own, **more})
                    self.assertEqual(status, 403, data)
                self.assertEqual(self.look(), before)
                status, data = self.ask('', {'type': 'touch'}, **own)
                self.assertEqual(status, 202, data)
                self.assertEqual(
                    self.wait(data['id']).starter, '/plone:admin')

    def test_form_of_another_site_with_a_false_login_is_refused(self):
        before = self.look()
        status, data = self.call(
            'admin', '', b'type=touch', **{'Content-Type': FORM})
        self.assertEqual(status, 415, data)
        self.assertEqual(self.ask('', {'type': 'touch'}, Authorization=(
            'Bearer false'))[0], 401)
        self.assertEqual(self.look(), before)

    def test_permission_for_the_api_is_asked_too(self):
        title = 'plone.restapi: Use REST API'
        self.site.manage_permission(title, ['Manager'], 0)
        transaction.commit()
        self.addCleanup(transaction.commit)
        self.addCleanup(self.site.manage_permission, title, ['Anonymous'], 1)
        self.addCleanup(transaction.begin)
        self.assertEqual(self.call('admin')[0], 401)
        self.assertEqual(self.call('manager')[0], 200)

    def test_site_without_the_addon_has_no_services(self):
        other = self.makeSite('other')
        self.addCleanup(self.delete, self.root, 'other')
        self.assertNotIn('background', ' '.join(other.objectIds()))
        given = base64.b64encode(b'owner:secret').decode()
        status, _headers, text = self.get(
            '/other/++api++/@background-runs', Authorization='Basic ' + given)
        self.assertEqual(status, 404, text)
        self.assertEqual(json.loads(text)['type'], 'NotFound')

    def test_site_whose_registry_was_removed_says_so(self):
        from cipher.background.registry.installation import removeRegistry
        other = self.makeSite('bare')
        self.addCleanup(self.delete, self.root, 'bare')
        self.install(other)
        removeRegistry(other)
        transaction.commit()
        given = base64.b64encode(b'owner:secret').decode()
        for data in None, b'{}':
            status, _headers, text = self.get(
                '/bare/++api++/@background-runs', data=data,
                Authorization='Basic ' + given)
            self.assertEqual(status, 404, text)
            self.assertIn('no registry', json.loads(text)['message'])
