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
"""Background work and its pages in an application of Pyramid."""
import contextlib
import io
import logging
import os
import tempfile
import time
from pathlib import Path
from unittest import mock

import transaction
from pyramid.exceptions import ConfigurationError
from pyramid.httpexceptions import HTTPFound
from pyramid_zodbconn import get_connection
from zope.component import getGlobalSiteManager
from zope.component import queryUtility
from zope.interface.verify import verifyObject
from zope.security.interfaces import Unauthorized
from zope.security.management import queryInteraction
from zope.security.management import system_user

from cipher.background import declareMonitoring
from cipher.background.cli.main import main
from cipher.background.events import RunFailedEvent
from cipher.background.hosts.pyramid import PerProcess
from cipher.background.hosts.pyramid.host import PyramidHost
from cipher.background.hosts.pyramid.including import PolicyCheck
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import STOP_WORKERS
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import IHost
from cipher.background.interfaces import InvalidSite
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import RegistryNotFound
from cipher.background.queries import errors
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.registry.installation import removeRegistry
from cipher.background.store.run import RunDetails
from cipher.background.testing import setUpLogging
from cipher.background.testing import tearDownLogging
from cipher.background.tests.browser.test_security import OWN_CHECK
from cipher.background.tests.browser.test_security import REGISTRY_VIEWS
from cipher.background.tests.browser.test_security import RUN_VIEWS
from cipher.background.tests.support import pyramidworld
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.pyramidworld import RIGHTS
from cipher.background.tests.support.pyramidworld import PyramidTestCase
from cipher.background.tests.support.pyramidworld import gone
from cipher.background.util.host import getHost


PERMISSION = 'cipher.background.'
QUERIES = {'start.html': '?type=work', 'type.html': '?name=work',
           'type.json': '?name=work', 'bulk.html': '?all=stop'}
EXPLICIT = 'pyramid_tm.explicit_manager'
HOOKS = (None, EXPLICIT)


class ContractTests(PyramidTestCase):

    def test_host(self):
        verifyObject(IHost, PyramidHost())
        self.make()
        self.assertIsInstance(getHost(), PyramidHost)

    def test_several_applications_in_a_process(self):
        first = self.make()
        run_id = self.start()
        other = self.make()
        self.assertNotIn(run_id, self.get('runs.json').text)
        self.application = first
        self.assertIn(run_id, self.get('runs.json').text)
        self.assertIsNot(first, other)

    def test_request_leaves_nothing_in_its_thread(self):
        self.make()
        self.get('index.html')
        self.assertIsNone(queryInteraction())
        self.assertIsNone(getHost().getSite())


