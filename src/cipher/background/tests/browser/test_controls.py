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
"""The form's controls for numbers, dates and times, and what they take."""
import datetime
import decimal
from html import unescape
from zoneinfo import ZoneInfo

import transaction
from webtest import Upload
from zope.component import getGlobalSiteManager
from zope.component import provideAdapter
from zope.interface import Interface
from zope.interface.common.idatetime import ITZInfo
from zope.publisher.interfaces.browser import IBrowserRequest
from zope.schema import Bytes
from zope.schema import Date
from zope.schema import Datetime
from zope.schema import Decimal
from zope.schema import Float
from zope.schema import Int
from zope.schema import List
from zope.schema import Object
from zope.schema import Time

from cipher.background.interfaces import IWorkerType
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.live import declareWorker


UTC = datetime.timezone.utc
NIGHT = datetime.datetime(2023, 3, 5, 21, 7, 8)


class IOdd(Interface):

    whole = Int(title='Whole', required=False, min=-10000)
    rate = Float(title='Rate', required=False)
    price = Decimal(title='Price', required=False)
    day = Date(title='Day', required=False)
    at = Time(title='At', required=False)
    moment = Datetime(title='Moment', required=False)
    zoned = Datetime(title='Zoned', required=False,
                     min=datetime.datetime(2000, 1, 1, tzinfo=UTC))
    naive = Datetime(title='Naive', required=False,
                     min=datetime.datetime(2000, 1, 1))
    days = List(title='Days', required=False, value_type=Date())


class IDefaults(Interface):

    whole = Int(title='Whole', default=1234567)
    rate = Float(title='Rate', default=0.00012)
    price = Decimal(title='Price', default=decimal.Decimal('1234.50'))
    day = Date(title='Day', default=NIGHT.date())
    at = Time(title='At', default=NIGHT.time())
    moment = Datetime(title='Moment', default=NIGHT)
    zoned = Datetime(title='Zoned', default=NIGHT.replace(tzinfo=UTC))
    fine = Datetime(title='Fine', default=NIGHT.replace(microsecond=1))


class IPart(Interface):

    name = Int(title='Name')


class IOptional(Interface):

    part = Object(title='Part', schema=IPart, required=False)
    parts = List(title='Parts', required=False,
                 value_type=Object(schema=IPart))
    file = Bytes(title='File', required=False)
    number = Int(title='Number', required=False)


class FormTests(BrowserTests):

    schema = IOdd

    def setUp(self):
        super().setUp()
        declareWorker('odd', print, schema=self.schema)
        self.addCleanup(getGlobalSiteManager().unregisterUtility,
                        provided=IWorkerType, name='odd')

    def setZone(self, name):
        zone = ZoneInfo(name)
        provideAdapter(lambda request: zone, (IBrowserRequest,), ITZInfo)
        self.addCleanup(getGlobalSiteManager().unregisterAdapter,
                        None, (IBrowserRequest,), ITZInfo)

    def send(self, language='en', **values):
        """Return (input of the run or None, the page)."""
        path = 'start.html?type=odd'
        values = {'form.widgets.' + name.replace('__', '.'): value
                  for name, value in values.items()}
        answer = self.app('admin', HTTP_ACCEPT_LANGUAGE=language).post(
            '/++background++/' + path, {
                **values, 'type': 'odd', 'csrf_token': self.token(path),
                'form.buttons.start': '1'}, expect_errors=True)
        if answer.status_int != 303:
            self.assertEqual(answer.status_int, 200, answer.text[:500])
            return None, unescape(answer.text)
        self.sync()
        run, = self.registry.listRuns().items
        input = self.registry.get(run.id).input
        self.registry.requestStop(run.id)
        self.registry.remove(run.id)
        transaction.commit()
        return input, None


