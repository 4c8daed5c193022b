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
"""Work, sites, bad input and pages in a real instance of Zope.

It needs Zope, which is not in the environment of the other tests.
"""
import re
import urllib.parse

import transaction
from ZODB.DB import DB
from ZODB.POSException import ConflictError
from ZODB.POSException import UndoError
from zope.component import getGlobalSiteManager
from zope.component.interfaces import ISite
from zope.interface import Interface

from cipher.background.interfaces import InvalidContext
from cipher.background.interfaces import InvalidSite
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun
from cipher.background.interfaces import RegistryNotFound
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.registry.installation import nearestRegistry
from cipher.background.registry.installation import removeRegistry
from cipher.background.runtime.startcheck import checkStart
from cipher.background.tests.support.zopesite import START
from cipher.background.tests.support.zopesite import STOP
from cipher.background.tests.support.zopesite import VIEW
from cipher.background.tests.support.zopesite import ZopeCase


ZCML = """
  <background:worker
      name="touch"
      handler="cipher.background.tests.hosts.test_zope.touch"
      title="Touch"
      permission="cipher.background.StartWorkers"
      />
  <background:worker
      name="follow"
      handler="cipher.background.tests.hosts.test_zope.touch"
      title="Follow"
      />
  <background:trigger
      worker="follow"
      for="OFS.interfaces.IFolder
           zope.lifecycleevent.interfaces.IObjectCreatedEvent"
      />
  <background:runtime poll="0.5" />
  <background:web base_url="https://example.org" />
"""


def touch(worker):
    """Say in the title who touched the context."""
    from AccessControl import getSecurityManager
    from zope.component.hooks import getSite
    user = getSecurityManager().getUser()
    if worker.context is not None:
        worker.context.title = 'touched by %s' % user
        worker.context.description = worker.context.absolute_url()
    return '%s in %s' % (user, '/'.join(getSite().getPhysicalPath()))


#: Views that check their reader themselves.
OWN_CHECK = ('health.json', 'metrics', 'own.json')


def find_views():
    """Yield (interface, name, title of the permission) of our views."""
    for registration in getGlobalSiteManager().registeredAdapters():
        factory = registration.factory
        if (len(registration.required) == 2 and registration.name
                and registration.provided is Interface
                and registration.required[0] in (
                    IWorkerRegistry, IWorkerRun, ISite)
                and getattr(factory, '__ac_permissions__', ())):
            titles = {title for title, names in factory.__ac_permissions__
                      if '' in names}
            yield registration.required[0], registration.name, *titles


#: How often the work to undo is done, if it cannot be undone.
TRIES = 10


