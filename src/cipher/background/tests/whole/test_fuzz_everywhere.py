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
"""Odd values wherever a worker or a caller can put them; then each page.

As for `test_fuzz`, the environment may ask for more examples.
"""
import json
import threading
import time
from unittest import mock

import transaction
from hypothesis import strategies as st
from zope.component import getGlobalSiteManager
from zope.interface import Interface
from zope.interface import directlyProvides
from zope.schema import ASCII
from zope.schema import URI
from zope.schema import ASCIILine
from zope.schema import Bool
from zope.schema import Bytes
from zope.schema import BytesLine
from zope.schema import Choice
from zope.schema import Collection
from zope.schema import Complex
from zope.schema import Container
from zope.schema import Date
from zope.schema import Datetime
from zope.schema import Decimal
from zope.schema import Dict
from zope.schema import DottedName
from zope.schema import Field
from zope.schema import Float
from zope.schema import FrozenSet
from zope.schema import Id
from zope.schema import Int
from zope.schema import Integral
from zope.schema import InterfaceField
from zope.schema import Iterable
from zope.schema import List
from zope.schema import Mapping
from zope.schema import MutableMapping
from zope.schema import MutableSequence
from zope.schema import NativeString
from zope.schema import NativeStringLine
from zope.schema import Number
from zope.schema import Object
from zope.schema import Password
from zope.schema import PythonIdentifier
from zope.schema import Rational
from zope.schema import Real
from zope.schema import Sequence
from zope.schema import Set
from zope.schema import SourceText
from zope.schema import Text
from zope.schema import TextLine
from zope.schema import Time
from zope.schema import Timedelta
from zope.schema import Tuple
from zope.schema.interfaces import IContextSourceBinder
from zope.schema.vocabulary import SimpleTerm
from zope.schema.vocabulary import SimpleVocabulary

from cipher.background.browser.api import TOKEN_HEADER
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import FAILING_SUBSCRIBER
from cipher.background.interfaces import IWorkerType
from cipher.background.runtime.runtime import startRuntime
from cipher.background.testing import runPending
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.whole.test_fuzz import anything
from cipher.background.tests.whole.test_fuzz import fuzz
from cipher.background.tests.whole.test_fuzz import json_values
from cipher.background.tests.whole.test_fuzz import numbers
from cipher.background.tests.whole.test_fuzz import texts
from cipher.background.tests.whole.test_fuzz import too_big
from cipher.background.tests.whole.test_odd_values import assertAllPagesWork
from cipher.background.tests.work.test_own_names import NAMES
from cipher.background.work.worker import Worker


def of_the_site(site):
    """Give a vocabulary that needs a context."""
    return SimpleVocabulary.fromValues(sorted(site.keys()))


def failing(*args):
    raise LookupError('it fails')


for source in of_the_site, failing:
    directlyProvides(source, IContextSourceBinder)


class IInner(Interface):
    """A schema within another."""

    text = TextLine(title='Text')


ATOMS = [ASCII, URI, ASCIILine, Bool, Bytes, BytesLine, Complex, Container,
         Date, Datetime, Decimal, DottedName, Field, Float, Id, Int, Integral,
         InterfaceField, Iterable, NativeString, NativeStringLine, Number,
         Password, PythonIdentifier, Rational, Real, SourceText, Text,
         TextLine, Time, Timedelta]
HOLDERS = [Collection, FrozenSet, List, MutableSequence, Sequence, Set, Tuple]
MAPPINGS = [Dict, Mapping, MutableMapping]

CHOICES = [
    lambda **kw: Choice(values=['a', 'b'], **kw),
    lambda **kw: Choice(values=[1, 2], **kw),
    lambda **kw: Choice(values=[], **kw),
    lambda **kw: Choice(vocabulary=SimpleVocabulary(
        [SimpleTerm(1.5, 'one', 'One')]), **kw),
    lambda **kw: Choice(source=of_the_site, **kw),
    lambda **kw: Choice(source=failing, **kw),
    lambda **kw: Choice(vocabulary='nobody knows it', **kw)]


def makers():
    """Yield functions of keywords that make a field, of each kind."""
    yield from ATOMS
    yield from CHOICES
    yield lambda **kw: Object(schema=IInner, **kw)
    yield lambda **kw: Field(**kw)
    yield lambda **kw: Int(defaultFactory=failing, **kw)
    yield lambda **kw: TextLine(constraint=failing, **kw)
    yield lambda **kw: Int(min=1, max=5, **kw)
    yield lambda **kw: TextLine(missing_value='', **kw)
    inner = [*ATOMS, *CHOICES, lambda **kw: Object(schema=IInner, **kw),
             lambda **kw: List(value_type=Date(**kw), **kw)]
    for holder in HOLDERS:
        yield holder
        for kind in inner if holder in (List, Set) else inner[::5]:
            yield lambda holder=holder, kind=kind, **kw: holder(
                value_type=kind(title='Inner'), **kw)
    for holder in MAPPINGS:
        yield holder
        for key in TextLine, Int, Date, CHOICES[0], Bytes:
            for kind in inner[::4]:
                yield lambda holder=holder, key=key, kind=kind, **kw: holder(
                    key_type=key(title='Key'),
                    value_type=kind(title='Inner'), **kw)


