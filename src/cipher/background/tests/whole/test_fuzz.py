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
"""Whatever comes in: texts, numbers, keys and bodies drawn by chance.

The suite draws a few, always the same.  For many, each time others::

    CIPHER_BACKGROUND_EXAMPLES=5000 bin/test -m test_fuzz
"""
import datetime
import functools
import json
import math
import os
import unittest
from fractions import Fraction
from unittest import mock

import transaction
from hypothesis import HealthCheck
from hypothesis import assume
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from zope.interface import Interface
from zope.publisher.browser import TestRequest
from zope.schema import Bool
from zope.schema import Date
from zope.schema import Dict
from zope.schema import Float
from zope.schema import Int
from zope.schema import List
from zope.schema import Password
from zope.schema import Set
from zope.schema import Text
from zope.schema import TextLine

from cipher.background import testing
from cipher.background.browser.api import TOKEN_HEADER
from cipher.background.browser.query import BadFilter
from cipher.background.browser.query import RunQuery
from cipher.background.declarations.fitting import INPUT_LIMIT
from cipher.background.declarations.schedule import Schedule
from cipher.background.declarations.schedule import checkCron
from cipher.background.declarations.schedule import getZone
from cipher.background.declarations.workertype import WorkerType
from cipher.background.events import RunFailedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import ORDERS
from cipher.background.interfaces import STATES
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import InvalidInput
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests
from cipher.background.util.masking import MASK
from cipher.background.util.masking import makeMasker
from cipher.background.util.plaindata import canonical
from cipher.background.util.plaindata import plainCopy
from cipher.background.util.text import CUT
from cipher.background.util.text import MESSAGE_LIMIT
from cipher.background.util.text import clean
from cipher.background.util.text import cleanLine
from cipher.background.util.text import formatTraceback
from cipher.background.work.worker import Worker


EXAMPLES = int(os.environ.get('CIPHER_BACKGROUND_EXAMPLES', 0))

NASTY = ['', '\0', '\ud800', '\u202e', '\r\n', '\x85\u2028', '"', "'", '\\',
         '%s', '%(x)s', '${x}', '</script>', '=1+1', '•••', 'null', '-',
         'ß', 'İ', 'f1-1-1', 'id:', 'state:', 'type:"', CUT]

texts = st.one_of(
    st.text(st.characters(), max_size=20), st.sampled_from(NASTY),
    st.lists(st.sampled_from(NASTY), max_size=5).map(''.join),
    st.builds(lambda text, number: text * number, st.text(
        st.characters(), min_size=1, max_size=3), st.integers(0, 3000)))

numbers = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.decimals(), st.fractions(),
    st.sampled_from([10 ** 400, 1e308, 2 ** 63, -2 ** 63 - 1]))
# Too long for a text, even for that of a failing example.
too_big = st.just(5000).map(lambda digits: -10 ** digits)

atoms = st.one_of(
    st.none(), numbers, texts, st.binary(max_size=20), st.dates(),
    st.datetimes(), st.times(), st.timedeltas(), st.uuids(),
    st.complex_numbers())


class Odd:
    """No plain data, and it cannot be shown either."""

    def __repr__(self):
        raise RuntimeError('no repr')


class OddText(str):
    """A text that says something else."""

    def __str__(self):
        return 'else'

    __repr__ = __str__


odd = st.one_of(st.builds(Odd), st.builds(OddText, texts),
                st.sampled_from([len, Interface, OSError('x'), object()]))


def values(leaves):
    """Return a strategy of nested data."""
    return st.recursive(leaves, lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner),
        st.dictionaries(texts | st.integers() | st.binary(max_size=3), inner,
                        max_size=4),
        st.frozensets(st.integers() | texts, max_size=3)), max_leaves=15)


anything = values(atoms | odd)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        texts, inner, max_size=3), max_leaves=8)

times = st.none() | st.floats() | st.integers() | st.sampled_from(
    [1e300, 1.8e9, -1e18, 10 ** 400, 9e12])


def fuzz(examples, /, **strategies):
    """Decorate a test: so many examples, or as the environment says."""
    options = settings(
        max_examples=EXAMPLES or examples, deadline=None, database=None,
        derandomize=not EXAMPLES, suppress_health_check=list(HealthCheck))
    return lambda test: options(given(**strategies)(test))


class IAnything(Interface):
    """Whatever there is."""

    text = Text(required=False)
    line = TextLine(required=False)
    number = Int(required=False)
    ratio = Float(required=False, min=-1e9)
    is_so = Bool(required=False)
    day = Date(required=False)
    many = List(value_type=Int(), required=False)
    some = Set(value_type=TextLine(), required=False)
    table = Dict(key_type=TextLine(), value_type=List(value_type=Text()),
                 required=False)
    password = Password(required=False)


