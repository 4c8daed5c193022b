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
"""What cannot work is refused when it is declared."""
import functools
import math
from contextlib import nullcontext
from functools import partial

import transaction
from zope.component import getGlobalSiteManager
from zope.configuration.exceptions import ConfigurationError
from zope.interface import Attribute
from zope.interface import Interface
from zope.interface.interfaces import IObjectEvent
from zope.lifecycleevent.interfaces import IObjectModifiedEvent
from zope.location.interfaces import IContained
from zope.schema import Int
from zope.schema import TextLine

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.declarations.workertype import WorkerType
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.declaring import checkStart
from cipher.background.declaring import makeSchedule
from cipher.background.declaring import makeTrigger
from cipher.background.declaring import makeWorkerType
from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import InvalidDeclaration
from cipher.background.interfaces import IWorkerType
from cipher.background.job import ItemsJob
from cipher.background.runtime.maintenance.bookmarks import ownLanes
from cipher.background.runtime.maintenance.pruner import Pruner
from cipher.background.runtime.runtime import Runtime
from cipher.background.testing import runPending
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import declare
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread


def plain(*args, **kwargs):
    """Nothing but a function."""


async def coroutine(*args, **kwargs):
    """A coroutine function."""


def generator(*args, **kwargs):
    """A generator function."""
    yield


async def asynchronous(*args, **kwargs):
    """An asynchronous generator function."""
    yield


class Called:
    """Can be called, and gives a generator."""

    def __call__(self, worker):
        yield


class Loop(BackgroundWorkerThread):
    """A loop."""


class IPaper(Interface):
    """A thing with fields."""

    title = TextLine()


class IPlace(IContained):
    """A thing that says where it is."""


class IBare(Interface):
    """Who knows what this is."""


class IOrderPaid(Interface):
    """Of an application: an event."""

    order = Attribute('The order')


class ISomethingEvent(Interface):
    """Of an application: an event with a field."""

    number = Int()


class INeeding(Interface):
    number = Int(title='Number')
    name = TextLine(title='Name', required=False)
    size = Int(title='Size', default=3)


class Tests(SiteTests):

    def refuse(self, make, *args, **kwargs):
        """Return why it is refused."""
        with self.assertRaises(InvalidDeclaration) as caught:
            make(*args, **kwargs)
        self.assertRegex(str(caught.exception),
                         "^(worker|trigger of|schedule) 'work'")
        return str(caught.exception)