FIELDS = [make(title='Value', required=is_required)
          for make in makers() for is_required in (True, False)]

widget_names = st.sampled_from(
    ['', '', '', '-empty-marker', ':list', '.0', '.count', '-year', '.hour',
     '.key.0', '.confirm', '-0', '.action', '.buttons.add'])
form_values = texts | st.sampled_from(
    ['1', '-5', '1.5', '1,5', '1e999', 'nan', '2026-01-31', '26/01/31',
     '31.01.2026 10:30', 'true', 'selected', '--NOVALUE--', 'a', '00:00',
     '1' * 5000, '1 day 10:30:00', '2', '1e999999999', '1/3', '1j'])


class EverywhereTests(BrowserTests):

    def setUp(self):
        super().setUp()
        patcher = mock.patch('logging.raiseExceptions', False)
        patcher.start()
        self.addCleanup(patcher.stop)
        for limit in ('registry.verbs.WAITING_LIMIT',
                      'registry.registry.WorkerRegistry.waiting_per_starter'):
            patcher = mock.patch('cipher.background.' + limit, 10 ** 9)
            patcher.start()
            self.addCleanup(patcher.stop)
        self.tokens = {}

    def declare(self, **values):
        """Declare the worker type ``odd`` until the next one."""
        values.setdefault('handler', lambda worker, **input: None)
        manager = getGlobalSiteManager()
        worker_type = WorkerType('odd', **values)
        manager.registerUtility(worker_type, IWorkerType, 'odd')
        self.addCleanup(
            manager.unregisterUtility, worker_type, IWorkerType, 'odd')

    def declareField(self, field):
        field.__name__ = 'value'
        self.declare(schema=type(Interface)(
            'ISchema', (Interface,), {'value': field}))

    def assertAllWork(self, *run_ids):
        assertAllPagesWork(self, 'after all that', *run_ids)

    def sendForm(self, form):
        token = self.tokens.get('form') or self.tokens.setdefault(
            'form', self.token('start.html?type=plain'))
        values = {'csrf_token': token, 'type': 'odd',
                  'form.buttons.start': '1', **form}
        answer = self.app('admin').post(
            '/++background++/start.html',
            {name.encode('utf-8', 'replace'): value.encode('utf-8', 'replace')
             for name, value in values.items()}, expect_errors=True)
        self.assertIn(answer.status_int, (200, 303, 400), form)

    def sendJSON(self, input):
        token = self.tokens.get('json') or self.tokens.setdefault(
            'json', self.get('token.json').json['csrf_token'])
        answer = self.app('admin').post(
            '/++background++/start.json',
            json.dumps({'type': 'odd', 'input': input}).encode(),
            headers={TOKEN_HEADER: token}, content_type='application/json',
            expect_errors=True)
        self.assertIn(answer.status_int, (202, 400), input)

    def startByCode(self, **input):
        transaction.begin()
        try:
            self.registry.start('odd', **input)
        except ValueError:
            transaction.abort()
        else:
            transaction.commit()

    def newest(self):
        transaction.begin()
        return [one.id for one in self.registry.listRuns(limit=3).items]

    def test_page_of_each_kind_of_field(self):
        for number, field in enumerate(FIELDS):
            with self.subTest(number=number, field=field):
                self.declareField(field)
                page = self.get('start.html?type=odd')
                self.assertEqual(page.status_int, 200)
                self.sendForm({})
                self.sendForm({'form.widgets.value': 'a'})
                self.sendForm({'form.widgets.value': '1',
                               'form.widgets.value-empty-marker': '1'})
                self.sendJSON({})
                self.sendJSON({'value': None})

    def test_field_that_cannot_be_shown_is_named(self):
        self.declareField(Set(title='Some <names>', value_type=TextLine()))
        page = self.get('start.html?type=odd').text
        self.assertIn('Only code can start this worker', page)
        self.assertIn('Some &lt;names&gt;', page)
        self.assertNotIn('form.buttons.start', page)
        self.declareField(Set(title='Some names', value_type=TextLine(),
                              required=False))
        page = self.get('start.html?type=odd').text
        self.assertIn('get their default: Some names.', page)
        self.assertIn('form.buttons.start', page)

    @fuzz(60, field=st.sampled_from(FIELDS), form=st.dictionaries(
        widget_names.map('form.widgets.value{}'.format), form_values,
        max_size=4))
    def test_any_form(self, field, form):
        self.declareField(field)
        self.sendForm(form)
        self.sendForm(form)

    @fuzz(60, field=st.sampled_from(FIELDS), value=json_values
          | form_values | st.lists(form_values, max_size=2)
          | st.dictionaries(form_values, json_values, max_size=2))
    def test_any_JSON(self, field, value):
        self.declareField(field)
        self.sendJSON({'value': value})

    @fuzz(60, field=st.sampled_from(FIELDS),
          value=anything | too_big | form_values)
    def test_any_value_by_code(self, field, value):
        self.declareField(field)
        self.startByCode(value=value)

    @fuzz(15, field=st.sampled_from(FIELDS), data=st.data())
    def test_all_pages_after_any_start(self, field, data):
        self.declareField(field)
        self.startByCode(value=data.draw(anything | too_big))
        self.sendJSON({'value': data.draw(json_values | form_values)})
        self.sendForm({'form.widgets.value': data.draw(form_values)})
        try:
            runPending(self.root)
        except Exception:
            pass   # that of a run
        self.assertAllWork(*self.newest())

    @fuzz(25, attributes=st.dictionaries(
        st.sampled_from(NAMES), anything | too_big, max_size=8),
        done=numbers | too_big, message=anything, result=anything | too_big,
        log=anything, cursor=anything)
    def test_all_pages_after_any_work(self, attributes, done, message, result,
                                      log, cursor):
        def work(worker):
            worker.setProgress(done, done, message)
            worker.log.info('%s', log)
            if worker.cursor is None:
                try:
                    worker.checkpoint(cursor)
                except ValueError:
                    pass
            for name, value in attributes.items():
                setattr(worker, name, value)
            return result

        self.declare(handler=work)
        transaction.begin()
        run = self.registry.start('odd')
        transaction.commit()
        runPending(self.root)
        self.assertAllWork(run.id)

    @fuzz(25, options=st.dictionaries(
        st.sampled_from(['delay', 'unique', 'priority', 'input', 'context',
                         'name']), anything | too_big, max_size=4))
    def test_all_pages_after_any_submit(self, options):
        self.declare()
        transaction.begin()
        try:
            run = self.registry.submit(**{'name': 'odd', **options})
        except (ValueError, LookupError):
            transaction.abort()
            self.assertAllWork()
            return
        transaction.commit()
        self.assertAllWork(run.id)
        runPending(self.root)

    @fuzz(10, field=st.sampled_from(FIELDS), said=json_values | form_values,
          typed=form_values, attributes=st.dictionaries(
              st.sampled_from(NAMES), anything | too_big, max_size=8),
          odd=anything | too_big, reason=texts, fails=st.booleans())
    def test_all_at_once_with_a_runtime(self, field, said, typed, attributes,
                                        odd, reason, fails):
        """Odd values everywhere; all pages work, the control thread lives."""
        def work(worker, **input):
            for name, value in attributes.items():
                setattr(worker, name, value)
            Worker.setProgress(worker, odd, odd, odd)
            if fails:
                raise ValueError(odd)
            return odd

        field.__name__ = 'value'
        self.declare(handler=work, schema=type(Interface)(
            'ISchema', (Interface,), {'value': field}))
        runtime = startRuntime(
            self.registry._p_jar.db(), RuntimeSettings(threads=1, poll=0.05))
        try:
            self.startByCode(value=odd)
            self.submitByCode(odd)
            self.sendJSON({'value': said})
            self.sendForm({'form.widgets.value': typed})
            ids = self.newest()
            waitUntil(lambda: self.areFinished(ids), 'the end of the runs')
            for run_id in ids:
                self.retryByCode(run_id, reason)
            ids = self.newest()
            self.assertAllWork(*ids)
            waitUntil(lambda: self.areFinished(ids), 'the end of the retries')
            self.assertAllWork(*ids)
            # Of its threads none died, and its own steps did not fail.
            self.assertEqual(
                [trouble for trouble in runtime.listTroubles()
                 if trouble.kind != FAILING_SUBSCRIBER], [])
            done = threading.Event()
            self.declare(handler=lambda worker: done.set())
            self.startByCode()
            self.assertTrue(done.wait(LIMIT))
        finally:
            runtime.shutdown()

    def submitByCode(self, odd):
        for name in 'delay', 'unique', 'priority', 'input', 'context':
            transaction.begin()
            try:
                self.registry.submit('odd', **{name: odd})
            except (ValueError, LookupError):
                transaction.abort()
            else:
                transaction.commit()

    def retryByCode(self, run_id, reason):
        transaction.begin()
        try:
            self.registry.retry(run_id, reason)
        except ValueError:
            transaction.abort()
        else:
            transaction.commit()

    def areFinished(self, ids):
        transaction.begin()
        now = time.time()
        return all(run is None or run.isFinished() or (
            run.due_at or 0.0) > now for run in map(self.registry.get, ids))
