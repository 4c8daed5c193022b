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
"""A real site of Plone, driven by HTTP.

It needs Plone, which is not in the environment of the other tests.
"""
import json

import transaction

from cipher.background.interfaces import RegistryInUse
from cipher.background.registry.installation import getRegistry
from cipher.background.registry.installation import nearestRegistry
from cipher.background.tests.support.plonesite import BASE
from cipher.background.tests.support.plonesite import PloneCase


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
