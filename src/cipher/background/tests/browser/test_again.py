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
"""Start again with changes: the form has the input of a run."""
import transaction

from cipher.background.tests.support.browser import BrowserTests


INPUT = {'title': 'Zwölf & <b>', 'count': 7, 'notify': True,
         'secret': 'Sesame-open-up', 'parts': ['text', 'notes']}


class AgainTests(BrowserTests):

    def setUp(self):
        super().setUp()
        self.run = self.makeFailed(type='publish')
        self.run.input = dict(INPUT)
        transaction.commit()

    def again(self, user='admin', type='publish', like=None, **query):
        """GET the form with the input of a run."""
        query = ''.join('&%s=%s' % item for item in query.items())
        return self.get('start.html?type=%s&like=%s%s' % (
            type, self.run.id if like is None else like, query), user)

    def link(self, user='admin'):
        """Return the link of the page of the run, or None."""
        links = self.get(self.run.id + '/index.html', user).html.find_all(
            'a', string='Start again with changes…')
        return links[0]['href'] if links else None

    def test_form_has_the_input_but_no_secret(self):
        answer = self.again()
        form = answer.forms[0]
        self.assertEqual(form['form.widgets.title'].value, INPUT['title'])
        self.assertEqual(form['form.widgets.count'].value, '7')
        self.assertEqual(form['form.widgets.notify'].value, 'true')
        self.assertEqual(
            [box.value for box in form.fields['form.widgets.parts:list']
             if box.checked], ['text', 'notes'])
        self.assertEqual(form['form.widgets.secret'].value, '')
        self.assertNotIn('Sesame', answer.text)
        self.assertIn('The form has the input of run ' + self.run.id,
                      answer.text)
        self.assertIn('no longer fit: Secret.', answer.text)

    def test_changed_input_is_started(self):
        form = self.again().forms[0]
        form['form.widgets.title'] = 'Thirteen'
        answer = form.submit('form.buttons.start')
        self.assertEqual(answer.status_int, 303)
        self.sync()
        run_id = answer.headers['Location'].split('/')[-2]
        self.assertNotEqual(run_id, self.run.id)
        self.assertEqual(self.registry.get(run_id).input, {
            **INPUT, 'title': 'Thirteen', 'secret': None})
        self.assertEqual(self.run.input, INPUT)

    def test_errors_keep_what_was_changed(self):
        form = self.again().forms[0]
        form['form.widgets.title'] = 'Thirteen'
        form['form.widgets.count'] = '0'
        answer = form.submit('form.buttons.start')
        self.assertEqual(answer.status_int, 200)
        form = answer.forms[0]
        self.assertEqual(form['form.widgets.title'].value, 'Thirteen')
        self.assertEqual(form['form.widgets.count'].value, '0')

    def test_values_that_do_not_fit_any_more_are_named(self):
        self.run.input = {'title': 'x', 'count': 'many', 'parts': ['sound'],
                          'gone': 1}
        transaction.commit()
        answer = self.again()
        self.assertEqual(answer.status_int, 200)
        form = answer.forms[0]
        self.assertEqual(form['form.widgets.title'].value, 'x')
        self.assertIn('Parts', answer.text.partition('no longer fit:')[2]
                      .partition('<')[0])

    def test_stored_oddities_are_no_error(self):
        for odd in (None, 'text', {'title': object}, {'title': ['x']},
                    {'notify': 'perhaps', 'count': [], 'parts': 'text'},
                    {1: 2}, {'title': '\ud800'}):
            with self.subTest(odd=odd):
                self.run.input = odd
                transaction.commit()
                self.assertEqual(self.again().status_int, 200)

    def test_run_that_is_not_there(self):
        other = self.makeFailed()
        for like in '9-99', 'x', other.id, '%00', 'a' * 500:
            answer = self.again(like=like)
            self.assertEqual(answer.status_int, 404, like)
            self.assertIn('This run no longer exists.', answer.text)

    def test_input_needs_the_permission_for_details(self):
        self.assertEqual(self.again('viewer').status_int, 403)
        self.assertIsNone(self.link('viewer'))
        self.assertEqual(self.again('stranger').status_int, 403)
        self.assertEqual(self.again(None).status_int, 401)

    def test_link_leads_to_the_form(self):
        answer = self.get(self.link())
        self.assertEqual(answer.forms[0]['form.widgets.count'].value, '7')
        cancel = answer.html.find('a', string='Cancel')['href']
        self.assertEqual(self.get(cancel).status_int, 200)
        self.assertIn(self.run.id, cancel)

    def test_link_has_the_context(self):
        run = self.registry.start('publish', self.root['report'], **INPUT)
        transaction.commit()
        self.run = run
        self.registry.requestStop(run.id)
        transaction.commit()
        answer = self.get(self.link())
        self.assertEqual(
            answer.forms[0]['form.widgets.context.path'].value, 'report')

    def test_run_without_an_input_has_no_link(self):
        self.run = self.makeFailed()
        self.assertIsNone(self.link())