class WorkTests(Tests):

    def test_handler_may_be_a_function_or_a_coroutine_function(self):
        for handler in plain, coroutine, functools.partial(coroutine):
            makeWorkerType('work', handler=handler)

    def test_handler_that_is_a_generator_function_is_refused(self):
        for handler in (generator, asynchronous, Called(),
                        functools.partial(generator)):
            self.assertIn('handler to return when it is done, got',
                          self.refuse(makeWorkerType, 'work',
                                      handler=handler))

    def test_doWork_likewise(self):
        for base in BackgroundJob, BackgroundWorkerThread:
            for function in plain, coroutine:
                makeWorkerType('work', type('Work', (base,), {
                    'doWork': function}))
            for function in generator, asynchronous:
                self.assertIn(
                    'Work.doWork to return when it is done', self.refuse(
                        makeWorkerType, 'work', type('Work', (base,), {
                            'doWork': function})))

    def test_hooks_have_to_be_plain(self):
        for name in ('scheduleNextWork', 'doCleanup', 'getSite', 'retryDelay',
                     'getTransactionNote', 'getCleanupNote', 'processItem',
                     'countItems', 'getResult'):
            for function in coroutine, generator, asynchronous:
                self.assertIn('Work.%s to return' % name, self.refuse(
                    makeWorkerType, 'work', type('Work', (ItemsJob,), {
                        'items': plain, 'processItem': plain,
                        name: function})))

    def test_names_of_hooks_mean_nothing_to_other_classes(self):
        for name in ('items', 'getCollection', 'processItem', 'countItems',
                     'getResult', 'progress', 'wait'):
            for function in coroutine, generator, asynchronous, 50:
                makeWorkerType('work', type('Work', (BackgroundJob,), {
                    name: function}))

    def test_items_may_be_a_generator_but_not_asynchronous(self):
        for name in 'items', 'getCollection':
            for function in plain, generator:
                makeWorkerType('work', type('Work', (ItemsJob,), {
                    name: function, 'processItem': plain}))
            for function in coroutine, asynchronous:
                self.assertIn('Work.' + name, self.refuse(
                    makeWorkerType, 'work', type('Work', (ItemsJob,), {
                        name: function, 'processItem': plain})))

    def test_job_of_items_has_to_say_what_to_do(self):
        makeWorkerType('work', type('Work', (ItemsJob,), {
            'processItem': plain}))
        self.assertIn('Work to override processItem', self.refuse(
            makeWorkerType, 'work', type('Work', (ItemsJob,), {
                'items': plain})))

    def test_what_does_nothing_for_a_loop_is_refused(self):
        for name, value in (('max_attempts', 2), ('unique', 'type'),
                            ('retry_delay', 5.0)):
            self.assertIn('expected no %s for a loop' % name, self.refuse(
                makeWorkerType, 'work', Loop, **{name: value}))
            makeWorkerType('work', BackgroundJob, **{name: value})

    def test_share_is_refused_for_runs_that_need_a_commit_of_their_own(self):
        for what, values in (
                ('on_interrupt="fail"', {'on_interrupt': FAIL}),
                ('max_running=2', {'max_running': 2})):
            text = self.refuse(
                makeWorkerType, 'work', handler=plain, share=True, **values)
            self.assertIn('expected no share="yes" for %s, got' % what, text)
            for share in None, False:
                makeWorkerType('work', handler=plain, share=share, **values)
        self.assertIn('expected no share="yes" for a loop', self.refuse(
            makeWorkerType, 'work', Loop, share=True))
        for name in 'doCleanup', 'run':
            class_ = type('Work', (BackgroundJob,), {name: plain})
            self.assertIn(
                'for a class that overrides %s, got' % name, self.refuse(
                    makeWorkerType, 'work', class_, share=True))
            makeWorkerType('work', class_)
        for class_ in BackgroundJob, type('Work', (ItemsJob,), {
                'processItem': plain}):
            for unique in 'no', 'context':
                worker_type, = makeWorkerType(
                    'work', class_, share=True, unique=unique)
                self.assertTrue(worker_type.share)

    def test_service_that_needs_an_input_is_refused(self):
        class Service(Loop):
            def __init__(self, *place, number=1, name=None, size=3):
                super().__init__(*place)

        text = self.refuse(makeWorkerType, 'work', Service, autostart=True,
                           schema=INeeding)
        self.assertIn("a service that needs no input, got none for 'number'",
                      text)
        makeWorkerType('work', Service, schema=INeeding)

    def test_numbers_that_are_none_are_refused(self):
        for name in 'retry_delay', 'stop_timeout', 'keep_days':
            for value in math.nan, -1.0, -math.inf:
                self.assertIn(name, self.refuse(
                    makeWorkerType, 'work', handler=plain, **{name: value}))
            makeWorkerType('work', handler=plain, **{name: math.inf})

    def test_ZCML_says_the_same_with_its_line(self):
        for directive in (
                '<background:worker name="work" handler="%s.generator" />',
                '<background:worker name="work" handler="%s.plain" '
                'keep_days="nan" />',
                '<background:worker name="work" handler="%s.plain" '
                'share="yes" max_running="1" />',
                '<background:worker name="work" class="%s.Loop" '
                'unique="type" />'):
            with self.assertRaises(ConfigurationError) as caught:
                declare(directive % __name__)
            self.assertIn("worker 'work': expected", str(caught.exception))
            self.assertIn('line', str(caught.exception))


