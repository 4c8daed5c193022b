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
"""The class of a worker is its author's: names of ours may mean anything."""
import threading

import transaction
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from zope.interface import Interface
from zope.schema import Dict
from zope.schema import Int
from zope.schema import List

from cipher.background.job import ItemsJob
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import LIMIT
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util.spoiled import CacheSpoiled
from cipher.background.work.worker import _STATE
from cipher.background.work.worker import stateOf


#: The public names of 2.0.0a1, beside those of `threading.Thread`.
UPSTREAM = {
    'description', 'work_transaction_note', 'cleanup_transaction_note', 'log',
    'site_db', 'site_oid', 'site_name', 'user_name', 'forSite',
    'getTransactionNote', 'getCleanupNote', 'getSite', 'run',
    'scheduleNextWork', 'doWork', 'doCleanup'}

#: What a framework like this may have as well, now or later.
OTHERS = {'observer', 'setUpWorker', 'setUpLoop', 'commitAndGoOn', 'items',
          'state', 'stop', 'status', 'cancel', 'result', 'error', 'secrets'}

#: Hooks of `ItemsJob`: only a subclass of that means them.
HOOKS = {'items', 'getCollection', 'processItem', 'countItems',
         'getResult', 'batch_size', 'batch_seconds'}


def ours(class_):
    """Return the public names of *class_* that upstream did not have."""
    return {name for name in dir(class_) if not name.startswith('_')} - (
        UPSTREAM | set(dir(threading.Thread)))


def privates(class_):
    """Return its private names, whoever may have taken them, too."""
    return {name for kind in class_.__mro__
            if kind.__module__.startswith('cipher.')
            for name in vars(kind)
            if name.startswith('_') and not name.startswith('__')}


NAMES = sorted(ours(BackgroundJob) | OTHERS)


def broken(self, *args, **kwargs):
    raise AssertionError('the framework called a method of the author')


class Unfit:
    """An odd value: nothing can be done with it."""

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        raise AssertionError('the framework read an attribute of the author')


VALUES = {'number': 50, 'None': None, 'text': 'odd', 'method': broken,
          'class': Unfit, 'list': [1], 'tuple': (1, 2, 3, 4)}


def work(self):
    getSite()['counter'].value += 1
    return 'done'


