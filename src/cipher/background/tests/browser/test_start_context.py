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
"""The start form, by a link that says what the run is to be about."""
import transaction
from zope.annotation.interfaces import IAttributeAnnotatable
from zope.interface import implementer
from zope.security.checker import CheckerPublic
from zope.security.checker import NamesChecker
from zope.security.checker import defineChecker
from zope.security.checker import undefineChecker
from zope.securitypolicy.interfaces import IPrincipalPermissionManager

from cipher.background.tests.support.browser import BASE
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.browserworld import Document


@implementer(IAttributeAnnotatable)
class GrantedDocument(Document):
    """A document on which somebody may have a permission of its own."""


class TestContextPermission(BrowserTests):
    """The permission of the type is had on one object only."""

    path = 'start.html?type=publish&context.path=granted'

    def setUp(self):
        super().setUp()
        defineChecker(GrantedDocument, NamesChecker(
            ('title', '__name__', '__parent__'), CheckerPublic))
        self.addCleanup(undefineChecker, GrantedDocument)
        self.root['granted'] = granted = GrantedDocument('Granted')
        IPrincipalPermissionManager(granted).grantPermissionToPrincipal(
            'browser.Publish', 'test.editor')
        transaction.commit()

    def list(self):
        self.sync()
        return self.registry.listRuns().items

    def start(self, path, user='editor', **form):
        form.setdefault('form.widgets.context.path', 'granted')
        return self.post(
            path, user, csrf_token=self.get('token.json', user).json[
                'csrf_token'], type='publish', form__buttons__start='1',
            form__widgets__title='x', form__widgets__count='1', **form)

    def test_form_opens_with_the_context(self):
        answer = self.get(self.path, 'editor')
        self.assertEqual(answer.status_int, 200)
        self.assertRegex(
            answer.text, r'<input id="form-widgets-context-path"[^>]*'
                         r'value="granted"')
        browser = self.browser('editor')
        browser.open(BASE + '/' + self.path)
        browser.getControl(name='form.widgets.title').value = 'x'
        browser.getControl(name='form.buttons.start').click()
        run, = self.list()
        self.assertEqual(
            self.registry.getContext(run.id), self.root['granted'])
        self.assertEqual(run.starter, 'test.editor')

    def test_form_stays_shut_without_it(self):
        for path in ('', 'report', 'nowhere', 'secret', '@@index.html',
                     'granted/title', 'x' * 2000):
            answer = self.get(
                'start.html?type=publish&context.path=' + path, 'editor')
            self.assertEqual(answer.status_int, 403, path)
        for user, status in (('viewer', 403), (None, 401)):
            self.assertEqual(self.get(self.path, user).status_int, status)

    def test_registry_decides_on_what_is_posted(self):
        for path in 'report', '', 'secret':
            answer = self.start(self.path, **{
                'context.path': 'granted',
                'form.widgets.context.path': path})
            self.assertEqual(answer.status_int, 403, path)
        self.assertEqual(self.list(), [])
        self.assertEqual(self.start(
            'start.html?type=publish').status_int, 303)

    def test_wrong_path_is_told_in_the_form(self):
        answer = self.start(self.path, **{
            'context.path': 'granted', 'form.widgets.context.path': 'typo'})
        self.assertEqual(answer.status_int, 200)
        self.assertIn('does not lead to an object', answer.text)
        self.assertIn('value="typo"', answer.text)
        self.assertRegex(answer.text, 'name="context.path"\\s+'
                                      'value="granted"')

    def test_JSON_asks_the_same_permission(self):
        token = self.get('token.json', 'editor').json['csrf_token']
        for context, status in (('granted', 202), ('report', 403),
                                (None, 403)):
            answer = self.app('editor').post_json(
                BASE + '/start.json', {
                    'type': 'publish', 'input': {'title': 'x'},
                    'context': context},
                headers={'X-CSRF-Token': token}, expect_errors=True)
            self.assertEqual(answer.status_int, status, context)
