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
"""Jobs in processes of Celery: a message names a run, the run decides."""
import json
import os
import time
from pathlib import Path

import transaction
from celery import Celery
from kombu.serialization import registry as serializers
from zope.component import hooks
from zope.interface.verify import verifyObject

from cipher.background.celery import sender as celery
from cipher.background.celery.receiver import Receiver
from cipher.background.celery.receiver import readMessage
from cipher.background.celery.receiver import register
from cipher.background.celery.sender import TASK
from cipher.background.celery.sender import CeleryExecutor
from cipher.background.celery.sender import makeMessage
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import IExecutor
from cipher.background.interfaces import RuntimeRefused
from cipher.background.runtime.executors import choice
from cipher.background.tests.support.celery import REDIS_LAYER
from cipher.background.tests.support.celery import CeleryProcess
from cipher.background.tests.support.celeryworld import makeApp
from cipher.background.tests.support.cluster import ZEOTests
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.servers import requireServer
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util.switchboard import queryRuntime


MEMORY = 'memory://'


class Boom:
    """Does harm where it is unpickled."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return open, (self._path, 'w')


class ExecutorMixin:
    """A runtime whose jobs are sent by `app`."""

    resend = 30.0

    def startRuntime(self, **settings):
        """See `LiveTests`."""
        factories = dict(choice._factories)
        self.addCleanup(choice._factories.update, factories)
        self.addCleanup(choice._factories.clear)
        self.app = self.makeApp()
        self.addCleanup(self.app.close)
        register(self.app, None, resend=self.resend)
        return super().startRuntime(**dict({'executor': 'celery'}, **settings))


class ReceivingTests(LiveTests):
    """A process of Celery, without Celery: it has no threads of its own."""

    settings = dict(LiveTests.settings, threads=0)

    def setUp(self):
        super().setUp()
        self.app = Celery('test', broker=MEMORY, set_as_current=False)
        self.addCleanup(self.app.close)
        self.receiver = Receiver(self.app, lambda: self.db)
        self.done = []
        declareWorker('note', self.note)

    def note(self, worker):
        hooks.getSite()['counter'].value += 1
        self.done.append(worker.run_id)

    @property
    def oid(self):
        return self.registry._p_oid.hex()

    def receive(self, run_id, registry=None):
        """Take a message as Celery gives it."""
        self.receiver.receive(registry or self.oid, run_id)


class ReceiverTests(ReceivingTests):
    """What becomes of a message."""

    def test_run_is_carried_out_once_however_often_it_is_named(self):
        run_id = self.start('note')
        for _ in range(3):
            self.receive(run_id)
        status = self.status(run_id)
        self.assertEqual((status.state, status.attempts), ('succeeded', 1))
        self.assertEqual((self.value(), self.done), (1, [run_id]))

    def test_run_in_work_is_not_begun_again(self):
        ids = []

        def again(worker):
            ids.append(worker.run_id)
            if len(ids) < 3:
                self.receive(worker.run_id)

        declareWorker('again', again)
        run_id = self.start('again')
        self.receive(run_id)
        self.assertEqual(ids, [run_id])
        self.assertEqual(self.status(run_id).state, 'succeeded')

    def test_message_before_the_commit_waits_a_little(self):
        manager = transaction.TransactionManager()
        connection = self.db.open(transaction_manager=manager)
        self.addCleanup(connection.close)
        manager.begin()
        registry = connection.get(self.registry._p_oid)
        run_id = registry.start('note').id
        sleep = time.sleep

        def slept(seconds):
            manager.commit()
            sleep(seconds)

        self.patch('cipher.background.celery.receiver.time.sleep', slept)
        self.receive(run_id)
        self.assertEqual(self.done, [run_id])

    def test_rolled_back_run_is_nothing(self):
        self.patch('cipher.background.celery.receiver.LOOK_TRIES', 2)
        self.begin()
        run_id = self.registry.start('note').id
        transaction.abort()
        self.receive(run_id)
        self.assertEqual(self.done, [])
        self.assertIn('there is no run %s' % run_id, self.logged.getvalue())

    def test_what_is_not_to_begin_is_left(self):
        declareWorker('loop', factory=BackgroundWorkerThread, is_loop=True)
        self.begin()
        late = self.registry.start('note')
        late.due_at = time.time() + 3600
        paused = self.registry.start('note').id
        loop = self.registry.start('loop').id
        self.registry.pauseType('note')
        transaction.commit()
        for run_id in late.id, paused, loop:
            self.receive(run_id)
            self.assertEqual(self.status(run_id).state, 'pending')
        self.assertEqual(self.done, [])
        self.assertEqual(self.runtime.allLive(), [])

    def test_no_room_is_left_to_the_sender(self):
        def work(worker):
            self.receive(other)

        declareWorker('one', work, max_running=1)
        run_id = self.start('one')
        other = self.start('one')
        self.receive(run_id)
        self.assertEqual(self.status(run_id).state, 'succeeded')
        self.assertEqual(self.status(other).state, 'pending')

    def test_message_is_two_ids_and_nothing_else(self):
        run_id = self.start('note')
        message = makeMessage(self.registry._p_oid, run_id)
        self.assertEqual(json.loads(json.dumps(message)), [self.oid, run_id])
        ticket = readMessage(*message)
        self.assertEqual((ticket.registry_oid, ticket.run_id),
                         (self.registry._p_oid, run_id))
        self.assertTrue(ticket.must_claim)

    def test_anything_else_is_ignored(self):
        run_id = self.start('note')
        for registry, run in (
                (None, run_id), (self.oid, None), (self.oid, 1),
                ([self.oid], run_id), (self.oid, {'id': run_id}),
                (self.oid.upper() + 'G', run_id), ('0' * 15, run_id),
                (self.oid + '\n', run_id), (self.oid, run_id + '\n'),
                (self.oid, '-1-0'), (self.oid, '9' * 40 + '-1'),
                (self.oid, '../%s' % run_id), (self.oid, '')):
            with self.subTest(registry=registry, run=run):
                self.receiver.receive(registry, run)
        self.assertEqual(self.done, [])

    def test_only_registries_are_asked(self):
        self.patch('cipher.background.celery.receiver.LOOK_TRIES', 1)
        self.begin()
        run_id = self.start('note')
        for thing in self.site, self.counter, self.registry.lanes:
            self.receive(run_id, thing._p_oid.hex())
        self.receive(run_id, 'f' * 16)
        self.assertEqual(self.done, [])

    def test_message_chooses_neither_user_nor_site(self):
        task = register(self.app, lambda: self.db)
        self.addCleanup(choice._factories.pop, 'celery', None)
        run_id = self.start('note')
        for extra in {'user': 'admin'}, {'site': '/'}, {'type': 'note'}, {
                'input': {}}:
            with self.assertRaises(TypeError):
                task(self.oid, run_id, **extra)
        self.assertEqual(self.done, [])
        task(self.oid, run_id)
        self.assertEqual(self.done, [run_id])

    def test_runtime_with_threads_is_refused(self):
        self.runtime.shutdown()
        self.runtime = self.startRuntime(threads=1)
        with self.assertRaisesRegex(RuntimeRefused, 'without a runtime'):
            self.receive('0-0')

    def test_runtime_is_begun_at_the_first_message_and_closed(self):
        self.runtime.shutdown()
        self.assertIsNone(queryRuntime(self.db))
        run_id = self.start('note')
        self.receive(run_id)
        runtime = queryRuntime(self.db)
        self.assertEqual((runtime.threads, self.done), (0, [run_id]))
        self.receiver.close()
        self.assertIsNone(queryRuntime(self.db))


class SettingsTests(ReceivingTests):
    """JSON alone."""

    def test_json_alone_is_taken(self):
        celery.checkSettings(self.app)
        for name, value in (
                ('task_serializer', 'pickle'),
                ('result_serializer', 'pickle'),
                ('accept_content', ['json', 'pickle']),
                ('accept_content', ['application/x-python-serialize']),
                ('result_accept_content', ['yaml'])):
            app = Celery('test', broker=MEMORY, set_as_current=False)
            app.conf.update({name: value})
            with self.subTest(name=name), self.assertRaisesRegex(
                    RuntimeRefused, "expected %s to allow 'json' alone, got "
                    % name):
                register(app, None)

    def test_settings_changed_later_are_seen(self):
        run_id = self.start('note')
        self.app.conf.accept_content = ['json', 'pickle']
        with self.assertRaises(RuntimeRefused):
            self.receive(run_id)
        self.assertEqual(self.done, [])

    def test_runtime_refuses_to_begin(self):
        self.runtime.shutdown()
        register(self.app, None)
        self.addCleanup(choice._factories.pop, 'celery', None)
        self.app.conf.task_serializer = 'pickle'
        with self.assertRaisesRegex(RuntimeRefused, 'task_serializer'):
            self.startRuntime(executor='celery', threads=1)
        self.assertIsNone(queryRuntime(self.db))

    def test_executor_of_settings(self):
        self.assertEqual(RuntimeSettings().executor, 'threads')
        self.assertEqual(RuntimeSettings(executor='celery').executor, 'celery')
        self.assertEqual(RuntimeSettings(executor='mine').executor, 'mine')
        for name in '', None, 7:
            with self.assertRaisesRegex(ValueError, 'executor'):
                RuntimeSettings(executor=name)

    def test_executor_that_is_not_registered(self):
        self.runtime.shutdown()
        choice._factories.pop('celery', None)
        self.addCleanup(choice._factories.pop, 'mine')
        choice.registerExecutor('mine', None)
        for name in 'celery', 'carrots':
            with self.assertRaisesRegex(
                    RuntimeRefused, "expected executor=\"threads\" or a "
                    "registered one, 'mine', got '%s'" % name):
                self.startRuntime(executor=name, threads=1)


class SenderTests(ExecutorMixin, LiveTests):
    """What is sent, and again; nobody receives it."""

    resend = 0.2

    def makeApp(self):
        app = Celery('test', broker=MEMORY, set_as_current=False)
        self.messages = []
        self.error = None

        def send(name, args, **options):
            self.assertEqual((name, options['serializer']), (TASK, 'json'))
            if self.error is not None:
                raise self.error
            self.messages.append(args[1])

        app.send_task = send
        return app

    def setUp(self):
        super().setUp()
        self.receiver = Receiver(self.app, lambda: self.db)
        declareWorker('note', lambda worker: None)

    def test_contract(self):
        verifyObject(IExecutor, self.runtime.executor)
        self.assertIsInstance(self.runtime.executor, CeleryExecutor)

    def waitSent(self, number):
        waitUntil(lambda: len(self.messages) >= number, 'a message')

    def test_lost_message_is_sent_again_with_longer_pauses(self):
        sender = self.runtime.executor._sender
        go_out = sender._go_out
        sent_at = []

        def note(*args):
            sent_at.append(time.monotonic())   # before the pause begins
            return go_out(*args)

        sender._go_out = note
        run_id = self.start('note')
        self.waitSent(3)
        # It doubles at each: 0.2 s, 0.4 s.
        first, second, third = sent_at[:3]
        self.assertGreaterEqual(second - first, 0.2)
        self.assertGreaterEqual(third - second, 0.4)
        self.assertEqual(set(self.messages), {run_id})
        self.assertEqual(self.status(run_id).state, 'pending')

    def test_rolled_back_run_is_not_sent(self):
        self.begin()
        self.registry.start('note')
        transaction.abort()
        run_id = self.start('note')
        self.waitSent(1)
        self.assertEqual(set(self.messages), {run_id})

    def test_runs_wait_for_a_broker_that_is_away(self):
        self.patch(
            'cipher.background.runtime.executors.threads.RETRY_DELAY', 0.02)
        self.error = celery.OperationalError('connection refused')
        ids = [self.start('note') for _ in range(3)]
        waitUntil(lambda: 'Broker: expected' in self.logged.getvalue())
        self.assertEqual(self.messages, [])
        self.error = None
        waitUntil(lambda: set(self.messages) == set(ids), 'all messages')
        log = self.logged.getvalue()
        self.assertEqual(log.count('Broker: expected'), 1)
        self.assertIn('Broker: it takes messages again', log)

    def test_pending_run_that_was_sent_is_stopped(self):
        run_id = self.start('note')
        self.waitSent(1)
        self.requestStop(run_id, 'enough')
        self.assertEqual(self.waitFinished(run_id).state, 'stopped')

    def test_no_more_is_out_than_may_run(self):
        declareWorker('one', lambda worker: None, max_running=1)
        ids = [self.start('one') for _ in range(3)]
        self.waitSent(1)
        self.waitTurn()
        self.waitTurn()
        self.assertEqual(len(set(self.messages)), 1)
        left = set(ids)
        while left:
            waitUntil(lambda: left & set(self.messages), 'the next one')
            run_id, = left & set(self.messages)
            self.requestStop(run_id)
            self.waitFinished(run_id)
            left.remove(run_id)

    def test_window_of_what_is_out(self):
        self.patch('cipher.background.celery.sender.WINDOW', 2)
        ids = [self.start('note') for _ in range(4)]
        self.waitSent(2)
        self.waitTurn()
        self.assertEqual(set(self.messages), set(ids[:2]))
        self.requestStop(ids[0])
        waitUntil(lambda: ids[2] in self.messages, 'the third')

    def test_loop_runs_here(self):
        seen = []

        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                seen.append(self.run_id)
                return not self.wait(10)

        declareWorker('loop', factory=Loop, is_loop=True)
        run_id = self.start('loop')
        waitUntil(lambda: seen == [run_id], 'the loop')
        self.assertEqual(self.messages, [])
        self.requestStop(run_id)
        self.assertEqual(self.waitFinished(run_id).state, 'stopped')


class CeleryTests(ExecutorMixin, ZEOTests):
    """Redis, ZEO, and processes of Celery."""

    layer = REDIS_LAYER
    resend = 1.0

    def setUp(self):
        requireServer(self, REDIS_LAYER.missing)
        super().setUp()

    def makeApp(self):
        return makeApp(REDIS_LAYER.server.uri)

    def celery(self, *options, number=1):
        """Return processes of Celery that take messages."""
        processes = [CeleryProcess(
            self, REDIS_LAYER.server.uri, self.uri, self.path, *options)
            for _ in range(number)]
        for process in processes:
            process.waitReady()
        return processes

    def send(self, *message, **options):
        """Send a message by hand."""
        self.app.send_task(TASK, args=message, **options)

    def tearDown(self):
        with self.app.connection_for_write() as connection:
            connection.default_channel.client.flushall()
        super().tearDown()

    def test_all_is_carried_out_once_by_a_process_of_celery(self):
        process, = self.celery('--pool=threads', '--concurrency=2')
        ids = []
        for _ in range(20):
            ids.append(self.start('add'))
            # Twice at a time.
            self.send(self.registry._p_oid.hex(), ids[-1])
        self.assertEqual(self.waitAll(), 20)
        # Late, and of what was never committed.
        self.begin()
        rolled_back = self.registry.start('add').id
        transaction.abort()
        for run_id in ids[0], rolled_back, ids[1]:
            self.send(self.registry._p_oid.hex(), run_id)
        # Before its id is given to another run.
        waitUntil(lambda: 'there is no run %s' % rolled_back in process.log(),
                  'the message of no run')
        last = self.start('tell')
        self.waitFinal(last, 'succeeded')
        # Conflicts let work be done again, but count once.
        self.assertEqual(self.value(), 20)
        self.assertEqual({self.status(run_id).attempts for run_id in ids},
                         {1})
        # The work is done there.
        told = Path(self.path, 'tell').read_text().splitlines()
        self.assertEqual(set(told), {'%s:%d' % (last, process.pid)})

    def test_pickle_is_refused_unread(self):
        process, = self.celery()
        harm = os.path.join(self.path, 'harm')
        serializers.enable('pickle')
        self.addCleanup(serializers.disable, 'pickle')
        with self.app.connection_for_write() as connection:
            producer = self.app.amqp.Producer(connection)
            producer.publish(
                [[self.registry._p_oid.hex(), Boom(harm)], {}, {}],
                routing_key='celery', serializer='pickle',
                headers={'task': TASK, 'id': 'x'})
        self.waitFinal(self.start('add'), 'succeeded')
        self.assertIn('untrusted content of type pickle', process.log())
        self.assertFalse(os.path.exists(harm))

    def test_killed_process_of_celery(self):
        processes = {str(process.pid): process
                     for process in self.celery(number=2)}
        run_id = self.start('rerun')
        self.waitInside()
        self.waitForeign(run_id)
        name = self.status(run_id).owner
        processes[name.rpartition(':')[2]].kill()
        self.letGoOn()
        status = self.waitFinal(run_id, 'succeeded')
        self.assertEqual((status.interruptions, self.value()), (1, 1))

    def test_run_in_celery_is_stopped_from_here(self):
        process, = self.celery()
        run_id = self.start('polite')
        self.waitInside()
        self.waitForeign(run_id)
        self.requestStop(run_id, 'enough')
        self.assertEqual(self.waitFinal(run_id, 'stopped').stop.reason,
                         'enough')
        process.stop()
        self.waitProcesses(self.runtime.id)