class RoleTests(PyramidTestCase):
    """Each address that the walk of the pages finds, for each role."""

    def setUp(self):
        super().setUp()
        self.make()
        root, registry = self.connect()
        waiting = registry.start('work')
        waiting.title = 'Sesame'
        self.waiting = waiting.id
        self.delayed = [registry.submit('work', delay=3600.0).id
                        for _ in range(2)]
        failed = self.makeFailed(registry)
        self.failed = failed.id
        self.queries = {**QUERIES, 'error.html': '?error=%s' % errors.keyOf(
            failed)[0]}

    def makeFailed(self, registry):
        run = registry.addRun('work', starter='manager')
        run.change(RUNNING, started_at=time.time() - 5)
        registry.finish(
            run, FAILED, RunFailedEvent, error=('ValueError', 'Sesame'),
            details=RunDetails('SECRET TRACEBACK', 'SECRET LOG'))
        transaction.commit()
        return run

    def views(self):
        """Yield (path, permission, methods)."""
        for name, (permission, methods) in REGISTRY_VIEWS.items():
            yield (name + self.queries.get(name, ''), name, permission,
                   methods)
        for name, (permission, methods) in RUN_VIEWS.items():
            yield '%s/@@%s' % (self.failed, name), name, permission, methods

    def state(self):
        return self.db.lastTransaction()

    def isPermitted(self, name, permission, user):
        if name in OWN_CHECK:
            permission = 'ViewWorkers'   # they ask for it themselves
        if name in ('stop.html', 'stop.json'):
            permission = 'StopWorkers'   # or the run is one's own
        rights = RIGHTS[user]
        if name == 'bulk.html':
            return STOP_WORKERS in rights
        return PERMISSION + permission in rights

    def test_each_role_gets_what_it_may(self):
        seen = {True: 0, False: 0}
        for user in RIGHTS:
            for path, name, permission, methods in self.views():
                if methods is None:
                    continue
                permitted = self.isPermitted(name, permission, user)
                for method in ('GET', 'HEAD', 'POST'):
                    with self.subTest(path, user=user, method=method):
                        before = self.state()
                        answer = self.app(user).request(
                            '/++background++/' + path, method=method,
                            expect_errors=True)
                        self.assertEqual(self.state(), before)
                        seen[permitted] += 1
                        if not permitted:
                            self.assertIn(answer.status_int, (403, 404, 405))
                            self.assertNotIn('Sesame', answer.text)
                            if VIEW_WORKERS not in RIGHTS[user]:
                                self.assertEqual(answer.status_int, 403)
                        elif method not in methods:
                            self.assertEqual(answer.status_int, 405)
                            self.assertEqual(
                                answer.headers['Allow'], methods)
                        elif method == 'POST':
                            # Without a token, or without JSON.
                            self.assertIn(answer.status_int, (403, 415))
                        elif name == 'health.json':
                            self.assertEqual(answer.status_int, 503)
                        elif name == 'own.json':
                            self.assertEqual(answer.status_int, 404)
                        else:
                            self.assertIn(
                                answer.status_int, (200, 409), answer.text)
                        if user != 'manager':
                            self.assertNotIn('SECRET', answer.text)
        self.assertGreater(min(seen.values()), 100)

    def test_known_and_unknown_answer_alike_without_the_permission(self):
        for user in None, 'stranger':
            for view in '', '/index.json', '/log.txt', '/@@', '/nothing':
                answers = {
                    (answer.status, answer.text) for answer in (
                        self.get(run_id + view, user) for run_id in (
                            self.failed, '9-99', '1' * 200, 'x'))}
                self.assertEqual(1, len(answers), (user, view, answers))

    def test_addresses_that_are_not_there(self):
        for path in ('nothing', '9-99', 'x/y', self.failed + '/nothing',
                     'index.html/x', '../x', '++etc++site', '@@x',
                     '++skin++x', 'background_macros', '@@absolute_url/x'):
            self.assertEqual(self.get(path).status_int, 404, path)
        for path in '/@@/nothing', '/@@/index.html', '/@@', '/index.html':
            self.assertEqual(self.get(path).status_int, 404, path)

    def acts(self):
        """Yield (permission, path, form or body) of what can be done."""
        yield STOP_WORKERS, self.waiting + '/stop.html', {'stop': '1'}
        yield MANAGE_WORKERS, self.delayed[0] + '/begin.html', {'begin': '1'}
        yield MANAGE_WORKERS, self.failed + '/retry.html', {'retry': '1'}
        yield MANAGE_WORKERS, 'bulk.html', {'all': 'begin'}
        yield MANAGE_WORKERS, 'types.html', {'pause': '1', 'name': 'work'}
        yield START_WORKERS, 'start.html?type=work', {
            'type': 'work', 'form__buttons__start': '1'}
        yield START_WORKERS, 'start.json', {'type': 'work'}
        yield STOP_WORKERS, self.delayed[1] + '/stop.json', {}
        yield MANAGE_WORKERS, self.failed + '/remove.json', {}

    def act(self, path, form, user):
        if path.endswith('.json'):
            return self.postJSON(path, form, user)
        return self.post(path, user, **form)

    def test_nothing_is_done_without_the_permission(self):
        for user in 'viewer', 'editor':
            for permission, path, form in self.acts():
                if permission in RIGHTS[user]:
                    continue
                with self.subTest(path, user=user):
                    before = self.state()
                    answer = self.act(path, form, user)
                    self.assertEqual(answer.status_int, 403)
                    self.assertEqual(self.state(), before)

    def test_everything_is_done_with_it(self):
        for permission, path, form in self.acts():
            with self.subTest(path):
                before = self.state()
                answer = self.act(path, form, 'manager')
                self.assertIn(answer.status_int, (200, 202, 303), answer.text)
                self.assertNotEqual(self.state(), before)

    def test_token_of_another_is_refused(self):
        before = self.state()
        answer = self.post('types.html', pause='1', name='work',
                           csrf_token=self.token('viewer'))
        self.assertEqual(answer.status_int, 403)
        self.assertEqual(self.state(), before)

    def test_files_are_public(self):
        page = self.get('index.html')
        for name in 'css', 'js', 'svg':
            path = '/@@/cipher-background.' + name
            self.assertIn(path + '?v=', page.text)
            self.assertEqual(self.get(path, None).status_int, 200)


