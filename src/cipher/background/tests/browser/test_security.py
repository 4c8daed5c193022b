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
"""Who may see and do what in the pages."""
import re
from pathlib import Path
from xml.etree import ElementTree

import transaction
from z3c.form.interfaces import IDataConverter
from z3c.form.interfaces import IFieldWidget
from zope.component import getGlobalSiteManager
from zope.interface import Interface
from zope.publisher.browser import TestRequest
from zope.publisher.interfaces import IDefaultViewName
from zope.publisher.interfaces.browser import IBrowserPublisher
from zope.security.checker import CheckerPublic
from zope.security.checker import getChecker
from zope.security.proxy import ProxyFactory
from zope.traversing.browser.interfaces import IAbsoluteURL
from zope.traversing.interfaces import ITraversable

import cipher.background
from cipher.background.browser.interfaces import IInputView
from cipher.background.browser.monitoring import Watched
from cipher.background.interfaces import ACTIONS
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun
from cipher.background.registry.installation import addRegistry
from cipher.background.store.kept import keepBack
from cipher.background.tests.support.browser import BrowserTests


PACKAGE = Path(cipher.background.__file__).parent
PERMISSION = 'cipher.background.'
#: The form of our action for Plone's rules is a page of Plone, for those who
#: edit rules.
CONTENT_RULES = 'plone.app.contentrules.ManageContentRules'

#: Adapters of a request that publish nothing by themselves.
NO_VIEWS = (IDefaultViewName, ITraversable, IBrowserPublisher,
            IAbsoluteURL, IFieldWidget, IDataConverter)

# What each view of ours asks, and the methods it answers to.
GET = 'GET, HEAD'
FORM = 'GET, HEAD, POST'
POST = 'POST'
REGISTRY_VIEWS = {
    'absolute_url': ('ViewWorkers', None),
    'index.html': ('ViewWorkers', FORM), 'index.json': ('ViewWorkers', GET),
    'adopt.json': ('ManageWorkers', POST),
    'begin_kept.json': ('ManageWorkers', POST),
    'remove_kept.json': ('ManageWorkers', POST),
    'thresholds.html': ('ManageWorkers', FORM),
    'runs.html': ('ViewWorkers', GET), 'runs.json': ('ViewWorkers', GET),
    'runs.csv': ('ViewWorkers', GET), 'bulk.html': ('ViewWorkers', FORM),
    'types.html': ('ViewWorkers', FORM), 'types.json': ('ViewWorkers', GET),
    'errors.html': ('ViewWorkers', GET), 'errors.json': ('ViewWorkers', GET),
    'error.html': ('ViewWorkers', GET),
    'type.html': ('ViewWorkers', FORM), 'type.json': ('ViewWorkers', GET),
    'schedules.html': ('ViewWorkers', FORM),
    'processes.html': ('ViewWorkers', FORM),
    'processes.json': ('ViewWorkers', GET),
    'journal.html': ('ViewWorkers', GET),
    'journal.json': ('ViewWorkers', GET), 'token.json': ('ViewWorkers', GET),
    'start.html': ('StartWorkers', FORM), 'start.json': ('StartWorkers', POST),
    'health.json': ('zope.Public', GET), 'metrics': ('zope.Public', GET),
    'own.json': ('zope.Public', GET),
}
# Those of them that check their reader themselves: see test_monitoring and
# test_own.
OWN_CHECK = {'health.json', 'metrics', 'own.json'}
RUN_VIEWS = {
    'absolute_url': ('ViewWorkers', None),
    'index.html': ('ViewWorkers', GET), 'index.json': ('ViewWorkers', GET),
    'log.txt': ('ViewDetails', GET), '': ('ViewDetails', None),
    'begin.html': ('ManageWorkers', FORM),
    'begin.json': ('ManageWorkers', POST),
    # These ask for the permission to stop themselves: a starter needs none.
    'stop.html': ('ViewWorkers', FORM), 'stop.json': ('ViewWorkers', POST),
    'retry.html': ('ManageWorkers', FORM),
    'retry.json': ('ManageWorkers', POST),
    'remove.html': ('ManageWorkers', FORM),
    'remove.json': ('ManageWorkers', POST),
}
SITE_VIEWS = {'background.html': ('ViewWorkers', GET),
              'addBackground': ('ManageWorkers', POST)}