class ZopeTests(ZopeCase):

    zcml = ZCML

    # Work

    def test_work_of_the_system(self):
        run = self.registry.start('touch', self.site.one)
        transaction.commit()
        status = self.wait(run.id)
        self.assertEqual((status.state, status.starter, status.result),
                         ('succeeded', None, 'System Processes in /site'))
        self.assertEqual(self.site.one.title, 'touched by System Processes')
        self.assertEqual(
            self.site.one.description, 'https://example.org/site/one')

    def test_work_of_a_person(self):
        status, data = self.send(
            '/start.json', 'boss', {'type': 'touch', 'context': 'one'})
        self.assertEqual(status, 202)
        status = self.wait(data['id'])
        self.assertEqual((status.state, status.starter),
                         ('succeeded', '/:boss'))
        self.assertEqual(self.site.one.title, 'touched by boss')

    def test_moved_context_is_found_and_deleted_one_is_gone(self):
        self.registry.pauseType('touch', True)
        runs = [self.registry.start('touch', ob) for ob in (
            self.site.one, self.site.two, self.site.three.below)]
        transaction.commit()
        with self.acting('boss', self.root.acl_users):
            self.site.manage_renameObject('one', 'renamed')
            self.site.manage_delObjects(['two'])
            self.site.manage_renameObject('three', 'four')
            transaction.commit()
            self.site.manage_renameObject('four', 'five')
        self.addCleanup(self.delete, self.site, 'renamed')
        self.addCleanup(self.delete, self.site, 'five')
        self.registry.pauseType('touch', False)
        transaction.commit()
        self.assertEqual(
            [(status.state, status.error_type)
             for status in [self.wait(run.id) for run in runs]],
            [('succeeded', None), ('failed', 'ContextGone'),
             ('succeeded', None)])

    def test_trigger_starts_work_about_an_object(self):
        from zope.event import notify
        from zope.lifecycleevent import ObjectCreatedEvent
        notify(ObjectCreatedEvent(self.site.one))
        transaction.commit()
        run = self.registry.listRuns(types=['follow'], limit=1).items[0]
        self.assertEqual(self.wait(run.id).state, 'succeeded')
        self.assertEqual(self.site.one.title, 'touched by System Processes')

    def test_starters_of_two_user_folders_are_told_apart(self):
        from cipher.background.util.host import getHost
        host = getHost()
        for folder, expected in (
                (self.root.acl_users, '/:boss'),
                (self.site.inner.acl_users, '/site/inner:boss')):
            with self.subTest(expected=expected):
                user = folder.getUserById('boss').__of__(folder)
                from cipher.background.hosts.zope.host import _identify
                self.assertEqual(_identify(user), expected)
                token = host.enterSite(self.site)
                try:
                    self.assertEqual(
                        host.getPrincipal(expected).user.getRoles(),
                        user.getRoles())
                finally:
                    host.leaveSite(token)

    def test_starter_who_is_gone_or_lost_the_permission(self):
        users = self.root.acl_users
        for act, name in (
                (lambda: users.userFolderDelUsers(['temp']), 'temp'),
                (lambda: users.userFolderEditUser(
                    'temp', None, ['Viewer'], []), 'temp')):
            with self.subTest():
                users.userFolderAddUser(name, 'secret', ['Manager'], [])
                self.registry.pauseType('touch', True)
                transaction.commit()
                status, data = self.send(
                    '/start.json', name, {'type': 'touch'})
                self.assertEqual(status, 202)
                transaction.begin()
                act()
                self.registry.pauseType('touch', False)
                transaction.commit()
                self.assertEqual(
                    self.wait(data['id']).error_type, 'StarterGone')

    def test_nothing_is_left_in_the_thread(self):
        from AccessControl.SecurityManagement import getSecurityManager
        from zope.globalrequest import getRequest

        from cipher.background.contextmanagers import ZopeSite
        before = getSecurityManager().getUser()
        with ZopeSite(self.site):
            self.assertIsNotNone(getRequest())
        self.assertIsNone(getRequest())
        self.assertIs(getSecurityManager().getUser(), before)

    def test_no_wrapper_is_stored(self):
        run = self.registry.start('touch', self.site.one)
        transaction.commit()
        self.assertNotIn(b'Acquisition', self.root._p_jar.db().storage.load(
            run._p_oid, '')[0])
        self.wait(run.id)

    # Sites

    def test_registry_is_added_by_the_page_and_removed(self):
        other = self.root.other
        for user, expected in ((None, 401), ('viewer', 401), ('boss', 303)):
            with self.subTest(user=user):
                _status, headers, text = self.get(
                    '/other/@@background.html', user)
                token = re.search('name="csrf_token" value="([^"]*)"', text)
                cookie = (headers['Set-Cookie'] or '').split(';')[0]
                status, headers, _text = self.get(
                    '/other/@@addBackground', user,
                    urllib.parse.urlencode({
                        'csrf_token': token[1] if token else ''}).encode(),
                    Cookie=cookie)
                self.assertEqual(status, expected)
        transaction.begin()
        registry = getRegistry(other)
        run = registry.start('touch')
        transaction.commit()
        self.assertEqual(
            self.wait(run.id, registry).result, 'System Processes in /other')
        self.assertEqual(removeRegistry(other), 0)
        transaction.commit()
        self.assertEqual(
            self.get('/other/++background++/index.html', 'boss')[0], 404)

    def test_registry_in_the_root(self):
        from five.localsitemanager import make_objectmanager_site
        from Products.Five.component import disableSite
        from zope.processlifetime import DatabaseOpenedWithRoot

        from cipher.background.subscribers import addRegistryToRoot
        database = self.root._p_jar.db()
        addRegistryToRoot(DatabaseOpenedWithRoot(database))
        transaction.begin()
        self.assertIsNone(nearestRegistry(self.root))   # it is not a site
        make_objectmanager_site(self.root)
        transaction.commit()
        addRegistryToRoot(DatabaseOpenedWithRoot(database))
        transaction.begin()
        registry = getRegistry(self.root)
        try:
            run = registry.start('touch', self.site.one)
            transaction.commit()
            self.assertEqual(
                self.wait(run.id, registry).result, 'System Processes in ')
            self.assertEqual(
                self.get('/++background++/index.html', 'boss')[0], 200)
            self.assertIn('@@background.html',
                          self.get('/manage_main', 'boss')[2])
        finally:
            transaction.abort()
            removeRegistry(self.root)
            disableSite(self.root)
            self.root.setSiteManager(None)
            transaction.commit()

    def test_undo_takes_back_work_and_record_together(self):
        # Nothing but this run is ever in this registry.
        site = self.add('undone')
        registry = addRegistry(site)
        transaction.commit()
        for left in reversed(range(TRIES)):
            site.title = ''
            registry.pauseType('touch', True)
            run = registry.start('touch', site)
            transaction.commit()
            registry.pauseType('touch', False)
            transaction.commit()
            self.wait(run.id, registry)
            self.assertNotEqual(site.title, '')
            db = self.root._p_jar.db()
            # The newest first.  Another registry may have a run of this id.
            work = next(one for one in db.undoInfo(0, 50) if str(
                one['description']).endswith('touch, run ' + run.id))
            try:
                db.undo(work['id'])
                transaction.commit()
                break
            except (ConflictError, UndoError):
                # The control thread has changed what the work has changed.
                # Zope cannot take that work back any more.
                transaction.abort()
                if not left:
                    raise
        transaction.begin()
        self.assertEqual(site.title, '')
        self.assertEqual(registry.getStatus(run.id).state, 'pending')
        # It is not done again by itself, and can be stopped.
        registry.requestStop(run.id)
        transaction.commit()

    # Bad input

    def test_folder_that_is_not_a_site_is_refused(self):
        folder = self.add('plain', is_site=False)
        with self.assertRaisesRegex(
                InvalidSite, 'got a Folder without a site manager; make it'):
            addRegistry(folder)
        self.assertEqual(self.get('/plain/@@background.html', 'boss')[0], 404)

    def test_site_that_has_lost_its_site_manager(self):
        folder = self.add('lost')
        folder._components = None
        transaction.commit()
        with self.assertRaisesRegex(InvalidSite, 'without a site manager'):
            addRegistry(folder)
        self.assertIsNone(nearestRegistry(folder))

    def test_object_outside_of_the_tree_is_worked_on_if_it_is_stored(self):
        from OFS.SimpleItem import SimpleItem
        from persistent.mapping import PersistentMapping
        with self.assertRaisesRegex(InvalidContext, 'that is not stored'):
            self.registry.start('touch', SimpleItem())
        ob = SimpleItem('outside')
        ob.id = 'outside'
        self.root._p_jar.root()['outside'] = PersistentMapping({'ob': ob})
        transaction.commit()
        run = self.registry.start('touch', ob)
        transaction.commit()
        self.assertEqual(self.wait(run.id).state, 'succeeded')
        self.assertEqual(ob.title, 'touched by System Processes')

    def test_user_folder_that_is_gone(self):
        inner = self.site.one
        inner.manage_addUserFolder()
        inner.acl_users.userFolderAddUser('temp', 'x', ['Manager'], [])
        self.registry.pauseType('touch', True)
        transaction.commit()
        from AccessControl.SecurityManagement import newSecurityManager
        from Testing.makerequest import makerequest
        from zope.globalrequest import clearRequest
        from zope.globalrequest import setRequest
        folder = inner.acl_users
        newSecurityManager(None, folder.getUserById('temp').__of__(folder))
        setRequest(makerequest(self.root).REQUEST)
        try:
            run = self.registry.startByPrincipal('touch', inner)
            transaction.commit()
        finally:
            clearRequest()
        self.assertEqual(run.starter, '/site/one:temp')
        inner.manage_delObjects(['acl_users'])
        self.registry.pauseType('touch', False)
        transaction.commit()
        self.assertEqual(self.wait(run.id).error_type, 'StarterGone')
        self.assertIn("the principal '/site/one:temp' to exist",
                      self.registry.getDetails(run.id).traceback)

    def test_missing_registry_is_named_at_the_start(self):
        with self.assertLogs('cipher.background', 'WARNING') as logs:
            checkStart(DB(None))
        self.assertIn(
            'got none, so nothing can be started; add one by the tab '
            'Background of a site', logs.output[0])

    def test_permission_without_a_role_is_named_at_the_start(self):
        from cipher.background.hosts.zope.checks import PagesCheck
        check = PagesCheck()
        self.assertEqual(list(check([self.registry])), [])
        title = 'Background: manage'
        for roles, expected in (
                ([], 'expected a role with the permission %r in /site, got '
                     'none; give it' % title),
                (['Anonymous'], 'visitors without a login may not')):
            with self.subTest(roles=roles):
                self.site.manage_permission(title, roles, 0)
                text, = check([self.registry])
                self.assertIn(expected, text)
                transaction.abort()

    def test_site_that_is_moved_or_copied_keeps_its_work_running(self):
        folder = self.add('before')
        registry = addRegistry(folder)
        registry.pauseType('touch', True)
        run = registry.start('touch')
        transaction.commit()
        with self.acting('boss', self.root.acl_users):
            self.root.manage_renameObject('before', 'after')
            transaction.commit()
            data = self.root.manage_copyObjects(['after'])
            copied = self.root.manage_pasteObjects(data)[0]['new_id']
            transaction.commit()
        for name in 'after', copied:
            self.addCleanup(self.delete, self.root, name)
        self.root._p_jar.root().pop('cipher.background.moves')
        registries = [getRegistry(self.root[name])
                      for name in ('after', copied)]
        for registry in registries:
            registry.pauseType('touch', False)
        transaction.commit()
        for name, registry in zip(('after', copied), registries):
            self.assertEqual(registry.site_path, ('', name))
            self.assertEqual(
                self.get('/%s/++background++/index.html' % name, 'boss')[0],
                200)
            new = registry.start('touch')
            transaction.commit()
            self.assertEqual(self.wait(new.id, registry).result,
                             'System Processes in /%s' % name)
        self.assertEqual(self.wait(run.id, registries[0]).state, 'succeeded')

    def test_registry_that_is_not_in_place_starts_nothing(self):
        folder = self.add('place')
        registry = addRegistry(folder)
        registry.site_path = ('', 'elsewhere')
        transaction.commit()
        with self.assertRaisesRegex(
                RegistryNotFound, 'its site at /elsewhere, got none; call'):
            registry.start('touch')
        transaction.abort()
        addRegistry(folder)
        run = registry.start('touch')
        transaction.commit()
        self.assertEqual(self.wait(run.id, registry).state, 'succeeded')

    # Pages

    def test_form_starts_work(self):
        address = '/site/++background++/start.html?type=touch'
        status, headers, _text = self.fill(address, 'boss')
        self.assertEqual(status, 303)
        run_id = headers['Location'].split('/')[-2]
        self.assertEqual(self.wait(run_id).starter, '/:boss')

    def test_pages_have_their_resources_and_no_base(self):
        text = self.get('/site/++background++/index.html', 'boss')[2]
        self.assertNotIn('<base', text)
        found = re.findall(
            r'\s(?:href|src|data-alert)="([^"]*resource[^"]*)"', text)
        found = [address for address in found
                 if '/++resource++cipher-background' in address]
        self.assertEqual(len(found), 4)
        for address in found:
            self.assertEqual(self.get(address)[0], 200, address)

    def test_anonymous_gets_one_answer(self):
        run = self.registry.start('touch')
        transaction.commit()
        self.wait(run.id)
        answers = {self.get('/site/++background++/' + name)[0] for name in (
            'index.html', 'runs.json', run.id, run.id + '/index.html',
            '77-1', '77-1/index.html', 'nothing', 'acl_users',
            '++acquire++one', '@@absolute_url', 'getCounts')}
        self.assertEqual(answers, {401})

    def test_only_contexts_below_the_site_can_be_given(self):
        for path in ('acl_users', 'manage_main', 'title', 'other', '_p_jar',
                     '@@background.html', 'one/../two', 'one/site/two'):
            with self.subTest(path=path):
                status, _data = self.send('/start.json', 'boss', {
                    'type': 'touch', 'context': path})
                self.assertEqual(status, 400)

    def test_managers_see_the_pages_in_the_frame_of_zope(self):
        page = '/site/++background++/index.html'
        _status, headers, text = self.get(page, 'boss')
        self.assertIn('class="zmi zmi-', text)
        self.assertRegex(
            text, 'class="nav-link active" href="/site/@@background.html"')
        self.assertIn('<title>Background workers: overview</title>', text)
        self.assertEqual(headers['X-Frame-Options'], 'SAMEORIGIN')
        for address in re.findall(r'\shref="([^"]*)"', text):
            self.assertRegex(address, '^(/|http://127|[?#]|$)')
            self.assertNotIn('/++background++/manage', address)
        _status, headers, text = self.get(page, 'viewer')
        self.assertIn('<body class="cb-frame">', text)
        self.assertEqual(headers['X-Frame-Options'], 'DENY')

    def test_frame_leads_to_places_that_exist(self):
        text = self.get('/site/++background++/types.html', 'boss')[2]
        tabs = text[text.index('id="tabs"'):text.index('id="cb-content"')]
        found = re.findall('href="(/[^"]*)"', tabs)
        self.assertIn('/site/manage_access', found)
        for address in found:
            self.assertIn(self.get(address, 'boss')[0], (200, 302, 303))

    def test_sites_have_a_tab_for_those_who_may_see_runs(self):
        for path, user, expected in (
                ('/site', 'boss', True), ('/other', 'boss', True),
                ('/site/one', 'boss', False)):
            text = self.get(path + '/manage_main', user)[2]
            self.assertIn('manage_access', text)
            self.assertEqual('@@background.html' in text, expected, path)
        self.assertEqual(
            [one['label'] for one in self.site.filtered_manage_options()
             if one['label'] == 'Background'], [])

    def test_every_address_asks_each_role_its_permission(self):
        run = self.registry.start('touch')
        transaction.commit()
        self.wait(run.id)
        base = '/site/++background++'
        places = {IWorkerRegistry: base + '/', IWorkerRun: '%s/%s/' % (
            base, run.id), ISite: '/other/'}
        permissions = {
            None: set(), 'viewer': {VIEW}, 'editor': {VIEW, START},
            'boss': None}
        before = self.registry.listActions(), self.registry.getCounts()
        found = list(find_views())
        self.assertGreater(len(found), 40)
        for interface, name, title in found:
            asked = STOP if name in ('stop.html', 'stop.json') else title
            for user, titles in permissions.items():
                for data in None, b'':
                    with self.subTest(name, user=user, post=data is not None):
                        status, _headers, text = self.get(
                            '%s@@%s' % (places[interface], name), user, data)
                        if titles is not None and asked not in titles | {
                                'Public'}:
                            self.assertEqual(status, 401)
                            self.assertNotIn('Touch', text)
                        else:
                            self.assertNotEqual(status, 500)
                            if title != 'Public':
                                self.assertNotEqual(status, 401)
                        if name in OWN_CHECK and user is None:
                            self.assertEqual(status, 401)
        transaction.begin()
        self.assertEqual(
            (self.registry.listActions(), self.registry.getCounts()), before)

    def test_viewer_changes_nothing(self):
        run = self.registry.start('touch')
        transaction.commit()
        self.wait(run.id)
        before = self.registry.listActions(), self.registry.getCounts()
        for verb in ('stop', 'retry', 'remove', 'begin'):
            self.assertIn(self.send(
                '/%s/%s.json' % (run.id, verb), 'viewer', {})[0], (401, 404))
        for user in 'viewer', None:
            self.assertEqual(
                self.send('/start.json', user, {'type': 'touch'})[0], 401)
        transaction.begin()
        self.assertEqual(
            (self.registry.listActions(), self.registry.getCounts()), before)