class SecurityTests(PyramidTestCase):

    def test_nothing_is_permitted_without_a_policy(self):
        self.make(policy=False)
        for path in 'index.html', 'runs.json', 'token.json':
            self.assertEqual(self.get(path).status_int, 403)
        self.assertIn('got none, so everything is forbidden',
                      list(PolicyCheck()(()))[0])

    def test_policy_that_permits_everything_to_everybody_is_named(self):
        class Open(pyramidworld.Policy):

            def permits(self, request, context, permission):
                return True

        self.make(policy=False, configure=lambda config: (
            config.set_security_policy(Open())))
        _root, registry = self.connect()
        text, = PolicyCheck()([registry])
        self.assertIn('visitors without a login may not manage', text)
        self.assertEqual(self.get('index.html', None).status_int, 200)

    def test_forbidden_view_of_the_application_answers_visitors(self):
        def login(request):
            return HTTPFound('/login')

        self.make(configure=lambda config: config.add_forbidden_view(login))
        self.assertEqual(
            self.get('index.html', None).headers['Location'],
            'http://localhost/login')
        # Somebody who has logged in is refused.
        self.assertEqual(self.get('index.html', 'stranger').status_int, 403)

    def test_defaults_of_the_application_do_not_concern_the_pages(self):
        def configure(config):
            config.set_default_csrf_options(require_csrf=True)
            config.set_default_permission('nobody has it')

        self.make(configure=configure)
        self.assertEqual(self.get('index.html').status_int, 200)
        self.start()

    def test_nobody_is_the_system_by_a_name(self):
        self.make(background__add_registry='true')
        for name in system_user.id, 'system.Everyone':
            self.get('/start', name)
        _root, registry = self.connect()
        self.assertEqual({run.starter for run in registry.listRuns().items},
                         {'system.Everyone'})

    def test_starters(self):
        self.make()
        for user in 'editor', None:
            self.get('/start', user)
        self.start(user='manager')
        _root, registry = self.connect()
        self.assertEqual(
            sorted(run.starter for run in registry.listRuns().items),
            ['editor', 'manager', 'system.Everyone'])

    def test_visitors_own_no_runs(self):
        self.make()
        own = self.get('/start', None).text
        answer = self.get('own.json?run=' + own, None)
        self.assertIn(answer.status_int, (403, 404))
        self.assertNotIn('pending', answer.text)
        with getHost().actingFor(self.makeRequest()):
            self.assertIsNone(getHost().currentPerson())
            self.assertEqual(getHost().currentPrincipals(),
                             ('system.Everyone',))
        with getHost().actingFor(self.makeRequest('viewer')):
            self.assertEqual(getHost().currentPerson(), 'viewer')

    def makeRequest(self, userid=None):
        root, _registry = self.connect()
        return getHost().makeRequest(root, userid)

    def test_person_sees_a_run_of_their_own(self):
        self.make()
        own, other = self.get('/start', 'stranger').text, self.start()
        for run_id, status in (own, 200), (other, 403):
            self.assertEqual(self.get(
                'own.json?run=' + run_id, 'stranger').status_int, status)

    def test_health_without_a_login(self):
        declareMonitoring(public_health=True)
        self.make()
        self.assertIn(
            self.get('health.json', None).status_int, (200, 503))

    def test_context_is_one_that_the_starter_may_see(self):
        self.make()
        for path, user, status in (
                ('/page', 'editor', 202), ('/secret', 'editor', 400),
                ('/secret', 'manager', 202), ('/nothing', 'manager', 400),
                ('/__background_registry__', 'manager', 400),
                ('/title', 'manager', 400), ('/..', 'manager', 400)):
            with self.subTest(path, user=user):
                answer = self.postJSON('start.json', {
                    'type': 'touch', 'context': path}, user)
                self.assertEqual(answer.status_int, status, answer.text)

    def test_context_is_named_to_those_who_may_see_it(self):
        self.make()
        run_id = self.start('touch', context='/page')
        for user, shown in ('manager', True), ('viewer', False):
            page = self.get(run_id, user)
            self.assertEqual(page.status_int, 200)
            self.assertEqual('Page page' in page.text, shown)
        self.assertIn('href="/page"', self.get(run_id).text)

    def test_protected_object(self):
        self.make()
        root, registry = self.connect()
        host = getHost()
        request = host.makeRequest(root, 'viewer')
        page = host.protect(root['page'])
        with host.actingFor(request):
            with self.assertRaises(Unauthorized):
                page.title
            with self.assertRaises(Unauthorized):
                page.title = 'x'
            with self.assertRaises(Unauthorized):
                host.traverse(root, 'page')
        self.assertEqual(page.title, 'Page page')
        self.assertIs(host.unwrap(page), root['page'])
        self.assertIs(host.protect(registry), registry)