def same(one, other):
    """Return whether both are the same, a nan and all."""
    return canonical(one) == canonical(other)


class InputTests(unittest.TestCase):

    layer = Long

    worker_type = WorkerType('odd', handler=len, schema=IAnything)

    @fuzz(150, given=st.dictionaries(
        st.sampled_from(list(IAnything)) | texts | st.integers(), anything,
        max_size=4))
    def test_any_input_is_copied_or_refused(self, given):
        try:
            cleaned = self.worker_type.cleanInput(given)
        except InvalidInput as error:
            self.assertTrue(str(error))
            return
        self.assertEqual(set(cleaned), set(IAnything))
        for name, value in given.items():
            copy = plainCopy(value)
            # A whole number is a float and a text a date where the field
            # wants that.
            self.assertTrue(same(cleaned[name], copy)
                            or name == 'ratio' and cleaned[name] == copy
                            or name == 'day' and str(cleaned[name]) == copy)
            if isinstance(value, (list, dict)):
                self.assertIsNot(cleaned[name], value)

    @fuzz(20, text=texts, number=st.integers(0, 30000))
    def test_size_is_limited(self, text, number):
        given = {'text': text * number}
        size = len(given['text'].encode('utf-8', 'surrogatepass'))
        assume(size < 1000000)
        try:
            self.worker_type.cleanInput(given)
        except InvalidInput:
            self.assertGreater(size, INPUT_LIMIT - 1000)
        else:
            self.assertLessEqual(size, INPUT_LIMIT)

    @fuzz(100, value=anything)
    def test_plain_data_is_copied_or_refused(self, value):
        try:
            copy = plainCopy(value)
        except ValueError:
            return
        self.assertTrue(same(plainCopy(copy), copy))


class TextTests(unittest.TestCase):

    layer = Long

    @fuzz(100, text=texts, limit=st.integers(len(CUT), 600))
    def test_text_is_clean_and_short(self, text, limit):
        for made in clean(text, limit), cleanLine(text, limit):
            self.assertLessEqual(len(made), limit)
            made.encode('utf-8')
            self.assertEqual(made, clean(made, limit))
            self.assertNotIn('\0', made)
        self.assertNotIn('\n', cleanLine(text, limit))
        self.assertNotIn('\r', cleanLine(text, limit))

    @fuzz(100, before=texts, after=texts, secret=st.text(
        st.characters(), min_size=4, max_size=30).filter(
            lambda text: not set(text) & set(CUT + '\u2022')))
    def test_secret_is_never_shown(self, before, after, secret):
        class ISecret(Interface):
            password = Password()

        masker = makeMasker(ISecret, {'password': secret})
        assume(secret not in before + after)
        text = before + secret + after
        for made in (text, clean(text, len(text)), cleanLine(text, len(text)),
                     repr(text)):
            shown = [masker.text(made)]
            for size in range(len(before), len(made), 7):
                shown += masker.head(made, size), masker.tail(made, size)
            for form in (secret, cleanLine(secret), repr(secret)[1:-1]):
                if form not in before and form not in after:
                    for one in shown:
                        self.assertNotIn(form, one)
        made = cleanLine(text, MESSAGE_LIMIT, masker)
        self.assertLessEqual(len(made), MESSAGE_LIMIT)
        if made.endswith(CUT) and len(before) < MESSAGE_LIMIT - len(CUT):
            # Nor a part of it where the text was cut.
            end = made[:-len(CUT)][len(before):]
            self.assertFalse(len(end) > 2 and cleanLine(
                secret).startswith(end), (made, end))


errors = st.one_of(
    st.builds(Exception, anything), st.builds(KeyError, anything),
    st.builds(OSError, st.integers(), texts, texts),
    st.builds(UnicodeEncodeError, st.just('ascii'), texts, st.integers(
        0, 9), st.integers(0, 9), texts),
    st.builds(SyntaxError, texts, st.tuples(
        texts, st.integers(-2, 9), st.integers(-2, 9), texts)))