QUERIES = {'start.html': '?type=plain', 'type.html': '?name=plain',
           'type.json': '?name=plain', 'bulk.html': '?all=stop'}


def findViews():
    """Yield (registration, view) of all views that our ZCML registers."""
    for registration in getGlobalSiteManager().registeredAdapters():
        path = Path(getattr(registration.info, 'file', ''))
        if (PACKAGE not in path.parents or PACKAGE / 'tests' in path.parents
                or len(registration.required) != 2
                or registration.provided in NO_VIEWS
                or not callable(registration.factory)):
            continue
        yield registration, registration.factory(None, TestRequest())


def findPermissions(view):
    """Return the ids of the permissions that a view asks for."""
    checker = getChecker(ProxyFactory(view))
    return set(checker.get_permissions.values())


class TestWalker(BrowserTests):

    def find(self, interface):
        return {registration.name: findPermissions(view)
                for registration, view in findViews()
                if registration.required[0] is interface
                and 'zmi_views' not in registration.provided.__name__}

    def test_no_view_is_public(self):
        found = list(findViews())
        self.assertIn(IInputView, {
            registration.provided for registration, _view in found})
        self.assertGreater(len(found), 30)
        public = set()
        for registration, view in found:
            with self.subTest(registration.name, view=view):
                permissions = findPermissions(view)
                if (registration.required[0] is IWorkerRegistry
                        and registration.name in OWN_CHECK):
                    self.assertIsInstance(view, Watched)
                    public.add(registration.name)
                    continue
                self.assertTrue(permissions)
                self.assertNotIn(CheckerPublic, permissions)
                for permission in permissions:
                    self.assertTrue(permission.startswith(PERMISSION))
        self.assertEqual(public, OWN_CHECK)

    def test_each_view_asks_its_permission(self):
        for interface, views in ((IWorkerRegistry, REGISTRY_VIEWS),
                                 (IWorkerRun, RUN_VIEWS)):
            self.assertEqual(
                self.find(interface),
                {name: {CheckerPublic if name in OWN_CHECK
                        else PERMISSION + permission}
                 for name, (permission, _methods) in views.items()})

    def test_no_zcml_of_ours_makes_anything_public(self):
        seen = 0
        for path in sorted(PACKAGE.rglob('*.zcml')):
            if 'tests' in path.parts or 'demo' in path.parts:
                continue
            for element in ElementTree.parse(path).iter():
                tag = element.tag.rpartition('}')[2]
                permission = element.get('permission')
                if (path.name == 'pages.zcml'
                        and element.get('name') in OWN_CHECK):
                    seen += 1
                    self.assertEqual(permission, 'zope.Public')
                    continue
                if tag in ('page', 'view', 'menuItem', 'require'):
                    seen += 1
                    self.assertTrue(
                        (permission or '').startswith(PERMISSION)
                        or permission == CONTENT_RULES,
                        (path.name, element.attrib))
                self.assertNotEqual(permission, 'zope.Public')
        self.assertGreater(seen, 50)

    def test_only_static_files_are_resources(self):
        resources = {
            registration.name for registration
            in getGlobalSiteManager().registeredAdapters()
            if str(PACKAGE) in getattr(registration.info, 'file', '')
            and len(registration.required) == 1
            and registration.provided is Interface}
        self.assertEqual(resources, {
            'cipher-background.css', 'cipher-background.js',
            'cipher-background.svg', 'cipher-background-alert.svg'})
        for name, kind in (('.css', 'text/css'), ('.js', 'javascript'),
                           ('.svg', 'image/svg+xml'),
                           ('-alert.svg', 'image/svg+xml')):
            answer = self.get('/@@/cipher-background' + name, None)
            self.assertEqual(answer.status_int, 200)
            self.assertIn(kind, answer.headers['Content-Type'])