class TransactionTests(PyramidTestCase):
    """With the manager of the thread, and with one for each request."""

    def renew(self, hook):
        self.clear()
        self.make(**({'tm__manager_hook': hook} if hook else {}))

    def count(self):
        return len(list(self.connect()[1].listRuns().items))

    def test_start_is_committed_with_the_request(self):
        for hook in HOOKS:
            self.renew(hook)
            self.assertEqual(self.get('/start').status_int, 200)
            self.start()
            self.assertEqual(self.count(), 2)

    def test_start_is_aborted_with_the_request(self):
        for hook in HOOKS:
            self.renew(hook)
            with self.assertRaises(RuntimeError):
                self.get('/start?fail=1')
            self.assertEqual(self.count(), 0)

    def test_refused_form_changes_nothing(self):
        for hook in HOOKS:
            self.renew(hook)
            before = self.db.lastTransaction()
            answer = self.postJSON('start.json', {
                'type': 'work', 'input': {'nothing': 1}, 'more': 1})
            self.assertEqual(answer.status_int, 400)
            self.assertEqual(self.db.lastTransaction(), before)

    def test_error_of_a_page_changes_nothing(self):
        for hook in HOOKS:
            self.renew(hook)
            before = self.db.lastTransaction()
            root = logging.getLogger()
            logged = setUpLogging(root)
            self.addCleanup(tearDownLogging, root)
            with mock.patch(
                    'cipher.background.browser.api.noteStart',
                    side_effect=RuntimeError('broken <page>')):
                answer = self.postJSON('start.json', {'type': 'work'})
            self.assertEqual(answer.status_int, 500)
            self.assertNotIn('broken', answer.text)
            self.assertIn('broken <page>', logged.getvalue())
            self.assertEqual(self.db.lastTransaction(), before)

    def test_act_on_many_runs(self):
        for hook in HOOKS:
            self.renew(hook)
            ids = [self.start() for _ in range(3)]
            answer = self.post('bulk.html', all='stop')
            self.assertEqual(answer.status_int, 303)
            _root, registry = self.connect()
            self.assertEqual({registry.get(id).state for id in ids},
                             {'stopped'})

    def test_who_and_what_is_in_the_undo_log(self):
        for hook in HOOKS:
            self.renew(hook)
            self.start(user='editor')
            record = list(self.db.storage.iterator())[-1]
            self.assertEqual(record.user.decode().split()[-1], 'editor')
            self.assertIn('Start background worker work',
                          record.description.decode())

    def test_conflict_is_left_to_the_application(self):
        from ZODB.POSException import ConflictError
        self.make()
        with mock.patch('cipher.background.browser.api.noteStart',
                        side_effect=ConflictError):
            with self.assertRaises(ConflictError):
                self.postJSON('start.json', {'type': 'work'})