class NumberTests(FormTests):

    def test_numbers_are_as_in_the_language(self):
        # None: they are refused.
        for language, text, expected in (
                ('en', '1250.5', '1250.5'), ('en', '1,250.5', '1250.5'),
                ('en', '1,234,567', '1234567'), ('en', ' 7 ', '7'),
                ('en', '.5', '0.5'), ('en', '-1,250', '-1250'),
                ('en', '\N{MINUS SIGN}3', '-3'), ('en', '+3', '3'),
                ('en', '12,50', None), ('en', '1,2,3', None),
                ('en', '1234,567', None), ('en', '1,250,5', None),
                ('en', '1.250,5', None), ('en', '1, 250', None),
                ('en', ',250', None), ('en', '1,250 000', None),
                ('de', '1250,5', '1250.5'), ('de', '1.250,5', '1250.5'),
                ('de', '1.250', '1250'), ('de', '12.50', None),
                ('de', '1,250.5', None), ('de', '1 250', '1250'),
                ('lt', '1\N{NARROW NO-BREAK SPACE}250,5', '1250.5'),
                ('lt', '1\N{NO-BREAK SPACE}250', '1250'),
                ('lt', '12.50', None),
                ('en', '1e5', None), ('en', 'nan', None), ('en', 'inf', None),
                ('en', '\N{ARABIC-INDIC DIGIT THREE}', None),
                ('en', '0x10', None), ('en', '1_000', None),
                ('en', '-', None), ('en', '.', None), ('en', '1.', None),
                ('en', '9' * 1001, None), ('en', '--1', None)):
            for name, made in (('rate', float), ('price', decimal.Decimal),
                               ('whole', int)):
                with self.subTest(language=language, text=text, field=name):
                    input, page = self.send(language, **{name: text})
                    if expected is None or (
                            made is int and '.' in expected):
                        self.assertIsNone(input)
                        self.assertIn(text[:70], page)
                    else:
                        self.assertIsNone(page)
                        self.assertEqual(input[name], made(expected))
                        self.assertIs(type(input[name]), made)

    def test_error_says_what_to_write_in_the_language(self):
        for language, text, said in (
                ('en', '12,50', '"12,50" is not a number in the format of '
                                'this page.  Write it like 1234.5.'),
                ('de', '12.50', '1234,5'), ('lt', '12.50', '1234,5')):
            page = self.send(language, rate=text)[1]
            # In the summary, and beside its field.
            self.assertEqual(page.count(said), 2, language)


class MomentTests(FormTests):

    def test_dates_are_taken_in_ISO_and_as_they_are_shown(self):
        day, moment = NIGHT.date(), NIGHT
        short = moment.replace(second=0)
        for language, name, text, expected in (
                ('en', 'day', '2023-03-05', day),
                ('en', 'day', 'Mar 5, 2023', day),
                ('en', 'day', '3/5/2023', day),
                ('en', 'day', '3/5/23', None),
                ('en', 'day', '05.03.2023', None),
                ('en', 'day', '2023-02-30', None),
                ('en', 'day', '2023-03-05T21:07', None),
                ('en', 'day', 'today', None),
                ('de', 'day', '05.03.2023', day),
                ('de', 'day', '5.3.2023', day),
                ('de', 'day', '05.03.23', None),
                ('de', 'day', '31.02.2023', None),
                ('lt', 'day', '2023-03-05', day),
                ('', 'day', '2023-03-05', day),
                ('', 'day', 'Mar 5, 2023', None),
                ('en', 'at', '21:07:08', moment.time()),
                ('en', 'at', '21:07', short.time()),
                ('en', 'at', '9:07:08\N{NARROW NO-BREAK SPACE}PM',
                 moment.time()),
                ('en', 'at', '25:00', None),
                ('en', 'at', '21:07+01:00', None),
                ('de', 'at', '21:07', short.time()),
                ('en', 'moment', '2023-03-05T21:07', short),
                ('en', 'moment', '2023-03-05 21:07:08', moment),
                ('en', 'moment', '2023-03-05T21:07:08Z',
                 moment.replace(tzinfo=UTC)),
                ('en', 'moment', 'Mar 5, 2023 9:07:08 PM', moment),
                ('en', 'moment', 'Mar 5, 23 9:07:08 PM', None),
                ('de', 'moment', '05.03.2023 21:07:08', moment),
                ('de', 'moment', '05.03.2023 21:07', short),
                ('de', 'moment', '05.03.23 21:07', None)):
            with self.subTest(language=language, text=text):
                input, page = self.send(language, **{name: text})
                self.assertEqual(input and input[name], expected)
                if expected is None:
                    self.assertIn('"%s"' % text, page)
                    self.assertIn('value="%s"' % text, page)

    def test_what_pages_show_is_taken(self):
        self.setZone('Europe/Vilnius')
        for language in 'en', 'de', 'lt', '':
            for month in 1, 7:
                at = datetime.datetime(2023, month, 5, 21, 7, 8, tzinfo=UTC)
                run = self.makeRun()
                run.created_at = at.timestamp()
                transaction.commit()
                shown = self.app('admin', HTTP_ACCEPT_LANGUAGE=language).get(
                    '/++background++/%s/index.json' % run.id
                    ).json['text']['created']
                self.registry.requestStop(run.id)
                self.registry.remove(run.id)
                transaction.commit()
                with self.subTest(shown):
                    self.assertRegex(shown, 'EES?T$')
                    input, page = self.send(language, zoned=shown)
                    self.assertIsNone(page)
                    self.assertEqual(input['zoned'], at)

    def test_zone_is_that_of_the_pages_where_the_field_is_about_one(self):
        self.setZone('Asia/Tokyo')
        expected = datetime.datetime(2023, 3, 5, 12, 7, tzinfo=UTC)
        for text in ('2023-03-05T21:07', '2023-03-05T12:07Z',
                     'Mar 5, 2023 9:07:00 PM'):
            self.assertEqual(self.send(zoned=text)[0]['zoned'], expected)

    def test_zone_is_dropped_where_the_field_is_about_none(self):
        self.setZone('Asia/Tokyo')
        expected = datetime.datetime(2023, 3, 5, 21, 7)
        for text in ('2023-03-05T21:07', '2023-03-05T12:07Z',
                     'Mar 5, 2023 9:07:00 PM JST'):
            self.assertEqual(self.send(naive=text)[0]['naive'], expected)
        page = self.send(naive='1969-12-31T00:00Z')[1]
        self.assertIn('Value is too small', page)
        self.assertIsNone(self.send(naive='9999-12-31T23:59-23:59')[0])

    def test_inner_fields_are_taken_likewise(self):
        input = self.send('de', days__count='2', days__0='05.03.2023',
                          days__1='2023-03-06')[0]
        self.assertEqual(input['days'], [
            datetime.date(2023, 3, 5), datetime.date(2023, 3, 6)])
        page = self.send(days__count='2', days__0='x', days__1='<y>')[1]
        for text in 'x', '<y>':
            self.assertEqual(page.count('"%s" is not a date' % text), 1)