class KeepForEverTests(Tests):

    def test_what_is_kept_for_ever_is_not_pruned(self):
        declare('<background:worker name="ever" handler="%s.plain" '
                'keep_days="inf" />' % __name__)
        declare('<background:worker name="short" handler="%s.plain" '
                'keep_days="1" />' % __name__)
        clock = self.setClock(1.8e9)
        runs = {}
        for name in 'ever', 'short':
            run = runs[name] = self.registry.start(name)
            self.registry.finish(run, FAILED, RunFailedEvent)
        transaction.commit()
        clock.advance(10 * 366 * 86400)
        self.prune()
        self.assertIs(self.registry.get(runs['ever'].id), runs['ever'])
        self.assertIsNone(self.registry.get(runs['short'].id))

    def test_so_says_the_registry(self):
        clock = self.setClock(1.8e9)
        run = self.registry.addRun('plain')
        self.registry.finish(run, FAILED, RunFailedEvent)
        self.registry.keep_days = math.inf
        transaction.commit()
        clock.advance(10 * 366 * 86400)
        self.prune()
        self.assertIs(self.registry.get(run.id), run)

    def prune(self):
        runtime = Runtime(self.db, RuntimeSettings(threads=0))
        for number, lane in self.registry.lanes.items():
            runtime.backlog.addLane((self.registry._p_oid, number), 1, ())
            lane.bookmark.home = runtime.id
        transaction.commit()
        Pruner(runtime.own, partial(
            ownLanes, runtime.own, runtime.backlog)).prune(self.connection)
        transaction.begin()


class TriggerTests(Tests):

    def test_interfaces_that_may_match(self):
        for interfaces in (
                [IObjectModifiedEvent], [IPaper, IObjectModifiedEvent],
                [IOrderPaid], [ISomethingEvent], [IBare], [None], [Interface],
                [None, IObjectEvent], [IPlace, None], [dict, IObjectEvent],
                [IObjectEvent, IObjectEvent]):
            with self.subTest(interfaces=interfaces):
                makeTrigger('work', interfaces)

    def test_thing_without_an_event_is_refused(self):
        for interfaces in ([IPaper], [IPlace], [IPaper, IPlace],
                           [None, IPaper], [IBare, IPaper]):
            with self.subTest(interfaces=interfaces):
                text = self.refuse(makeTrigger, 'work', interfaces)
                self.assertIn('which no event provides', text)
                self.assertIn(interfaces[-1].__identifier__, text)

    def test_interface_that_is_hardly_one_of_an_event_is_warned_of(self):
        with self.assertLogs('cipher.background.declaring') as logged:
            makeTrigger('work', [IBare])
        self.assertIn('.IBare, which has no attributes; it starts nothing',
                      logged.output[0])
        with self.assertNoLogs('cipher.background.declaring') if hasattr(
                self, 'assertNoLogs') else nullcontext():
            for interfaces in ([IOrderPaid], [IObjectEvent], [None],
                               [Interface], [IBare, IObjectEvent]):
                makeTrigger('work', interfaces)

    def test_object_and_event_that_are_swapped_are_refused(self):
        for thing in IPaper, IPlace, IBare, None, dict:
            self.assertIn('swap them', self.refuse(
                makeTrigger, 'work', [IObjectModifiedEvent, thing]))

    def test_hooks_have_to_be_plain_and_to_take_what_there_is(self):
        for name in 'condition', 'input':
            for function in coroutine, generator, asynchronous:
                self.assertIn('%s to return' % name, self.refuse(
                    makeTrigger, 'work', [IObjectEvent], **{name: function}))
            for function in lambda: 1, lambda a, b, c: 1:
                self.assertIn('to take the', self.refuse(
                    makeTrigger, 'work', [IPaper, IObjectEvent],
                    **{name: function}))
            makeTrigger('work', [IPaper, IObjectEvent],
                        **{name: lambda obj, event: {}})


class ScheduleTests(Tests):

    def test_hooks_have_to_be_plain_and_to_take_nothing(self):
        for name in 'context', 'input':
            for function in coroutine, generator, asynchronous:
                self.assertIn('%s to return' % name, self.refuse(
                    makeSchedule, 'work', 'work', every=60.0,
                    **{name: function}))
            self.assertIn('to take no argument', self.refuse(
                makeSchedule, 'work', 'work', every=60.0,
                **{name: lambda one: 1}))

    def test_late_ticks_are_one_or_none(self):
        for cron, every in ('* * * * *', None), (None, 60.0):
            schedule = makeSchedule('work', 'work', cron, every, misfire=20.0)
            # A tick at each full minute from 60 on.
            for now, is_missed in ((60, False), (80, False), (81, True),
                                   (119, True), (120, False), (140, False),
                                   (141, True), (6001, False), (6059, True)):
                self.assertEqual(
                    schedule.isMissed(60.0, float(now)), is_missed, now)
            always = makeSchedule('work', 'work', cron, every)
            self.assertFalse(always.isMissed(60.0, 1e9))