class EventTests(PyramidTestCase):

    def test_object_events_start_work(self):
        for hook in False, True:
            self.clear()
            self.make(hook=hook)
            with self.subTest(hook=hook):
                self.assertEqual(self.get('/change', 'editor').text,
                                 'changed')
                root, registry = self.connect()
                run, = registry.listRuns().items
                self.assertEqual((run.type, run.starter), ('touch', 'editor'))
                run = registry.get(run.id)
                self.assertIs(run.context, root['page'])

    def test_types_are_known_with_the_hook(self):
        self.make(hook=True)
        self.assertEqual(self.get('/start').status_int, 200)
        self.assertEqual(self.get('types.html').status_int, 200)
        self.assertEqual(self.get('start.html?type=work').status_int, 200)


class PlaceTests(PyramidTestCase):

    def test_prefix_of_the_routes(self):
        self.make(prefix='/admin/work')
        self.assertEqual(self.get('index.html').status_int, 404)
        page = self.get('/admin/work/++background++')
        self.assertEqual(page.status_int, 200)
        self.assertIn('"/admin/work/++background++/runs.html"', page.text)
        self.assertIn('/admin/work/@@/cipher-background.css', page.text)
        token = self.get(
            '/admin/work/++background++/token.json').json['csrf_token']
        answer = self.app('manager').post_json(
            '/admin/work/++background++/start.json', {'type': 'work'},
            headers={'X-CSRF-Token': token})
        self.assertEqual(
            answer.json['url'],
            '/admin/work/++background++/%s/index.html' % answer.json['id'])
        self.assertEqual(self.get(answer.json['url']).status_int, 200)

    def test_registry_of_a_part_is_used_there(self):
        self.make()
        root, registry = self.connect()
        own = addRegistry(root['page'])
        transaction.commit()
        host = getHost()
        self.assertIs(host.nearestRegistry(root['page']), own)
        self.assertIs(host.nearestRegistry(root['secret']), registry)
        self.assertIs(own.getSite(), root['page'])
        self.assertTrue(host.isInPlace(own))
        removeRegistry(root['page'])
        self.assertFalse(host.isInPlace(own))
        self.assertIs(host.nearestRegistry(root['page']), registry)
        with self.assertRaises(RegistryNotFound):
            own.getSite()

    def test_deleted_objects_are_gone(self):
        self.make()
        root, registry = self.connect()
        page, host = root['page'], getHost()
        self.assertTrue(host.isInPlace(page))
        self.assertEqual(host.pathOf(page), '/page')
        del root['page']
        self.assertFalse(host.isInPlace(page))
        self.assertIsNone(host.locate(page, None))

    def test_site_of_a_setting(self):
        def getSite(request):
            return pyramidworld.getRoot(request)['page']

        self.make(background__site=getSite)
        transaction.begin()
        connection = self.db.open()
        self.addCleanup(connection.close)
        self.addCleanup(transaction.abort)
        page = connection.root()['app_root']['page']
        self.assertIs(getRegistry(page).getSite(), page)
        self.assertEqual(self.get('index.html').status_int, 200)

    def test_root_of_the_database_as_site(self):
        def getZODB(request):
            root = get_connection(request).root()
            root.__acl__ = pyramidworld.Root.__acl__
            return root

        self.make(background__site=getZODB)
        self.assertEqual(self.get('index.html').status_int, 200)
        self.start()


