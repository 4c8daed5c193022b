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
"""Work and hooks that have not run when they return."""
import asyncio
import functools
import types
import unittest

import transaction
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from zope.interface import Interface
from zope.schema import Int
from zope.security.management import queryInteraction

from cipher.background.interfaces import Snooze
from cipher.background.job import ItemsJob
from cipher.background.registry.triggers import Trigger
from cipher.background.testing import runPending
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import SiteTests
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util.calling import ASYNC_GENERATOR
from cipher.background.util.calling import COROUTINE
from cipher.background.util.calling import GENERATOR
from cipher.background.util.calling import checkValue
from cipher.background.util.calling import kindOf


def plain(*args):
    """A plain function."""


async def coroutine(*args):
    """A coroutine function."""


def generator(*args):
    """A generator function."""
    yield 1


async def asynchronous(*args):
    """An asynchronous generator function."""
    yield 1


class Callable:
    """An object that can be called."""

    def __init__(self, function):
        type(self).__call__ = function


class Awaitable:
    """What may be awaited, but is no coroutine."""

    def __await__(self):
        yield


class Group(Exception):
    """As the backport of ExceptionGroup."""

    def __init__(self, *exceptions):
        super().__init__('unhandled errors')
        self.exceptions = exceptions


def callable_of(function):
    return type('C', (), {'__call__': function})()


class KindTests(unittest.TestCase):

    def test_each_kind_in_each_form(self):
        for function, kind in ((plain, None), (coroutine, COROUTINE),
                               (generator, GENERATOR),
                               (asynchronous, ASYNC_GENERATOR)):
            class Methods:
                method = function
                of_class = classmethod(function)
                static = staticmethod(function)

            for form in (function, functools.partial(function, 1),
                         functools.partial(functools.partial(function)),
                         Methods().method, Methods.of_class, Methods.static,
                         callable_of(function),
                         functools.partial(callable_of(function))):
                with self.subTest(form=form):
                    self.assertEqual(kindOf(form), kind)

    def test_class_gives_an_object(self):
        self.assertIsNone(kindOf(dict))
        self.assertIsNone(kindOf(len))

    def test_what_has_run_is_a_value(self):
        for value in (None, 0, 'text', [1], iter([1]), map(str, []), object,
                      generator, coroutine):
            self.assertIs(checkValue('hook', value), value)

    def test_what_has_yet_to_run_is_none(self):
        for value in (coroutine(), generator(), asynchronous(), Awaitable(),
                      types.coroutine(generator)(), (x for x in ())):
            with self.subTest(value=value), self.assertRaisesRegex(
                    TypeError, 'hook: expected a value, got an? '):
                checkValue('hook', value)


class IInput(Interface):
    number = Int(title='Number')