class TestVisitors(BrowserTests):

    def setUp(self):
        super().setUp()
        self.stored = self.makeRun('publish', title='Sesame')
        self.stored.title = 'Sesame'
        transaction.commit()

    def addresses(self):
        """Yield (path, methods) of all our views."""
        for name, (_permission, methods) in REGISTRY_VIEWS.items():
            yield name + QUERIES.get(name, ''), methods
        for name, (_permission, methods) in RUN_VIEWS.items():
            yield '%s/@@%s' % (self.stored.id, name), methods
            yield '9-99/@@%s' % name, methods
        for name, (_permission, methods) in SITE_VIEWS.items():
            yield '/@@' + name, methods
        yield '', FORM
        for name in (self.stored.id, 'background_macros', 'nothing',
                     '@@absolute_url', self.stored.id + '/@@absolute_url'):
            yield name, GET

    def ask(self, path, user, method):
        path = path if path[:1] == '/' else '/++background++/' + path
        return self.app(user).request(
            path, method=method, expect_errors=True)

    def check(self, user, statuses):
        for path, _methods in self.addresses():
            for method in 'GET', 'HEAD', 'POST':
                with self.subTest(path, method=method):
                    answer = self.ask(path, user, method)
                    self.assertIn(answer.status_int, statuses)
                    for secret in 'Sesame', 'publish', 'Publish', 'pending':
                        self.assertNotIn(secret, answer.text)
                    self.assertNotRegex(
                        answer.text, r'\b%s\b' % self.stored.id)

    def test_anonymous_is_asked_to_log_in_and_sees_no_data(self):
        self.check(None, (401,))
        self.assertIn('WWW-Authenticate', self.get('index.html', None).headers)

    def test_stranger_is_refused_and_sees_no_data(self):
        for path, _methods in self.addresses():
            if not path.startswith('/'):
                self.assertEqual(self.get(path, 'stranger').status_int, 403)
        # Of a page of the site the host tells, in its own words.
        self.check('stranger', (401, 403))

    def test_unknown_and_forbidden_runs_answer_alike(self):
        for user in (None, 'stranger'):
            for view in '', '/index.json', '/log.txt', '/@@':
                answers = [self.get(run_id + view, user) for run_id in (
                    self.stored.id, '9-99', '9999999999999-1', '1' * 200, 'x')]
                self.assertEqual(1, len({
                    (answer.status, answer.text, tuple(
                        answer.headers.items())) for answer in answers}))

    def test_unknown_runs_are_not_found(self):
        for path in ('9-99', '0-0', 'x', '1-1-1', '-1-1', '1' * 30 + '-1',
                     '9999999999999-1', '1-' + '9' * 5000, '%D9%A3-1',
                     '9-99/index.json', '9-99/stop.html', '%00',
                     self.stored.id + '/nothing', 'background_macros',
                     self.stored.id + '/@@', 'index.html/x',
                     '@@background.html'):
            with self.subTest(path):
                self.assertEqual(self.get(path).status_int, 404)

    def test_wrong_methods_are_refused(self):
        for path, methods in self.addresses():
            if methods is None or path.startswith('9-99') or path in (
                    'background_macros', 'nothing') or 'absolute' in path:
                continue
            for method in 'GET', 'HEAD', 'POST':
                if method in methods.split(', '):
                    continue
                with self.subTest(path, method=method):
                    answer = self.ask(path, 'admin', method)
                    self.assertEqual(answer.status_int, 405)
                    self.assertEqual(answer.headers['Allow'], methods)
        self.sync()
        self.assertEqual(self.registry.get(self.stored.id).state, 'pending')


