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
"""The action of a content rule in a real site."""
import re
import urllib.parse

import transaction
from zope.interface import Interface
from zope.schema import TextLine

from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import removeRegistry
from cipher.background.tests.support.plonesite import PloneCase


ZCML = """
  <background:worker
      name="touch"
      handler="cipher.background.tests.hosts.test_plone.touch"
      title="Touch"
      permission="cipher.background.StartWorkers"
      />
  <background:worker
      name="edit"
      handler="cipher.background.tests.hosts.test_plone_rules.edit"
      title="Edit"
      permission="cipher.background.ManageWorkers"
      />
  <background:worker
      name="rename"
      handler="cipher.background.tests.hosts.test_plone_rules.rename"
      schema="cipher.background.tests.hosts.test_plone_rules.INewName"
      title="Rename"
      />
"""

RULE = '/plone/++rule++own'
ADD = RULE + '/+action/cipher.background.actions.Start'


def edit(worker):
    """Report that the context was changed."""
    from zope.event import notify
    from zope.lifecycleevent import ObjectModifiedEvent
    notify(ObjectModifiedEvent(worker.context))


def rename(worker, name):
    """Set the title of the context."""
    worker.context.title = name


class INewName(Interface):
    """Input that is required."""

    name = TextLine(title='Name')


