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
"""Tests of `cipher.background.store.thresholds`, and of the form for them."""
import transaction
from zope.interface.verify import verifyObject
from zope.schema import getFieldsInOrder

from cipher.background.interfaces import InvalidThreshold
from cipher.background.interfaces import IThresholds
from cipher.background.store.thresholds import Thresholds
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import login


FIELDS = getFieldsInOrder(IThresholds)


class ThresholdsTests(SiteTests):

    def stored(self):
        return vars(self.registry.getThresholds())

    def test_defaults_are_those_of_the_schema(self):
        verifyObject(IThresholds, self.registry.getThresholds())
        self.assertEqual({name: field.default for name, field in FIELDS},
                         self.stored())
        self.assertNotIn('thresholds', vars(self.registry))

    def test_each_can_be_changed_and_is_in_the_journal(self):
        login('admin')
        for name, field in FIELDS:
            with self.subTest(name):
                value = type(field.default)(field.min + 10)
                self.registry.changeThresholds({name: value}, 'louder')
                self.assertEqual(value, self.stored()[name])
                action = self.registry.listActions()[0][0]
                self.assertEqual(
                    ('change thresholds', '%s=%s' % (name, value), 'admin',
                     'louder'), (action.verb, action.subject,
                                 action.principal, action.reason))
        transaction.commit()
        self.registry.changeThresholds({
            name: field.default for name, field in FIELDS})
        self.assertEqual({}, self.registry.thresholds)

    def test_whole_numbers_are_good_for_floats(self):
        self.registry.changeThresholds({'busy_after': 60})
        self.assertEqual(60.0, self.stored()['busy_after'])

    def test_what_is_no_news_writes_nothing(self):
        transaction.commit()
        self.registry.changeThresholds({'busy_after': 900.0})
        self.assertFalse(self.connection._registered_objects)

    def test_none_is_for_those_that_may_be_switched_off(self):
        for name, field in FIELDS:
            with self.subTest(name):
                if field.required:
                    with self.assertRaises(InvalidThreshold):
                        self.registry.changeThresholds({name: None})
                else:
                    self.registry.changeThresholds({name: None})
                    self.assertIsNone(self.stored()[name])

    def test_bad_values_are_refused_and_change_nothing(self):
        for name, field in FIELDS:
            for value in ('7', [], float('nan'), float('inf'), field.min - 1,
                          field.max * 2, True, b'7', object()):
                with self.subTest(name=name, value=value):
                    with self.assertRaises(InvalidThreshold) as caught:
                        self.registry.changeThresholds(
                            {'late_after': 7.0, name: value})
                    self.assertEqual(name, caught.exception.name)
                    self.assertIn('threshold %s: expected a number' % name,
                                  str(caught.exception))
        with self.assertRaisesRegex(InvalidThreshold, 'stalled_after'):
            self.registry.changeThresholds({'stalled': 7})
        self.assertEqual((), self.registry.thresholds)

    def test_odd_values_that_are_stored_count_as_the_default(self):
        expected = vars(Thresholds())
        for stored in (None, 7, [], {'busy_after': 'x'}, {'busy_after': []},
                       {'failing_number': 2.5}, {7: 8}, {'more': 1}):
            with self.subTest(stored):
                self.assertEqual(expected, vars(Thresholds(stored)))


class FormTests(BrowserTests):

    def change(self, user='admin', **values):
        token = self.get('token.json', user).json['csrf_token']
        return self.post('thresholds.html', user, csrf_token=token, **values)

    def thresholds(self):
        self.sync()
        return self.registry.getThresholds()

    def test_form_shows_each_and_the_overview_leads_there(self):
        self.assertIn('thresholds.html"', self.get('index.html').text)
        self.assertNotIn('thresholds.html',
                         self.get('index.html', 'viewer').text)
        page = self.get('thresholds.html').text
        for name, field in FIELDS:
            self.assertRegex(
                page, '<input type="number"[^>]* name="%s"' % name)
            self.assertIn(field.description, page)

    def test_numbers_are_stored_and_empty_is_never(self):
        answer = self.change(
            busy_after='90.5', failing_number='7', stalled_after='')
        self.assertEqual(answer.status_int, 303)
        thresholds = self.thresholds()
        self.assertEqual(
            (90.5, 7, None), (thresholds.busy_after,
                              thresholds.failing_number,
                              thresholds.stalled_after))
        self.assertEqual(60.0, thresholds.late_after)
        self.assertIn('value="90.5"', self.get('thresholds.html').text)

    def test_bad_numbers_are_said_at_their_field_and_stay(self):
        for text in ('x', '-1', '1e3', '1_0', 'nan', '0', '99999999999',
                     '1,5', '٣', '"><b>'):
            with self.subTest(text):
                answer = self.change(busy_after=text, late_after='70')
                self.assertEqual(answer.status_int, 400)
                self.assertEqual(1, answer.text.count('cb-field-message'))
                self.assertIn('Write a number from 1 to 1000000000, or '
                              'leave the field empty.', answer.text)
                self.assertNotIn('"><b>', answer.text)
        answer = self.change(failing_percent='')
        self.assertEqual(answer.status_int, 400)
        self.assertIn('Write a number from 0 to 100.', answer.text)
        self.assertEqual(vars(Thresholds()), vars(self.thresholds()))

    def test_only_managers_change_them(self):
        self.assertEqual(403, self.get(
            'thresholds.html', 'viewer').status_int)
        self.assertEqual(403, self.change(
            'viewer', busy_after='70').status_int)
        self.assertEqual(900.0, self.thresholds().busy_after)