class TestPermissions(BrowserTests):

    def setUp(self):
        super().setUp()
        self.run_id = self.makeRun('publish', title='Sesame').id

    def test_viewer_sees_but_cannot_start_or_stop(self):
        for path in ('index.html', 'runs.html', 'types.html',
                     'schedules.html', self.run_id):
            self.assertEqual(self.get(path, 'viewer').status_int, 200)
        for path in ('start.html?type=plain', self.run_id + '/stop.html'):
            self.assertEqual(self.get(path, 'viewer').status_int, 403)
        run_id = self.makeRunning().id
        for path in ('index.html', run_id):
            self.assertIn('stop.html', self.get(path).text)
            self.assertNotIn('stop.html', self.get(path, 'viewer').text)

    def test_only_managers_are_shown_and_granted_the_verbs(self):
        self.addProcess()
        failed = self.makeFailed().id
        for path in (failed, 'types.html', 'processes.html',
                     'schedules.html', 'runs.html'):
            for word in ('retry.html', 'remove.html', 'name="pause"',
                         'name="quiet"', 'name="drain"', 'value="remove"'):
                self.assertNotIn(word, self.get(path, 'viewer').text)
        token = self.get('token.json', 'viewer').json['csrf_token']
        for path, verb in (('types.html', 'pause'), ('types.html', 'resume'),
                           ('processes.html', 'quiet'),
                           ('processes.html', 'drain'),
                           ('schedules.html', 'run'),
                           (failed + '/retry.html', 'retry'),
                           (failed + '/remove.html', 'remove')):
            with self.subTest(path, verb=verb):
                self.assertEqual(self.post(
                    path, 'viewer', csrf_token=token, name='plain',
                    **{verb: '1'}).status_int, 403)
        self.sync()
        self.assertEqual(self.registry.listActions()[0], [])

    def test_editor_cannot_stop(self):
        path = self.run_id + '/stop.html'
        self.assertEqual(self.get(path, 'editor').status_int, 403)
        self.assertEqual(self.post(path, 'editor', stop='1', csrf_token=(
            self.token('start.html?type=plain', 'editor'))).status_int, 403)
        self.sync()
        self.assertEqual(self.registry.get(self.run_id).state, 'pending')

    def test_details_need_a_permission_of_their_own(self):
        run_id = self.makeFailed(traceback='the traceback',
                                 log='the log').id
        for path in (run_id, run_id + '/index.json'):
            for text in ('the traceback', 'the log'):
                self.assertIn(text, self.get(path).text)
                self.assertNotIn(text, self.get(path, 'viewer').text)
        self.assertEqual(
            self.get(run_id + '/log.txt', 'viewer').status_int, 403)
        self.assertNotIn('Sesame', self.get(self.run_id, 'viewer').text)

    def test_start_permission_of_the_type_is_needed(self):
        path = 'start.html?type=publish'
        self.assertEqual(self.get(path, 'editor').status_int, 403)
        token = self.token('start.html?type=plain', 'editor')
        answer = self.post(
            path, 'editor', csrf_token=token, type='publish',
            form__buttons__start='1', form__widgets__title='x',
            form__widgets__count='1')
        self.assertEqual(answer.status_int, 403)

    def test_only_managers_add_registries(self):
        path = '/other/@@addBackground'
        for user in ('viewer', 'editor', 'stranger'):
            self.assertIn(self.post(path, user).status_int, (401, 403))
        self.sync()
        self.assertNotIn('background', self.root['other'].getSiteManager())

    def test_every_verb_is_in_the_journal_with_who_and_why(self):
        record = self.addProcess()
        failed, other = self.makeFailed().id, self.makeFailed().id
        token = self.get('token.json').json['csrf_token']
        for path, verb, name in (
                (self.makeDelayed().id + '/begin.html', 'begin', ''),
                (self.run_id + '/stop.html', 'stop', ''),
                (failed + '/retry.html', 'retry', ''),
                (other + '/remove.html', 'remove', ''),
                ('types.html', 'pause', 'plain'),
                ('types.html', 'resume', 'plain'),
                ('schedules.html', 'pause', 'nightly'),
                ('schedules.html', 'resume', 'nightly'),
                ('schedules.html', 'run', 'nightly'),
                ('processes.html', 'quiet', record.id),
                ('processes.html', 'unquiet', record.id),
                ('processes.html', 'drain', record.id)):
            answer = self.post(path, csrf_token=token, name=name,
                               reason='Because', **{verb: '1'})
            self.assertEqual(answer.status_int, 303, (path, verb))
        self.makeDelayed()
        for verb in 'begin_kept', 'remove_kept', 'adopt':
            self.sync()
            record.copied = 'deployment', 'production', 'staging'
            record.deployment = 'staging'
            keepBack(self.registry)
            transaction.commit()
            answer = self.post('index.html', csrf_token=token, name=record.id,
                               reason='Because', **{verb: '1'})
            self.assertEqual(answer.status_int, 303, verb)
        answer = self.post('thresholds.html', csrf_token=token,
                           busy_after='700', reason='Because')
        self.assertEqual(answer.status_int, 303)
        addRegistry(self.root['other'])
        transaction.commit()
        path = '/other/@@removeBackground.html'
        answer = self.post(path, csrf_token=self.token(path),
                           reason='Because')
        self.assertEqual(answer.status_int, 303)
        self.sync()
        actions = self.registry.listActions()[0]
        self.assertEqual({action.verb for action in actions}, set(ACTIONS))
        for action in actions:
            self.assertEqual(action.principal, 'test.admin')
            self.assertTrue(action.at)
            if action.verb != 'run schedule':
                self.assertEqual(action.reason, 'Because')
        page = self.get('journal.html', 'viewer').text
        self.assertEqual(len(re.findall('Because', page)), len(ACTIONS) - 1)
