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
"""A real site of Plone, driven by HTTP; it carries docs/howto/plone.rst out.

It needs Plone, which is not in the environment of the other tests.
"""
import json
import re
import urllib.parse

import transaction
from ZODB.DB import DB
from zope.component.interfaces import ISite

from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun
from cipher.background.interfaces import RegistryInUse
from cipher.background.registry.installation import getRegistry
from cipher.background.registry.installation import nearestRegistry
from cipher.background.runtime.startcheck import checkStart
from cipher.background.tests.hosts.test_zope import OWN_CHECK
from cipher.background.tests.hosts.test_zope import find_views
from cipher.background.tests.support.plonesite import ADDON
from cipher.background.tests.support.plonesite import BASE
from cipher.background.tests.support.plonesite import PloneCase
from cipher.background.tests.support.zopesite import START
from cipher.background.tests.support.zopesite import STOP
from cipher.background.tests.support.zopesite import VIEW


ZCML = """
  <background:worker
      name="touch"
      handler="cipher.background.tests.hosts.test_plone.touch"
      title="Touch"
      permission="cipher.background.StartWorkers"
      />
  <background:worker
      name="look"
      handler="cipher.background.tests.hosts.test_plone.look"
      title="Look"
      />
  <background:worker
      name="refuse"
      handler="cipher.background.tests.hosts.test_plone.refuse"
      title="Refuse"
      />
  <subscriber
      for="cipher.background.interfaces.IRunFailedEvent"
      handler="cipher.background.tests.hosts.test_plone.noteFailure"
      />
  <browser:page
      name="only-in-plone"
      for="*"
      layer="cipher.background.hosts.plone.interfaces.IPloneLayer"
      class="cipher.background.tests.hosts.test_plone.OnlyInPlone"
      permission="zope2.View"
      />
"""


def touch(worker):
    """Say in the title who touched the context."""
    from AccessControl import getSecurityManager
    ob = worker.context
    if ob is not None:
        ob.title = 'touched by %s' % getSecurityManager().getUser()
        ob.reindexObject()
    return str(getSecurityManager().getUser())


def look(worker):
    """Return what a view, a skin and a translation give here."""
    from zope.component.hooks import getSite
    from zope.globalrequest import getRequest
    from zope.i18n import translate
    from zope.i18nmessageid import Message
    site = getSite()
    return {
        'layer': site.restrictedTraverse('@@only-in-plone')(),
        'skin': site.getCurrentSkinName(),
        'language': getRequest().get('LANGUAGE'),
        'text': translate(Message('Today', 'plone', 'Today'),
                          context=getRequest()),
        'theme': site.restrictedTraverse('@@plone_portal_state').language()}


def refuse(worker):
    """Change the context, then fail."""
    worker.context.title = 'never seen'
    worker.context.reindexObject()
    raise ValueError('refused')


def noteFailure(event):
    """Subscriber: say in the title that work has failed."""
    if event.object.type == 'refuse' and event.object.context is not None:
        ob = event.object.context
        ob.title = 'noted failure'
        ob.reindexObject()


class OnlyInPlone:
    """A view of the browser layer of the add-on."""

    def __init__(self, context, request):
        self.context = context

    def __call__(self):
        return 'seen'