class AsyncWorkTests(LiveTests):

    def test_coroutine_handler_runs_in_its_transaction(self):
        async def handler(worker, number):
            await asyncio.sleep(0)
            worker.checkStop()
            worker.setProgress(1, 2, 'half')
            worker.log.info('in a coroutine')
            getSite()['counter'].value += number
            self.assertIsNotNone(queryInteraction())
            self.assertEqual(worker.input, {'number': 5})
            self.assertFalse(worker.wait(0))
            return worker.run_id

        declareWorker('work', handler, schema=IInput)
        status = self.carryOut('work', number=5)
        self.assertEqual(status.state, 'succeeded', status.error_text)
        self.assertEqual(status.result, status.id)
        self.assertEqual((status.progress_done, status.message), (1, 'half'))
        self.assertEqual(self.value(), 5)
        self.assertIn('in a coroutine',
                      self.registry.getDetails(status.id).log)

    def test_each_form_of_a_coroutine_handler_runs(self):
        async def handler(worker):
            getSite()['counter'].value += 1

        class Called:
            async def __call__(self, worker):
                await handler(worker)

        for number, form in enumerate((
                handler, functools.partial(handler), Called()), 1):
            declareWorker('work', form)
            self.assertEqual(self.carryOut('work').state, 'succeeded')
            self.assertEqual(self.value(), number)

    def test_coroutine_doWork_runs(self):
        class Job(BackgroundJob):
            async def doWork(self):
                await asyncio.sleep(0)
                getSite()['counter'].value += 1
                return 'done'

        class Loop(BackgroundWorkerThread):
            rounds = 3

            def scheduleNextWork(self):
                self.rounds -= 1
                return self.rounds >= 0

            doWork = Job.doWork

        declareWorker('job', factory=Job)
        self.assertEqual(self.carryOut('job').result, 'done')
        declareWorker('loop', factory=Loop, is_loop=True)
        self.assertEqual(self.carryOut('loop').state, 'succeeded')
        self.assertEqual(self.value(), 4)

    def test_error_of_a_coroutine_fails_the_run_and_its_effect(self):
        async def handler(worker):
            getSite()['counter'].value += 1
            await asyncio.sleep(0)
            raise ValueError('broken')

        declareWorker('work', handler)
        status = self.carryOut('work')
        self.assertEqual((status.state, status.error_text),
                         ('failed', 'broken'))
        self.assertEqual(self.value(), 0)

    def test_conflict_in_a_coroutine_is_tried_again(self):
        errors = [ConflictError(), Group(ConflictError(), ConflictError())]

        async def handler(worker):
            getSite()['counter'].value += 1
            await asyncio.sleep(0)
            if errors:
                raise errors.pop()

        declareWorker('work', handler)
        self.assertEqual(self.carryOut('work').state, 'succeeded')
        self.assertEqual(self.value(), 1)

    def test_coroutine_makes_checkpoints(self):
        errors = [ConflictError()]

        async def handler(worker):
            for step in range(worker.cursor or 0, 3):
                getSite()['counter'].value += 1
                worker.checkpoint(step + 1)
                await asyncio.sleep(0)
                if step == 1 and errors:
                    raise errors.pop()

        declareWorker('work', handler)
        self.assertEqual(self.carryOut('work').state, 'succeeded')
        self.assertEqual(self.value(), 3)

    def test_stop_of_a_coroutine(self):
        async def handler(worker):
            getSite()['counter'].value += 1
            await asyncio.to_thread(self.gate.stop)
            await asyncio.to_thread(worker.wait, LIMIT)
            await asyncio.gather(self.check(worker), asyncio.sleep(0))

        declareWorker('work', handler)
        run_id = self.start('work')
        self.gate.waitReached()
        self.requestStop(run_id)
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'stopped')
        self.assertEqual(self.value(), 0)

    async def check(self, worker):
        worker.checkStop()

    def test_signals_come_through_a_group(self):
        async def stop(worker):
            try:
                worker.requestStop()
                worker.checkStop()
            except BaseException as error:
                raise BaseGroup(ValueError('beside'), error)

        class BaseGroup(BaseException):
            exceptions = ()

            def __init__(self, *exceptions):
                self.exceptions = exceptions

        async def snooze(worker):
            if not snoozed:
                snoozed.append(1)
                raise Group(Snooze(0.0))
            return 'after all'

        snoozed = []
        declareWorker('stop', stop)
        self.assertEqual(self.carryOut('stop').state, 'stopped')
        declareWorker('snooze', snooze)
        self.assertEqual(self.carryOut('snooze').result, 'after all')

    def test_what_has_not_run_is_no_success(self):
        def decorated(worker):
            return coroutine()

        async def returns(worker):
            return coroutine()

        def expression(worker):
            return (getSite() for _ in range(3))

        for handler in (decorated, returns, generator, asynchronous,
                        expression, lambda worker: Awaitable()):
            with self.subTest(handler=handler):
                declareWorker('work', handler)
                status = self.carryOut('work')
                self.assertEqual((status.state, status.error_type),
                                 ('failed', 'TypeError'))
                self.assertRegex(status.error_text,
                                 "worker 'work': its handler: expected a "
                                 'value, got an? ')

    def test_each_hook_has_to_return_a_value(self):
        for name in ('doCleanup', 'getSite', 'getTransactionNote',
                     'scheduleNextWork', 'processItem', 'countItems',
                     'getResult', 'doWork', 'getCleanupNote'):
            for function in generator, coroutine:
                if (name, function) == ('doWork', coroutine):
                    continue
                with self.subTest(name=name, function=function):
                    self.assertHookFails(name, function)

    def assertHookFails(self, name, function):
        values = {'items': lambda self, cursor: [(1, 1)],
                  'processItem': lambda self, item: None,
                  'doCleanup': lambda self: None, name: function}
        declareWorker('work', factory=type('Job', (ItemsJob,), values))
        run_id = self.start('work')
        status = self.waitFinished(run_id)
        self.begin()
        traceback = self.registry.getDetails(run_id).traceback
        self.assertIn('Job.%s: expected a value' % name, '%s %s' % (
            status.error_text, traceback))

    def test_items_may_be_any_iterable_but_not_asynchronous(self):
        def rising(self, cursor):
            return [(n, n) for n in range((cursor or 0) + 1, 6)]

        def yielding(self, cursor):
            yield from rising(self, cursor)

        def iterating(self, cursor):
            return iter(rising(self, cursor))

        async def later(self, cursor):
            return rising(self, cursor)

        async def yielding_later(self, cursor):
            yield 1, 1

        def process(self, item):
            getSite()['counter'].value += 1

        def carry_out(items):
            declareWorker('work', factory=type('Job', (ItemsJob,), {
                'items': items, 'processItem': process, 'batch_size': 2}))
            return self.carryOut('work')

        for number, items in enumerate((rising, yielding, iterating), 1):
            self.assertEqual(carry_out(items).result, '5 items')
            self.assertEqual(self.value(), 5 * number)
        for items in (later, yielding_later, lambda self, cursor: None,
                      lambda self, cursor: [1], lambda self, cursor: 'ab',
                      lambda self, cursor: [(None, 1)]):
            status = carry_out(items)
            self.assertEqual(status.error_type, 'TypeError')
            self.assertIn('Job.items: expected ', status.error_text)


class HookTests(SiteTests):

    def test_condition_and_input_of_a_trigger_return_values(self):
        declareWorker('work', len)
        for function in coroutine, generator, asynchronous:
            for name in 'condition', 'input':
                with self.subTest(name=name, function=function):
                    Trigger('work', **{name: function})(self.event())
                    run = self.last()
                    self.assertEqual(run.state, 'failed')
                    self.assertIn('its %s: expected a value' % name,
                                  run.error_text)

    def event(self):
        return types.SimpleNamespace(object=self.site)

    def last(self):
        transaction.commit()
        return self.registry.listRuns().items[0]

    def test_async_work_within_an_event_loop_says_what_to_do(self):
        declareWorker('work', coroutine)
        self.registry.start('work')
        transaction.commit()

        async def test():
            with self.assertRaisesRegex(RuntimeError, 'without an event'):
                runPending(self.site)

        asyncio.run(test())
        self.assertEqual(self.last().state, 'failed')