class OwnNamesTests(LiveTests):

    def assertWorks(self, factory, is_loop=False):
        value = self.value()
        declareWorker('work', factory=factory, is_loop=is_loop)
        status = self.carryOut('work')
        self.assertEqual(status.state, 'succeeded', '%s: %s' % (
            status.error_type, status.error_text))
        self.assertEqual(self.value(), value + 1)
        self.assertListed(status)
        return status

    def assertListed(self, status):
        self.begin()
        self.assertIn(status.id, [
            one.id for one in self.registry.listRuns(text='work').items])
        self.registry.listTypes()
        self.registry.listProblems()

    def test_there_are_such_names(self):
        for name in ('progress', 'observer', 'cursor', 'input', 'context',
                     'stop_requested', 'wait', 'items', 'requestStop',
                     'checkpoint', 'checkStop', 'setProgress', 'run_id',
                     'retryDelay', 'max_tries'):
            self.assertIn(name, NAMES)

    def test_no_private_method_of_ours_is_called_through_the_worker(self):
        self.assertEqual(privates(BackgroundJob), set())

    def test_job_may_use_each_name_on_its_class(self):
        for title, value in VALUES.items():
            for name in NAMES:
                with self.subTest(name=name, value=title):
                    self.assertWorks(type('Job', (BackgroundJob,), {
                        'doWork': work, name: value}))

    def test_job_may_use_all_names_on_its_instance(self):
        def setAll(worker, values):
            for name in NAMES:
                setattr(worker, name, values)

        for title, value in VALUES.items():
            class Early(BackgroundJob):
                doWork = work

                def __init__(self, *args, **kwargs):
                    super().__init__(*args, **kwargs)
                    setAll(self, value)

            class Earlier(BackgroundJob):
                doWork = work

                def __init__(self, *args, **kwargs):
                    setAll(self, value)
                    super().__init__(*args, **kwargs)

            class Late(BackgroundJob):

                def doWork(self):
                    setAll(self, value)
                    return work(self)

            for class_ in Early, Earlier, Late:
                with self.subTest(value=title, when=class_.__name__):
                    self.assertWorks(class_)

    def test_name_that_cannot_even_be_read(self):
        for name in NAMES:
            with self.subTest(name):
                self.assertWorks(type('Job', (BackgroundJob,), {
                    'doWork': work, name: Unfit()}))

    def test_loop_may_use_each_name(self):
        def schedule(self):
            self.rounds = getattr(self, 'rounds', 0) + 1
            return self.rounds == 1

        for title in 'number', 'method':
            for name in NAMES:
                with self.subTest(name=name, value=title):
                    self.assertWorks(type('Loop', (BackgroundWorkerThread,), {
                        'doWork': work, 'scheduleNextWork': schedule,
                        name: VALUES[title]}), is_loop=True)

    def test_items_job_may_use_each_name_but_its_hooks_on_its_class(self):
        for title in 'number', 'method':
            for name in sorted(set(NAMES) - HOOKS):
                with self.subTest(name=name, value=title):
                    self.assertWorks(type('Items', (ItemsJob,), {
                        'items': lambda self, cursor: [(1, 'one')],
                        'processItem': lambda self, item: work(self),
                        name: VALUES[title]}))

    def test_items_job_may_use_even_the_names_of_its_hooks(self):
        class Items(ItemsJob):

            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                for name in HOOKS | set(NAMES):
                    setattr(self, name, 50)

            def items(self, cursor):
                return [(1, 'one')]

            def processItem(self, item):
                work(self)

        self.assertWorks(Items)

    def test_handler_may_set_each_name(self):
        def handler(worker):
            for name in NAMES:
                setattr(worker, name, 50)
            work(worker)
            return worker.progress

        declareWorker('work', handler)
        status = self.carryOut('work')
        self.assertEqual((status.state, status.result), ('succeeded', 50))
        self.assertIsNone(status.progress_done)
        self.assertListed(status)

    def test_progress_of_the_author_is_not_ours_while_it_runs(self):
        def handler(worker):
            worker.progress = 50
            self.gate.stop()

        declareWorker('work', handler)
        run_id = self.start('work')
        self.gate.waitReached()
        status = self.status(run_id)
        self.assertEqual((status.state, status.progress_done),
                         ('running', None))
        self.assertListed(status)
        self.gate.open()
        self.waitFinished(run_id)

    def test_stop_reaches_a_worker_with_names_of_its_own(self):
        class Job(BackgroundJob):
            stop_requested = False
            requestStop = wait = checkStop = broken

            def doWork(job):
                self.gate.stop()
                stateOf(job).wait(LIMIT)
                stateOf(job).checkStop()

        declareWorker('work', factory=Job)
        run_id = self.start('work')
        self.gate.waitReached()
        self.requestStop(run_id)
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'stopped')

    def test_hand_made_thread_may_use_each_name(self):
        class Thread(BackgroundWorkerThread):
            rounds = 1
            doWork = work

            def scheduleNextWork(self):
                self.rounds -= 1
                return self.rounds == 0

        value = self.value()
        for name in NAMES:
            thread = Thread.forSite(self.site, 'tom')
            transaction.commit()
            setattr(thread, name, 50)
            thread.start()
            thread.join(LIMIT)
            self.assertFalse(thread.is_alive())
        self.assertEqual(self.value(), value + len(NAMES))

    def test_input_may_have_any_name_but_context(self):
        names = ['who', 'function', 'name', 'handler', 'input', 'args',
                 'kwargs', 'state', 'value', 'job', *NAMES]
        schema = type(Interface)('ISchema', (Interface,), {
            name: Int(__name__=name) for name in {*names} - {'context'}})
        given = {name: 5 for name in schema}

        class Job(BackgroundJob):

            def doWork(self):
                return self.__dict__[_STATE].input == given

        for handler, factory in (
                (lambda worker, **input: input == given, None), (None, Job)):
            declareWorker('work', handler, factory=factory, schema=schema)
            self.begin()
            run_id = self.registry.submit('work', input=given).id
            transaction.commit()
            status = self.waitFinished(run_id)
            self.assertEqual((status.state, status.result),
                             ('succeeded', True), status.error_text)

    def test_worker_that_is_empty_is_one_all_the_same(self):
        class Job(BackgroundJob):
            doWork = work

            def __len__(self):
                return 0

        self.assertWorks(Job)

    def test_retry_delay_of_the_author_means_nothing(self):
        for value in 50, lambda self: 7, lambda self, *args: 'soon':
            class Job(BackgroundJob):
                retryDelay = value

                def doWork(self):
                    raise ValueError('broken')

            declareWorker('work', factory=Job, max_attempts=2,
                          retry_delay=0.0)
            status = self.carryOut('work')
            self.assertEqual((status.error_type, status.attempts),
                             ('ValueError', 2))

    def test_class_that_does_not_call_super(self):
        class Job(BackgroundJob):

            def __init__(self, *args, **kwargs):
                self.mine = 1

        class Loop(BackgroundWorkerThread):

            def __init__(self, *args, **kwargs):
                pass

        for class_ in Job, Loop:
            declareWorker('work', factory=class_, is_loop=class_ is Loop)
            status = self.carryOut('work')
            self.assertEqual(status.state, 'failed')
            self.assertRegex(
                status.error_text,
                r"worker 'work': expected .*__init__ to call super\(\)")