class RuleTests(PloneCase):

    zcml = ZCML

    def addRule(self, event):
        """Add a rule about *event* to the site."""
        from plone.app.contentrules.api import assign_rule
        from plone.app.contentrules.rule import Rule
        from plone.contentrules.engine.interfaces import IRuleStorage
        from zope.component import getUtility
        with self.acting('owner', self.root.acl_users), self.requesting(
                self.site):
            storage = getUtility(IRuleStorage)
            rule = storage['own'] = Rule()
            rule.title, rule.event, rule.enabled = 'Own', event, True
            assign_rule(self.site, 'own')
        transaction.commit()
        self.addCleanup(self.removeRule)
        return rule

    def removeRule(self):
        from plone.app.contentrules.api import unassign_rule
        from plone.contentrules.engine.interfaces import IRuleStorage
        from zope.component import getUtility
        transaction.begin()
        with self.acting('owner', self.root.acl_users), self.requesting(
                self.site):
            unassign_rule(self.site, 'own')
            del getUtility(IRuleStorage)['own']
        transaction.commit()

    def addAction(self, rule, worker):
        """Add the action to *rule*."""
        from cipher.background.hosts.plone.contentrule import StartAction
        action = StartAction()
        action.worker = worker
        rule.actions.append(action)
        transaction.commit()

    def setUp(self):
        super().setUp()
        self.known = self.listRuns('touch')

    def listRuns(self, name):
        """Return the ids of the runs of a type."""
        transaction.begin()
        return {run.id for run in self.registry.listRuns(
            types=[name], limit=500).items}

    def runNew(self):
        """Wait for the runs that the test has started; return their status.
        """
        return [self.wait(run_id) for run_id in (
            self.listRuns('touch') - self.known)]

    def publish(self, doc, commit=True):
        """Publish *doc* as a person without our permissions."""
        from plone.app.contentrules.handlers import close
        with self.acting('editor', self.site.acl_users), self.requesting(
                self.site):
            tool = self.site.portal_workflow
            tool.setChainForPortalTypes(
                ['Document'], ['simple_publication_workflow'])
            tool.notifyCreated(doc)
            self.site.manage_permission(
                'Review portal content', ['Manager', 'Editor'], 1)
            tool.doActionFor(doc, 'publish')
            (transaction.commit if commit else transaction.abort)()
            close(None)   # as at the end of a request

    def test_publishing_starts_a_worker_about_the_content(self):
        from Products.CMFCore.interfaces import IActionSucceededEvent
        self.addAction(self.addRule(IActionSucceededEvent), 'touch')
        doc = self.add(self.site, 'doc', title='before')
        self.publish(doc, commit=False)
        self.assertEqual(self.runNew(), [])
        self.publish(doc)
        run, = self.runNew()
        self.assertEqual((run.state, run.starter, run.result),
                         ('succeeded', '/plone:editor', 'editor'))
        self.assertEqual(doc.title, 'touched by editor')

    def test_adding_content_starts_a_worker_about_it(self):
        from zope.lifecycleevent.interfaces import IObjectAddedEvent
        self.addAction(self.addRule(IObjectAddedEvent), 'touch')
        doc = self.add(self.site, 'doc', title='before')
        run, = self.runNew()
        self.assertEqual(run.state, 'succeeded')
        self.assertEqual(doc.title, 'touched by owner')

    def test_rule_acts_on_the_events_of_each_work(self):
        from zope.lifecycleevent.interfaces import IObjectModifiedEvent
        self.addAction(self.addRule(IObjectModifiedEvent), 'touch')
        doc = self.add(self.site, 'doc', title='before')
        # There are two threads, so one of them works twice.
        for number in range(1, 4):
            run = self.registry.start('edit', doc)
            transaction.commit()
            self.assertEqual(self.wait(run.id).state, 'succeeded')
            self.assertEqual(len(self.runNew()), number)

    def test_action_that_cannot_start_says_so_and_keeps_the_change(self):
        from zope.lifecycleevent.interfaces import IObjectAddedEvent
        rule = self.addRule(IObjectAddedEvent)
        for worker in 'gone', 'rename':
            self.addAction(rule, worker)
            with self.subTest(worker), self.assertLogs(
                    'cipher.background', 'ERROR') as logs:
                self.add(self.site, worker)
                self.assertIn(worker, self.site.objectIds())
            self.assertIn("worker '%s' was not started" % worker,
                          logs.output[0])
            rule.actions.pop()
        self.assertEqual(self.runNew(), [])

    # The form

    def save(self, user, worker, path=ADD):
        """Fill the form in; return (status, headers, text)."""
        status, headers, text = self.get(path, user)
        self.assertEqual(status, 200, headers)
        token = re.search('name="_authenticator"[^>]*value="([^"]*)"', text)
        return self.get(path, user, urllib.parse.urlencode({
            'form.widgets.worker:list': worker, 'form.buttons.save': 'Save',
            '_authenticator': token[1]}).encode())

    def test_form_adds_the_action_and_changes_it(self):
        from zope.lifecycleevent.interfaces import IObjectAddedEvent
        rule = self.addRule(IObjectAddedEvent)
        text = self.get(RULE + '/@@manage-elements', 'admin')[2]
        self.assertIn('Start a background worker', text)
        text = self.get(ADD, 'admin')[2]
        self.assertEqual(
            re.findall('<option[^>]*value="([^"]*)"', text),
            ['announce', 'edit', 'touch'])
        status, headers, text = self.save('admin', 'touch')
        self.assertEqual(status, 302, text)
        transaction.begin()
        self.assertEqual([one.worker for one in rule.actions], ['touch'])
        text = self.get(RULE + '/@@manage-elements', 'admin')[2]
        self.assertIn('Start in the background: Touch', text)
        path = re.search(
            'href="%s([^"]*/edit[?][^"]*)"' % re.escape(self.url), text)[1]
        status, headers, text = self.save('admin', 'edit', path)
        self.assertEqual(status, 302, text)
        transaction.begin()
        self.assertEqual([one.worker for one in rule.actions], ['edit'])

    def test_form_refuses_bad_input(self):
        from zope.lifecycleevent.interfaces import IObjectAddedEvent
        rule = self.addRule(IObjectAddedEvent)
        for worker in 'rename', 'gone', '':
            with self.subTest(worker):
                status, _headers, text = self.save('admin', worker)
                self.assertEqual(status, 200)
                self.assertIn('There were some errors', text)
        transaction.begin()
        self.assertEqual(len(rule.actions), 0)
        self.assertIn('require_login', self.get(ADD, 'editor')[1].get(
            'Location', ''))

    def test_form_shows_only_what_the_person_may_start(self):
        from zope.lifecycleevent.interfaces import IObjectAddedEvent

        from cipher.background.tests.hosts.test_zope import START
        rule = self.addRule(IObjectAddedEvent)
        self.site.manage_permission(START, ['Editor'], 1)
        self.site.manage_permission(
            'Content rules: Manage rules',
            ['Manager', 'Site Administrator', 'Editor'], 1)
        transaction.commit()
        self.addCleanup(self.install)
        self.assertIn('value="touch"', self.get(ADD, 'editor')[2])
        self.assertNotIn('value="edit"', self.get(ADD, 'editor')[2])
        self.assertEqual(self.save('editor', 'edit')[0], 200)
        transaction.begin()
        self.assertEqual(len(rule.actions), 0)

    def test_site_without_a_registry_says_so(self):
        from zope.lifecycleevent.interfaces import IObjectAddedEvent
        self.addAction(self.addRule(IObjectAddedEvent), 'touch')
        removeRegistry(self.site)
        transaction.commit()
        self.addCleanup(transaction.commit)
        self.addCleanup(addRegistry, self.site)
        self.addCleanup(transaction.begin)
        self.assertIn('This site has no registry of background runs.',
                      self.get(ADD, 'admin')[2])
        with self.assertLogs('cipher.background', 'ERROR') as logs:
            self.add(self.site, 'doc')
        self.assertIn('install the add-on', logs.output[0])