class NeededInputTests(Tests):

    def test_start_without_a_needed_input_is_refused(self):
        worker_type = WorkerType('work', handler=plain, schema=INeeding)
        text = self.refuse(checkStart, "trigger of 'work'", worker_type, None)
        self.assertIn("got none for 'number', which it needs", text)
        checkStart('x', worker_type, plain)
        checkStart('x', WorkerType('work', handler=plain), None)

    def test_ZCML_refuses_it_at_the_end(self):
        worker = ('<background:worker name="work" handler="%s.plain" '
                  'schema="%s.INeeding" />' % (__name__, __name__))
        for directive in (
                '<background:schedule worker="work" every="60" />',
                '<background:trigger worker="work" '
                'for="zope.lifecycleevent.interfaces.IObjectAddedEvent" />'):
            for text in worker + directive, directive + worker:
                with self.assertRaises(ConfigurationError) as caught:
                    declare(text)
                self.assertIn('expected input= for the worker type',
                              str(caught.exception))


class FormerTests(Tests):
    """A worker type that had another name."""

    def setUp(self):
        super().setUp()
        self.done = []
        self.declare(WorkerType('old', handler=self.work))
        self.run = self.registry.start('old')
        self.finished = self.registry.start('old')
        self.registry.finish(self.finished, FAILED, RunFailedEvent)
        transaction.commit()
        self.forget('old')

    def work(self, worker):
        self.done.append(worker.run_id)

    def declare(self, *worker_types):
        for worker_type in worker_types:
            getGlobalSiteManager().registerUtility(
                worker_type, IWorkerType, worker_type.name)

    def forget(self, name):
        getGlobalSiteManager().unregisterUtility(
            queryWorkerType(name), IWorkerType, name)

    def rename(self):
        self.declare(*makeWorkerType(
            'new', handler=self.work, former=['old', 'older']))

    def test_waiting_run_goes_on(self):
        self.assertEqual(runPending(self.site), [])
        self.rename()
        self.assertEqual(runPending(self.site), [self.run])
        self.assertEqual(self.run.state, SUCCEEDED)
        self.assertEqual(self.done, [self.run.id])

    def test_finished_run_is_declared_and_can_be_retried(self):
        self.assertFalse(self.registry.getStatus(
            self.finished.id).is_retryable)
        self.rename()
        self.assertTrue(self.registry.getStatus(self.finished.id).is_declared)
        retry = self.registry.retry(self.finished.id)
        self.assertEqual((retry.type, retry.state), ('new', PENDING))

    def test_start_under_a_former_name_is_one_of_today(self):
        self.rename()
        for name in 'old', 'older', 'new':
            self.assertEqual(self.registry.start(name).type, 'new')

    def test_only_the_name_of_today_is_offered(self):
        self.rename()
        self.assertEqual(list(self.registry.getWorkerTypes()), ['new'])
        self.assertEqual(
            [(one.name, one.is_declared)
             for one in self.registry.listTypes()],
            [('new', True), ('old', True)])

    def test_names_that_do_not_go_together(self):
        for former in ['work'], ['a', 'a']:
            self.refuse(makeWorkerType, 'work', handler=plain, former=former)
        for values in {'autostart': True}, {'max_running': 1}:
            self.assertEqual(len(makeWorkerType(
                'work', Loop, former=['a'], **values)), 2)

    def test_ZCML(self):
        declare('<background:worker name="new" handler="%s.plain" '
                'former="old older" />' % __name__)
        self.assertEqual(queryWorkerType('older').current, 'new')
        self.assertEqual(len(runPending(self.site)), 1)
        with self.assertRaises(ConfigurationError):
            declare('<background:worker name="new" handler="%s.plain" '
                    'former="old" /><background:worker name="old" '
                    'handler="%s.plain" />' % (__name__, __name__))