class IInput(Interface):

    numbers = List(title='Numbers', value_type=Int())
    table = Dict(title='Table', required=False)
    number = Int(title='Number', default=1)


class FreshTests(LiveTests):
    """Each try begins with what the run was started with."""

    error = ConflictError

    def carryOutTwice(self, factory=None, handler=None):
        declareWorker('work', handler, factory=factory, schema=IInput)
        status = self.carryOut('work', numbers=[1, 2, 3], table={'a': [1]})
        self.assertEqual(status.state, 'succeeded', status.error_text)
        self.assertEqual(status.result, 2)
        self.begin()
        self.assertEqual(
            self.registry.get(status.id).input,
            {'numbers': [1, 2, 3], 'table': {'a': [1]}, 'number': 1})

    def spoil(self, tries, *inputs):
        """Change what is there, as the work would; conflict at first."""
        for input in inputs:
            self.assertEqual(input, {'numbers': [1, 2, 3],
                                     'table': {'a': [1]}, 'number': 1})
            input['numbers'].clear()
            input['table']['a'].append(2)
            del input['number']
        tries.append(1)
        if len(tries) == 1:
            raise self.error('the first time')
        return len(tries)

    def test_input_of_a_handler(self):
        tries = []

        def handler(worker, **input):
            return self.spoil(tries, input, worker.input)

        self.carryOutTwice(handler=handler)

    def test_input_of_a_job(self):
        tries = []

        class Job(BackgroundJob):

            def doWork(job):
                return self.spoil(tries, job.input)

        self.carryOutTwice(Job)

    def test_input_that_a_job_keeps_itself(self):
        tries = []

        class Job(BackgroundJob):

            def __init__(self, *args, numbers, table, number):
                super().__init__(*args)
                self.mine, self.other = numbers, table
                self.number = number

            def doWork(job):
                return self.spoil(tries, {
                    'numbers': job.mine, 'table': job.other,
                    'number': job.number})

        self.carryOutTwice(Job)

    def test_input_that_a_job_keeps_under_the_same_name(self):
        tries = []

        class Job(BackgroundJob):

            def __init__(self, *args, **input):
                super().__init__(*args)
                self.input = input

            def doWork(job):
                return self.spoil(tries, job.input)

        self.carryOutTwice(Job)

    def test_cursor_that_the_work_set_by_mistake_is_forgotten(self):
        seen = []
        error = self.error

        class Job(BackgroundJob):

            def doWork(self):
                seen.append(self.cursor)
                self.cursor = 'far'
                if len(seen) == 1:
                    raise error('the first time')

        declareWorker('work', factory=Job)
        self.assertEqual(self.carryOut('work').state, 'succeeded')
        self.assertEqual(seen, [None, None])

    def test_input_of_a_loop_is_that_of_the_iteration(self):
        tries = []
        error = self.error

        class Loop(BackgroundWorkerThread):

            def __init__(self, *args, numbers, table, number):
                super().__init__(*args)
                self.mine = numbers
                self.rounds = 3

            def scheduleNextWork(self):
                self.rounds -= 1
                return self.rounds > 0

            def doWork(self):
                tries.append((list(self.mine), list(self.input['numbers'])))
                self.mine.pop()
                self.input['table'].clear()
                if len(tries) == 1:
                    raise error('the first time')

        declareWorker('work', factory=Loop, schema=IInput, is_loop=True)
        status = self.carryOut('work', numbers=[1, 2, 3], table={'a': 1})
        self.assertEqual(status.state, 'succeeded', status.error_text)
        self.assertEqual(tries, [([1, 2, 3],) * 2, ([1, 2, 3],) * 2,
                                 ([1, 2],) * 2])

    def test_input_of_a_job_made_by_hand_may_be_anything(self):
        lock = threading.Lock()
        seen = []

        class Job(BackgroundJob):

            def doWork(self):
                seen.append(self.input)

        job = Job(self.db, self.site._p_oid, 'site', 'tom', lock=lock, n=[1])
        job.start()
        job.join(LIMIT)
        self.assertEqual(seen, [{'lock': lock, 'n': [1]}])


class FreshOnAnotherConnectionTests(FreshTests):
    """Likewise where the first try spoiled the cache of its connection."""

    error = CacheSpoiled