class PloneTests(PloneCase):

    zcml = ZCML

    # Work

    def test_work_of_the_system(self):
        run = self.registry.start('touch')
        transaction.commit()
        status = self.wait(run.id)
        self.assertEqual((status.state, status.starter, status.result),
                         ('succeeded', None, 'System Processes'))

    def test_work_of_a_person_reaches_the_catalog(self):
        doc = self.add(self.site, 'doc', title='before')
        for user, starter in (('admin', '/plone:admin'), ('owner', '/:owner')):
            with self.subTest(user=user):
                status, data = self.send(
                    '/start.json', user, {'type': 'touch', 'context': 'doc'})
                self.assertEqual(status, 202, data)
                status = self.wait(data['id'])
                self.assertEqual(
                    (status.state, status.starter, status.result),
                    ('succeeded', starter, user))
                self.assertEqual(doc.title, 'touched by ' + user)
                self.assertEqual(
                    [brain.getId for brain in self.search(doc.title)],
                    ['doc'])

    def test_failed_work_does_not_reach_the_catalog_but_subscribers_do(self):
        doc = self.add(self.site, 'doc', title='before')
        run = self.registry.start('refuse', doc)
        transaction.commit()
        self.assertEqual(self.wait(run.id).state, 'failed')
        self.assertEqual(doc.title, 'noted failure')
        self.assertEqual(len(self.search('never seen')), 0)
        # A subscriber does: its transaction ends outside of the site.
        self.assertEqual(len(self.search('noted failure')), 1)

    def search(self, title):
        return self.site.portal_catalog.unrestrictedSearchResults(
            Title='"%s"' % title)

    def test_context_by_uid(self):
        folder = self.add(self.site, 'folder', 'Folder')
        doc = self.add(folder, 'doc')
        status, data = self.send('/start.json', 'admin', {
            'type': 'touch', 'context': doc.UID()})
        self.assertEqual(status, 202, data)
        self.wait(data['id'])
        self.assertEqual(doc.title, 'touched by admin')
        status, data = self.send('/start.json', 'admin', {
            'type': 'touch', 'context': '0' * 32})
        self.assertEqual(status, 400)

    def test_context_is_found_by_its_uid_after_many_moves(self):
        from cipher.background.hosts.zope import moving
        doc = self.add(self.site, 'doc')
        self.registry.pauseType('touch', True)
        run = self.registry.start('touch', doc)
        transaction.commit()
        with self.acting('owner', self.root.acl_users), self.requesting(
                self.site):
            self.site.manage_renameObject('doc', 'renamed')
        self.addCleanup(self.delete, self.site, 'renamed')
        # The moves are forgotten some day.
        self.root._p_jar.root().pop(moving.ROOT_KEY, None)
        self.registry.pauseType('touch', False)
        transaction.commit()
        self.assertEqual(self.wait(run.id).state, 'succeeded')
        self.assertEqual(
            self.site.renamed.title, 'touched by System Processes')

    def test_deleted_context_is_gone(self):
        doc = self.add(self.site, 'doc')
        self.registry.pauseType('touch', True)
        run = self.registry.start('touch', doc)
        transaction.commit()
        self.delete(self.site, 'doc')
        self.registry.pauseType('touch', False)
        transaction.commit()
        self.assertEqual(self.wait(run.id).error_type, 'ContextGone')

    def test_worker_has_the_layers_the_skin_and_the_language(self):
        from plone.registry.interfaces import IRegistry
        with self.requesting(self.site):
            from zope.component import getUtility
            getUtility(IRegistry)['plone.available_languages'] = ['en', 'de']
            member = self.site.portal_membership.getMemberById('admin')
            member.setMemberProperties({'language': 'de'})
            transaction.commit()
        run = self.registry.start('look')
        transaction.commit()
        status = self.wait(run.id)
        self.assertEqual(status.result, {
            'layer': 'seen', 'skin': 'Plone Default', 'language': 'en',
            'text': 'Today', 'theme': 'en'})
        status, data = self.send('/start.json', 'admin', {'type': 'look'})
        self.assertEqual(self.wait(data['id']).result, {
            'layer': 'seen', 'skin': 'Plone Default', 'language': 'de',
            'text': 'Heute', 'theme': 'de'})

    def test_transition_of_a_workflow_starts_work(self):
        doc = self.add(self.site, 'doc')
        with self.acting('manager', self.site.acl_users), self.requesting(
                self.site):
            tool = self.site.portal_workflow
            tool.setChainForPortalTypes(
                ['Document'], ['simple_publication_workflow'])
            tool.notifyCreated(doc)
            tool.doActionFor(doc, 'submit')
            tool.doActionFor(doc, 'publish')
            transaction.commit()
        runs = self.registry.listRuns(types=['announce']).items
        self.assertEqual(len(runs), 1)
        status = self.wait(runs[0].id)
        self.assertEqual((status.state, status.starter),
                         ('succeeded', '/plone:manager'))
        self.assertEqual([brain.getId for brain in (
            self.site.portal_catalog.unrestrictedSearchResults(
                Subject='announced'))], ['doc'])
        self.assertIn('https://www.example.org/plone/doc is public',
                      self.registry.getDetails(runs[0].id).log)

    # The add-on

    def test_addon_is_installed_and_uninstalled(self):
        site = self.makeSite('second')
        self.addCleanup(self.delete, self.root, 'second')
        self.assertIsNone(nearestRegistry(site))
        self.install(site)
        registry = getRegistry(site)
        run = registry.start('touch')
        transaction.commit()
        self.assertEqual(self.wait(run.id, registry).state, 'succeeded')
        panel = site.portal_controlpanel
        self.assertIn('cipher.background', {
            action.id for action in panel.listActions()})
        registry.pauseType('touch', True)
        run = registry.start('touch')
        transaction.commit()
        with self.assertRaises(RegistryInUse):
            self.install(site, 'uninstall')
        transaction.abort()
        self.assertIs(nearestRegistry(site).getStatus(run.id).state, 'pending')
        registry.requestStop(run.id)
        transaction.commit()
        self.install(site, 'uninstall')
        self.assertIsNone(nearestRegistry(site))
        self.assertNotIn('cipher.background', {
            action.id for action in panel.listActions()})
        self.install(site)
        self.assertEqual(getRegistry(site).getCounts(), {})

    # Requests

    def test_form_starts_work(self):
        status, headers, text = self.fill(
            BASE + '/start.html?type=touch', 'admin')
        self.assertEqual(status, 303, text)
        run_id = headers['Location'].split('/')[-2]
        self.assertEqual(self.wait(run_id).starter, '/plone:admin')

    def test_wrong_token_changes_nothing(self):
        before = self.registry.getCounts()
        status, _headers, _text = self.get(
            BASE + '/start.json', 'admin', json.dumps(
                {'type': 'touch'}).encode(),
            **{'Content-Type': 'application/json', 'X-CSRF-Token': 'no'})
        self.assertEqual(status, 403)
        transaction.begin()
        self.assertEqual(self.registry.getCounts(), before)

    def test_unknown_names_and_known_ones_have_one_answer(self):
        run = self.registry.start('touch')
        transaction.commit()
        self.wait(run.id)
        for user in None, 'member':
            answers = set()
            for name in ('index.html', 'runs.json', run.id,
                         run.id + '/index.html', '77-1', '77-1/index.html',
                         'nothing', 'acl_users', '++acquire++one',
                         'getCounts'):
                status, headers, text = self.get(BASE + '/' + name, user)
                where = headers.get('Location', '').partition('?')[0]
                answers.add((status, where, 'Touch' in text))
            self.assertEqual(len(answers), 1, answers)
            self.assertRegex(answers.pop()[1], '/require_login$')

    def test_every_address_asks_each_role_its_permission(self):
        other = self.makeSite('other')
        self.addCleanup(self.delete, self.root, 'other')
        self.assertIsNone(nearestRegistry(other))
        for site in self.site, other:
            site.manage_permission(VIEW, ['Editor'], 1)
            site.manage_permission(START, ['Editor'], 1)
        run = self.registry.start('touch')
        transaction.commit()
        self.addCleanup(self.install)
        self.wait(run.id)
        places = {IWorkerRegistry: BASE + '/',
                  IWorkerRun: '%s/%s/' % (BASE, run.id), ISite: '/other/'}
        permissions = {None: set(), 'member': set(), 'editor': {VIEW, START},
                       'owner': None}
        before = self.registry.listActions(), self.registry.getCounts()
        found = list(find_views())
        self.assertGreater(len(found), 40)
        for interface, name, title in found:
            asked = STOP if name in ('stop.html', 'stop.json') else title
            for user, titles in permissions.items():
                for data in None, b'':
                    with self.subTest(name, user=user, post=data is not None):
                        status, headers, text = self.get(
                            '%s@@%s' % (places[interface], name), user, data)
                        is_refused = status == 401 or (
                            'require_login' in headers.get('Location', ''))
                        if titles is not None and asked not in titles | {
                                'Public'}:
                            self.assertTrue(is_refused, status)
                            self.assertNotIn('Touch', text)
                        else:
                            self.assertLess(status, 500)
                            if title != 'Public':
                                self.assertFalse(is_refused)
                        if name in OWN_CHECK and user is None:
                            self.assertTrue(is_refused, status)
        transaction.begin()
        self.assertEqual(
            (self.registry.listActions(), self.registry.getCounts()), before)

    def test_roles_of_the_addon(self):
        for user, expected in (
                ('manager', True), ('admin', True), ('editor', False),
                ('member', False)):
            with self.subTest(user=user):
                before = self.registry.getCounts()
                status, data = self.send(
                    '/start.json', user, {'type': 'touch'})
                self.assertEqual(status == 202, expected)
                if expected:
                    self.wait(data['id'])
                else:
                    transaction.begin()
                    self.assertEqual(self.registry.getCounts(), before)
                # The link in the control panel.
                text = self.get('/plone/@@overview-controlpanel', user)[2]
                self.assertEqual('++background++"' in text, expected)

    # Pages

    def test_every_page_stands_in_the_control_panel(self):
        run = self.registry.start('touch')
        transaction.commit()
        self.wait(run.id)
        for name in ('', '/index.html', '/runs.html', '/types.html',
                     '/schedules.html', '/processes.html', '/journal.html',
                     '/thresholds.html', '/start.html?type=touch',
                     '/%s/index.html' % run.id, '/nothing'):
            with self.subTest(name=name):
                status, headers, text = self.get(BASE + name, 'admin')
                self.assertEqual(status, 404 if name == '/nothing' else 200)
                self.assertIn('id="portal-top"', text)
                self.assertIn('<a class="nav-link dropdown-toggle active"',
                              text)
                self.assertEqual(text.count('id="cb-content"'), 1)
                self.assertEqual(text.count('</html>'), 1)
                self.assertRegex(text, '<title>.* &#8212; Plone site</title>')
                self.assertIn(
                    "default-src 'self'", headers['Content-Security-Policy'])

    def test_resources_are_found(self):
        text = self.get(BASE + '/index.html', 'admin')[2]
        found = re.findall(
            '(?:href|src)="([^"]*resource[+]{2}cipher[^"]*)"', text)
        self.assertEqual(len(found), 2)
        for address in found:
            self.assertEqual(self.get(address)[0], 200, address)

    def test_page_without_the_addon_offers_a_registry(self):
        other = self.makeSite('other')
        self.addCleanup(self.delete, self.root, 'other')
        status, headers, text = self.get('/other/@@background.html', 'owner')
        self.assertEqual(status, 200)
        self.assertIn('@@addBackground', text)
        self.assertEqual(
            self.get('/other/++background++/index.html', 'owner')[0], 404)
        token = re.search('name="csrf_token" value="([^"]*)"', text)[1]
        cookie = headers['Set-Cookie'].split(';')[0]
        status, headers, text = self.get(
            '/other/@@addBackground', 'owner',
            urllib.parse.urlencode({'csrf_token': token}).encode(),
            Cookie=cookie)
        self.assertEqual(status, 303, text)
        transaction.begin()
        run = getRegistry(other).start('touch')
        transaction.commit()
        self.assertEqual(
            self.wait(run.id, getRegistry(other)).state, 'succeeded')

    def test_missing_registry_is_named_at_the_start(self):
        with self.assertLogs('cipher.background', 'WARNING') as logs:
            checkStart(DB(None))
        self.assertIn('got none, so nothing can be started; install the '
                      'add-on "Background workers" in a site', logs.output[0])

    def test_uninstalling_by_the_page_says_why_it_is_refused(self):
        self.registry.pauseType('touch', True)
        run = self.registry.start('touch')
        transaction.commit()
        page = '/plone/prefs_install_products_form'
        text = self.get(page, 'owner')[2]
        token = re.search('name="_authenticator"[^>]*value="([^"]*)"', text)[1]
        _status, headers, _text = self.get(
            '/plone/uninstall_products', 'owner', urllib.parse.urlencode({
                'uninstall_product': ADDON, '_authenticator': token}).encode())
        cookie = headers['Set-Cookie'].split(';')[0]
        text = self.get(page, 'owner', Cookie=cookie)[2]
        self.assertIn('The registry of background runs is in use', text)
        transaction.begin()
        self.assertEqual(self.registry.getStatus(run.id).state, 'pending')
        self.assertIn('cipher.background', {
            action.id for action in
            self.site.portal_controlpanel.listActions()})
        self.registry.pauseType('touch', False)
        transaction.commit()
        self.wait(run.id)