class BadInputTests(PyramidTestCase):

    def refuse(self, text, error=ConfigurationError, **options):
        with self.assertRaisesRegex(error, text):
            self.make(**options)

    def test_settings(self):
        self.refuse("background.threads: expected a number of threads from "
                    "0 to 1000, got 'many'", background__threads='many')
        self.refuse('got -1', background__threads=-1)
        self.refuse('background.thread: expected one of the settings '
                    'background.threads, background.site',
                    background__thread='4')
        self.refuse("background.site: expected the dotted name of a function "
                    "of a request, got 'no.such.thing'",
                    background__site='no.such.thing')
        self.refuse('background.site: expected a function of a request, got '
                    "'", background__site='cipher.background.interfaces.'
                                          'VIEW_WORKERS')

    def test_database(self):
        self.refuse('zodbconn.uri: expected the URI of the database, got '
                    'none', zodbconn__uri='')

    def test_tweens_without_ours(self):
        self.refuse('pyramid.tweens: expected cipher.background.hosts.pyramid'
                    '.including.makeTween among the tweens',
                    pyramid__tweens='pyramid_tm.tm_tween_factory\n'
                                    'pyramid.tweens.excview_tween_factory')

    def test_root_that_is_not_stored(self):
        self.refuse('site: expected a stored object from the root factory of '
                    'the application, got a dict', InvalidSite,
                    root_factory=lambda request: {})

    def test_other_host(self):
        components = getGlobalSiteManager()
        components.registerUtility(object(), IHost)
        self.refuse('expected one kind of host in a process, got object')

    def test_no_registry(self):
        self.make(background__add_registry='false')
        self.assertEqual(self.get('index.html', None).status_int, 403)
        self.assertEqual(self.get('index.html', 'stranger').status_int, 403)
        answer = self.get('index.html')
        self.assertEqual(answer.status_int, 404)
        self.assertIn('add it with addRegistry(site)', answer.text)
        with self.assertRaisesRegex(RegistryNotFound, 'addRegistry'):
            self.get('/start')

    def test_requests_that_cannot_be_read(self):
        self.make()
        app = self.app('manager')
        for path, headers, status in (
                ('index.html', {'Host': 'a b'}, 400),
                ('runs.html?%FF=%FE', {}, 200),
                ('types.html', {'Content-Type': 'text/xml'}, 415)):
            answer = app.request(
                '/++background++/' + path, headers=headers,
                method='POST' if status == 415 else 'GET',
                expect_errors=True)
            self.assertEqual(answer.status_int, status, path)
        answer = app.request('/++background++/index.html', method='DELETE',
                             expect_errors=True)
        self.assertEqual(answer.status_int, 405)

    def test_threads_of_the_settings_take_the_place_of_the_declared(self):
        from cipher.background import declareRuntime
        declareRuntime(threads=3, drain=1.0)
        with mock.patch('cipher.background.subscribers.startRuntime'):
            self.make(background__threads='0')
        settings = queryUtility(IRuntimeSettings)
        self.assertEqual((settings.threads, settings.drain), (0, 1.0))


class CommandTests(PyramidTestCase):
    """``worker --ini`` with bad input."""

    def refuse(self, text, *arguments):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            self.assertEqual(2, main(['worker', *arguments]))
        line, = errors.getvalue().splitlines()
        self.assertTrue(line.startswith('cipher-background worker: ' + text),
                        line)

    def write(self, text):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name, 'app.ini')
        path.write_text(text, 'utf-8')
        return str(path)

    def test_arguments_that_do_not_fit(self):
        self.refuse('--db: expected none with --ini', '--ini', 'app.ini',
                    '--db', 'Data.fs')
        self.refuse('--db: expected the URI of the database with --zcml',
                    '--zcml', 'site.zcml')
        self.refuse('--ini: expected a file of settings, got none at '
                    'none.ini', '--ini', 'none.ini')

    def test_files_that_do_not_fit(self):
        for text, expected in (
                ('nothing', 'MissingSectionHeaderError'),
                ('[app:main]\npaste.app_factory = none:main',
                 'ModuleNotFoundError'),
                ('[app:main]\npaste.app_factory = '
                 'cipher.background.tests.support.pyramidworld:bare',
                 'ValueError: an application that has no background work')):
            with self.subTest(text):
                self.refuse('--ini: expected an application that can be '
                            'created, got %s' % expected,
                            '--ini', self.write(text))

    def test_type_that_is_not_declared(self):
        self.refuse('--types: expected names of worker types that',
                    '--types', 'none', '--ini', self.write(
                        '[app:main]\npaste.app_factory = '
                        'cipher.background.tests.support.pyramidworld:create'
                        '\nzodbconn.uri = memory://'))