class DefaultTests(FormTests):

    schema = IDefaults

    def test_controls_show_defaults_and_take_them_back(self):
        self.setZone('Asia/Tokyo')
        for language, expected in (
                ('en', {'whole': '1234567', 'rate': '0.00012',
                        'price': '1234.50'}),
                ('de', {'whole': '1234567', 'rate': '0,00012',
                        'price': '1234,50'})):
            page = self.app('admin', HTTP_ACCEPT_LANGUAGE=language).get(
                '/++background++/start.html?type=odd')
            form = page.forms[0]
            shown = {name: form['form.widgets.' + name]
                     for name in self.schema}
            expected.update({
                'day': '2023-03-05', 'at': '21:07:08',
                'moment': '2023-03-05T21:07:08',
                'zoned': '2023-03-06T06:07:08',
                'fine': '2023-03-05T21:07:08.000001'})
            self.assertEqual(expected, {
                name: field.value for name, field in shown.items()})
            self.assertEqual(
                {'day': 'date', 'at': 'time', 'moment': 'datetime-local',
                 'zoned': 'datetime-local', 'fine': 'text', 'whole': 'text',
                 'rate': 'text', 'price': 'text'},
                {name: field.attrs['type'] for name, field in shown.items()})
            self.assertEqual(shown['rate'].attrs['inputmode'], 'decimal')
            input, page = self.send(language, **expected)
            self.assertIsNone(page)
            for name, field in self.schema.namesAndDescriptions():
                self.assertEqual(input[name], field.default, name)


class OptionalTests(FormTests):

    schema = IOptional

    def test_objects_and_files_may_be_left_out(self):
        for number, file, expected in (
                ('', None, (None, None)), ('3', None, (3, None)),
                ('3', b'\xff', (3, b'\xff'))):
            with self.subTest(number=number, file=file):
                # As a browser sends it: with all that is in the form.
                form = self.get('start.html?type=odd').forms[0]
                form['form.widgets.number'] = number
                if file is not None:
                    form['form.widgets.file'] = Upload('a.bin', file)
                answer = form.submit('form.buttons.start')
                self.assertEqual(answer.status_int, 303, answer.text)
                self.sync()
                run_id = answer.location.split('/')[-2]
                self.assertEqual(self.registry.get(run_id).input, {
                    'part': None, 'parts': None, 'number': expected[0],
                    'file': expected[1]})