class OddError(Exception):
    """Nobody can print it."""

    def __init__(self, answer):
        self.answer = answer

    def __str__(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    __repr__ = __str__


errors |= st.builds(OddError, errors | st.none() | texts | st.integers())


class WorkTests(SiteTests):
    """What a worker tells comes to the registry, whatever it is."""

    layer = Long

    def setUp(self):
        super().setUp()
        self.acts = []
        # Of what cannot be formatted, logging tells on the terminal.
        patcher = mock.patch('logging.raiseExceptions', False)
        patcher.start()
        self.addCleanup(patcher.stop)
        declareWorker('work', lambda worker: self.acts[-1](worker))

    def carry_out(self, act):
        self.acts.append(act)
        transaction.begin()
        run = self.registry.start('work')
        transaction.commit()
        try:
            testing.runPending(self.site)
        except Exception:
            pass   # that of the run
        transaction.begin()
        status = self.registry.getStatus(run.id)
        details = self.registry.getDetails(run.id)
        for text in (status.message, status.error_type, status.error_text,
                     details.traceback, details.log):
            if text is not None:
                text.encode('utf-8')
        str(status), str(details)
        self.registry.listRuns(text='nobody')
        return status

    @fuzz(40, done=numbers | too_big, total=numbers | st.none(),
          message=anything)
    def test_any_progress_is_told(self, done, total, message):
        status = self.carry_out(
            lambda worker: worker.setProgress(done, total, message))
        for number in status.progress_done, status.progress_total:
            self.assertTrue(number is None or math.isfinite(number))
        self.assertEqual(status.state, SUCCEEDED, status.error_text)
        self.assertTrue(status.message is None
                        or len(status.message) <= MESSAGE_LIMIT)

    @fuzz(40, value=anything | too_big)
    def test_any_result_is_kept(self, value):
        status = self.carry_out(lambda worker: value)
        self.assertEqual(status.state, SUCCEEDED, status.error_text)
        plainCopy(status.result)

    @fuzz(40, error=errors)
    def test_any_error_is_told(self, error):
        def act(worker):
            raise error

        status = self.carry_out(act)
        self.assertEqual(status.state, FAILED)
        self.assertEqual(status.error_type, type(error).__name__)
        formatTraceback(error)

    @fuzz(40, message=anything, arguments=st.lists(anything, max_size=2))
    def test_any_log_is_kept(self, message, arguments):
        status = self.carry_out(
            lambda worker: worker.log.info(message, *arguments))
        self.assertEqual(status.state, SUCCEEDED, status.error_text)

    @fuzz(40, cursor=anything)
    def test_any_cursor_is_kept_or_refused(self, cursor):
        def act(worker):
            if worker.cursor is None:
                worker.checkpoint(cursor)

        try:
            plainCopy(cursor)
        except ValueError:
            expected = FAILED
        else:
            expected = SUCCEEDED
        self.assertEqual(self.carry_out(act).state, expected)

    @fuzz(20, seconds=numbers)
    def test_any_delay_is_kept_or_refused(self, seconds):
        transaction.begin()
        try:
            run = self.registry.submit('work', delay=seconds)
        except (ValueError, TypeError, ArithmeticError):
            transaction.abort()
            return
        transaction.commit()
        self.assertTrue(run.due_at is None or run.due_at > run.created_at - 1)
        self.registry.requestStop(run.id)
        transaction.commit()

    @fuzz(60, reason=anything)
    def test_any_reason_is_kept(self, reason):
        transaction.begin()
        run = self.registry.start('work')
        self.registry.requestStop(run.id, reason)
        transaction.commit()
        (action, *_), _ = self.registry.listActions()
        if action.reason is not None:
            action.reason.encode('utf-8')
            self.assertLessEqual(len(action.reason), MESSAGE_LIMIT)


keys = texts | st.integers() | st.none() | st.from_regex(
    r'[cCfFs][0-9]{1,22}(-[0-9]{1,22}){2,3}', fullmatch=True) | st.from_regex(
        r'[0-9]{1,25}', fullmatch=True)


class ListTests(SiteTests):
    """Lists of a few runs, asked for in any way."""

    layer = Long

    def setUp(self):
        super().setUp()
        declareWorker('work', len)
        for number in range(25):
            run = self.registry.start('work')
            if number % 2:
                self.registry.finish(
                    run, *((FAILED, RunFailedEvent) if number % 3 else
                           (SUCCEEDED, RunSucceededEvent)), started_at=1.0)
        transaction.commit()

    @fuzz(200, before=keys, order=st.sampled_from(ORDERS) | texts,
          states=st.lists(st.sampled_from(STATES) | texts, max_size=3),
          since=times, until=times, limit=st.integers(-3, 60),
          text=texts | st.none())
    def test_any_list_is_given_or_refused(self, **asked):
        try:
            page = self.registry.listRuns(**asked)
        except ValueError:
            return
        self.assertLessEqual(len(page.items), max(1, asked['limit']))
        self.assertTrue(page.older is None or self.registry.listRuns(
            **dict(asked, before=page.older)))

    @fuzz(60, before=keys, limit=st.integers(1, 9))
    def test_any_page_of_actions_is_given_or_refused(self, before, limit):
        try:
            self.registry.listActions(limit, before)
        except ValueError:
            pass

    @fuzz(100, run_id=anything | st.from_regex(
        r'[0-9]{1,20}-[0-9]{1,25}', fullmatch=True))
    def test_any_id_is_found_or_not(self, run_id):
        run = self.registry.get(run_id)
        if run is not None:
            self.assertEqual(run.id, run_id)

    @fuzz(200, q=st.lists(
        texts | st.builds('{}:{}'.format, st.sampled_from(
            ['type', 'state', 'user', 'id']), texts)
        | st.sampled_from(STATES).map('state:{}'.format),
        max_size=4).map(' '.join),
        form=st.dictionaries(st.sampled_from(
            ['state', 'type', 'user', 'context', 'since', 'until', 'order',
             'before']), texts | st.lists(texts, max_size=3) | st.sampled_from(
                 ORDERS) | st.datetimes(timezones=st.timezones() | st.none(
                 )).map(str) | st.dates().map(str) | anything, max_size=3))
    def test_any_search_is_done_or_refused(self, q, form):
        request = TestRequest(form=dict(form, q=q))
        try:
            query = RunQuery(request, self.site)
            arguments = query.getArguments()
        except BadFilter:
            return
        query.getURL('x').encode('ascii')
        query.getFields()
        try:
            self.registry.listRuns(**arguments)
        except ValueError as error:
            self.assertIn('before', str(error))


class BodyTests(BrowserTests):
    """Bodies of a script."""

    @fuzz(40, path=st.sampled_from(['start.json'] * 4 + [
        'RUN/begin.json', 'RUN/stop.json', 'RUN/retry.json',
        'RUN/remove.json']),
          body=st.binary(max_size=50) | st.one_of(
        json_values, st.fixed_dictionaries(
            {'type': st.sampled_from(['publish', 'plain', 'odd/name & co'])},
            optional={
                'input': st.dictionaries(
                    st.sampled_from(['title', 'notify', 'number', 'name',
                                     'self', 'context', 'states']) | texts,
                    json_values, max_size=3) | json_values,
                'context': texts | json_values})).map(
                    json.dumps).map(str.encode))
    def test_any_body_is_understood_or_refused(self, path, body):
        self.sync()
        for run in self.registry.listRuns(states=['pending']).items:
            self.registry.requestStop(run.id)   # no flood
        transaction.commit()
        if 'RUN' in path:
            path = path.replace('RUN', self.makeRun().id)
        token = self.get('token.json').json['csrf_token']
        answer = self.app('admin').post(
            '/++background++/' + path, body, headers={TOKEN_HEADER: token},
            content_type='application/json', expect_errors=True)
        self.assertIn(answer.status_int, (200, 202, 400, 404, 409), body)
        json.loads(answer.body, parse_constant=self.fail)
        if answer.status_int == 202:
            for page in 'index.json', 'index.html':
                shown = self.get('%s/%s' % (answer.json['id'], page))
                self.assertEqual(shown.status_int, 200)
                if page == 'index.json':
                    json.loads(shown.body, parse_constant=self.fail)


_field = st.sampled_from(['*', '0', '1', '*/7', '1-5', '59', '29', 'L', '5L',
                          'MON', 'MON#2', '1,2', '30', '31', '2', '99', '-',
                          'W', 'LW', '*/0', '5-1', '7', 'JAN'])
zones = st.sampled_from(['Europe/Vilnius', 'UTC', 'Australia/Lord_Howe',
                         'America/Sao_Paulo', 'Africa/Casablanca',
                         'Pacific/Apia', 'America/St_Johns'])


class ScheduleTests(unittest.TestCase):

    layer = Long

    @fuzz(150, cron=st.lists(_field, min_size=4, max_size=6).map(' '.join)
          | texts, zone=zones, after=st.integers(1000000000, 4000000000))
    def test_next_tick_is_later(self, cron, zone, after):
        try:
            checkCron(cron)
        except ValueError as error:
            self.assertIn('cron', str(error))
            return
        schedule = Schedule('s', 'w', cron=cron, timezone=zone)
        tick = schedule.nextTick(after)
        self.assertGreater(tick, after)
        self.assertGreater(schedule.nextTick(tick), tick)

    @fuzz(100, minutes=st.integers(-90, 90), zone=zones.filter('UTC'.__ne__),
          year=st.integers(2001, 2037), cron=st.sampled_from(
              ['30 2 * * *', '0 3 * * *', '*/15 * * * *', '0 0 * * *']))
    def test_no_tick_is_left_out_at_a_change_of_the_clock(
            self, minutes, zone, year, cron):
        schedule = Schedule('s', 'w', cron=cron, timezone=zone)
        for change in _changes(zone, year):
            after = change + 60 * minutes
            tick = schedule.nextTick(after)
            # Nor twice: whoever looks from between finds the same.
            self.assertEqual(schedule.nextTick((after + tick) / 2), tick)
            self.assertLessEqual(tick - after, 26 * 3600)

    @fuzz(60, name=texts | st.integers(2, 2000).map(
        lambda size: '/'.join('a' * size)))
    def test_any_zone_is_known_or_refused(self, name):
        try:
            getZone(name)
        except ValueError as error:
            self.assertIn('timezone', str(error))


class FoundTests(SiteTests):
    """What was found like this, one by one."""

    layer = Long

    def test_names_of_fields_need_not_be_texts(self):
        with self.assertRaisesRegex(InvalidInput, 'got …, …;'):
            InputTests.worker_type.cleanInput({'': None, 0: None})

    def test_time_is_as_far_as_anybody_likes(self):
        declareWorker('work', len)
        run = self.registry.start('work')
        for far in 1e300, 10 ** 400:
            for asked in {'since': -far}, {'until': far}:
                page, = self.registry.listRuns(**asked).items
                self.assertEqual(page.id, run.id)
            for states in (), ('failed',), ('pending',):
                for order in ORDERS:
                    self.assertFalse(self.registry.listRuns(
                        states=states, since=far, order=order).items)

    def test_run_has_one_id_only(self):
        declareWorker('work', len)
        lane, serial = self.registry.start('work').id.split('-')
        self.assertIsNone(self.registry.get('0%s-%s' % (lane, serial)))
        self.assertIsNone(self.registry.get('%s-0%s' % (lane, serial)))

    def test_start_without_context_is_not_that_of_the_type(self):
        declareWorker('work', len, unique='context')
        document = self.addDocument()
        by_type = self.registry.submit('work', document, unique='type')
        without = self.registry.start('work')
        self.assertIsNot(without, by_type)
        self.assertIsNone(without.context)

    def test_reason_that_cannot_be_printed(self):
        declareWorker('work', len)
        run = self.registry.start('work')
        self.registry.requestStop(run.id, Odd())
        self.assertIn('unprintable', run.stop.reason)

    def test_progress_is_a_number_that_can_be_shown(self):
        worker = Worker()
        for told, kept in ((3, 3), (2.5, 2.5), (Fraction(1, 4), 0.25),
                           (10 ** 20, 1e20), (math.nan, None),
                           (-math.inf, None), (10 ** 400, None),
                           ('many', None), ('7', 7.0)):
            worker.setProgress(told, told)
            self.assertEqual(worker.progress, (
                kept, kept if kept is not None else worker.progress[1], None))
        worker.setProgress(None, None, 'as it was')
        self.assertEqual(worker.progress, (7.0, 7.0, 'as it was'))

    def test_zone_of_very_many_parts(self):
        with self.assertRaisesRegex(ValueError, 'timezone'):
            getZone('/'.join('a' * 3000))

    def test_secret_is_masked_in_each_form_and_where_it_was_cut(self):
        class ISecret(Interface):
            password = Password()

        secret = 'it\'s\t"\x1b sesame\xe4'
        masker = makeMasker(ISecret, {'password': secret})
        for text in (secret, repr(secret), cleanLine(secret),
                     repr(KeyError('is ' + secret)), json.dumps([secret])):
            self.assertNotIn('sesame', masker.text(text), text)
        long = 'x' * (MESSAGE_LIMIT - len(CUT) - 12) + secret + 'y' * 99
        self.assertTrue(cleanLine(long, masker=masker).endswith(
            'xx' + MASK + CUT))
        # A text of ours is masked before it is cut, that of others is none
        # of ours: what is left of a secret there is no secret.
        self.assertEqual(masker.text('%s\nsesame\xe4' % CUT),
                         '%s\nsesame\xe4' % CUT)


@functools.lru_cache(maxsize=None)
def _changes(zone, year):
    """Return the hours of a year in which the clock was set."""
    begin = int(datetime.datetime(
        year, 1, 1, tzinfo=datetime.timezone.utc).timestamp())
    tz = getZone(zone)

    def offset(at):
        return datetime.datetime.fromtimestamp(at, tz).utcoffset()

    return [at for at in range(begin, begin + 366 * 86400, 3600)
            if offset(at) != offset(at + 3600)]