class PerProcessTests(PyramidTestCase):

    def test_each_process_makes_its_own(self):
        made = []

        def make():
            made.append(len(made))
            return lambda environ, start_response: made[-1]

        application = PerProcess(make)
        self.assertEqual(made, [])
        self.assertEqual([application({}, None) for _ in range(2)], [0, 0])
        root = logging.getLogger()
        logged = setUpLogging(root)
        self.addCleanup(tearDownLogging, root)
        with mock.patch('os.getpid', return_value=1):
            application.open()
            self.assertEqual(application({}, None), 1)
        self.assertIn('expected an application that is made after the fork',
                      logged.getvalue())


class PreloadTests(PyramidTestCase):

    def test_child_does_not_use_the_database_of_its_parent(self):
        self.make()
        root = logging.getLogger()
        logged = setUpLogging(root)
        self.addCleanup(tearDownLogging, root)
        pid = os.getpid()
        with mock.patch('os.getpid', return_value=pid + 1):
            for path in '/start', 'index.html':
                self.assertEqual(self.get(path).status_int, 503)
        self.assertIn('got one that process %d has made; give the server a '
                      'PerProcess' % pid, logged.getvalue())
        self.assertEqual(self.get('index.html').status_int, 200)


class RuntimeTests(PyramidTestCase):
    """Runs that a runtime in this process carries out."""

    layer = Live

    def make(self, **options):
        # The storage of memory:// resolves no conflicts.
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return super().make(
            background__threads='1',
            zodbconn__uri='file://%s/Data.fs' % folder.name, **options)

    def wait(self, run_id):
        waitUntil(lambda: self.get(
            run_id + '/index.json').json['is_finished'])
        return self.get(run_id + '/index.json').json

    def test_work_is_for_its_starter_in_its_site(self):
        for hook, manager in (
                (False, None), (True, None), (True, EXPLICIT)):
            self.clear()
            options = {'tm__manager_hook': manager} if manager else {}
            self.make(hook=hook, **options)
            with self.subTest(hook=hook, manager=manager):
                run = self.wait(self.start(user='editor'))
                self.assertEqual(run['state'], 'succeeded', run)
                self.assertIn("editor", str(run['result']))
                self.assertIn('Page page', str(run['result']))
                touch = self.wait(self.start('touch', context='/page'))
                self.assertEqual(touch['state'], 'succeeded', touch)
                self.assertEqual(self.connect()[0]['page'].title, 'Touched')
                self.assertIsNone(queryInteraction())

    def test_start_of_a_visitor(self):
        self.make()
        run = self.wait(self.get('/start', None).text)
        self.assertEqual(run['state'], 'succeeded', run)
        self.assertIn('system.Everyone', str(run['result']))

    def test_starter_who_is_gone(self):
        self.make()
        gone.add('editor')
        for name in 'work', 'checked':
            run = self.wait(self.start(name, user='editor'))
            self.assertEqual((run['state'], run['error_type']),
                             ('failed', 'StarterGone'), run)

    def test_object_that_is_gone(self):
        self.make()
        root, registry = self.connect()
        run = registry.submit('touch', root['page'], delay=3600.0)
        transaction.commit()
        root, registry = self.connect()
        del root['page']
        registry.beginNow(run.id)
        transaction.commit()
        done = self.wait(run.id)
        self.assertEqual((done['state'], done['error_type']),
                         ('failed', 'ContextGone'), done)
