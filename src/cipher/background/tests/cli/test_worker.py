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
"""The command ``worker``: a process that does nothing but carry out runs."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from types import SimpleNamespace
from unittest import mock

from zope.component import getGlobalSiteManager
from zope.processlifetime import IDatabaseOpened
from zope.processlifetime import IDatabaseOpenedWithRoot

from cipher.background.cli import worker
from cipher.background.cli.command import CommandError
from cipher.background.cli.systemd import Notifier
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.testing import SetClock
from cipher.background.tests.support.commandsite import FOLDER
from cipher.background.tests.support.commandsite import CommandSiteTests
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.servers import ZEOServer
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.servers import programEnvironment
from cipher.background.tests.support.servers import requireServer
from cipher.background.tests.support.sites import ComponentTests


#: Seconds that a process may take on a busy machine.
LONG = 90


class OnceTests(CommandSiteTests):
    """``worker --once``, in this process."""

    layer = Live

    def once(self, *arguments):
        return self.run_command('worker', '--once', *arguments)

    def test_due_runs_and_those_that_they_start(self):
        self.start('begin')
        later = self.start('begin', '--delay', '3600')
        self.assertEqual((0, '', ''), self.once())
        self.assertEqual(2, self.value())
        self.assertEqual('pending', self.status(later).state)
        # No service was started.
        self.assertEqual({'begin', 'add'}, set(self.counts()))
        self.assertEqual((0, '', ''), self.once())

    def test_a_run_that_fails(self):
        failed = [self.start('fail') for _ in range(2)]
        self.start('begin')
        done = self.once()
        self.assertEqual((1, ''), (done.code, done.output))
        *logged, line = done.errors.splitlines()
        self.assertRegex(line, '^cipher-background worker: expected all runs '
                         'to succeed, got 2 that failed: .*; look at')
        for run_id in failed:
            self.assertIn(run_id, line)
        self.assertIn('ValueError: no good', '\n'.join(logged))
        self.assertEqual(2, self.value())
        # They are not due any more.
        self.assertEqual(0, self.once().code)

    def test_only_some_types(self):
        self.start('begin')
        run_id = self.start('fail')
        self.assertEqual((0, '', ''), self.once('--types', 'begin,add'))
        self.assertEqual(2, self.value())
        self.assertEqual('pending', self.status(run_id).state)

    def test_types_without_a_job(self):
        self.refuse(2, 'a worker type that is a job', 'worker', '--once',
                    '--types', 'service')

    def test_paused_type(self):
        run_id = self.start('fail')
        self.succeed('pause', 'fail')
        self.assertEqual(0, self.once().code)
        self.assertEqual('pending', self.status(run_id).state)

    def test_copy_of_a_database(self):
        self.start('begin')
        self.assertEqual(0, self.once().code)
        self.start('begin')
        self.path = shutil.copy(self.path, self.folder / 'copy.fs')
        self.options = '--db', self.path, *self.options[2:]
        done = self.once()
        self.assertEqual(1, done.code)
        self.assertIn('the database is a copy', done.errors)
        self.assertRegex(done.errors.splitlines()[-1], 'is quiet; look')
        self.assertEqual(2, self.value())


class ScheduleTests(CommandSiteTests):

    layer = Live
    zcml = '''
        <background:runtime threads="1" poll="0.05" />
        <background:schedule worker="begin" every="3600" />
    '''

    def test_schedule_that_is_due(self):
        with SetClock() as clock:
            for seconds, expected in (0, 0), (3600, 2), (1800, 2), (1800, 4):
                clock.advance(seconds)
                done = self.run_command('worker', '--once')
                self.assertEqual((0, ''), (done.code, done.errors))
                self.assertEqual(expected, self.value())


class WaitingTests(unittest.TestCase):
    """When ``--once`` ends, with a runtime that only tells what it is at."""

    def setUp(self):
        self.lives = []
        self.runtime = SimpleNamespace(
            turns=1, is_taking=True, is_draining=False, threads=1,
            is_quiet=False, allLive=lambda: self.lives,
            running=SimpleNamespace(entered=0, countJobs=lambda: 0),
            settings=SimpleNamespace(lease=0.0))
        signals = SimpleNamespace(wait=self.wait)
        self.process = worker.Process(self.runtime, signals, Notifier({}))
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)
        self.assertLess(len(self.waits), 100)
        return False

    def due(self, *results):
        return mock.patch.object(
            self.process, '_is_any_due', mock.Mock(side_effect=results))

    def test_end(self):
        with self.due(False):
            self.process._wait_until_done()

    def test_runs_that_never_begin(self):
        with self.due(True, True):
            with self.assertRaisesRegex(CommandError, 'to begin, got none'):
                self.process._wait_until_done()

    def test_run_that_begins_during_the_look(self):
        self.runtime.settings.lease = 1000.0

        looks = []

        def look():
            looks.append(1)
            self.runtime.running.entered = 1   # at the first look
            return False

        with mock.patch.object(self.process, '_is_any_due', look):
            self.process._wait_until_done()
        self.assertEqual(2, len(looks))

    def test_process_that_begins_nothing(self):
        self.runtime.is_taking = False
        with self.assertRaisesRegex(CommandError, 'that is quiet'):
            self.process._wait_until_done()


class SettingsTests(ComponentTests):

    def choose(self, **options):
        return worker.choose_settings(SimpleNamespace(**dict(
            {'threads': None, 'types': None, 'once': False}, **options)))

    def test_without_a_declaration(self):
        settings = self.choose()
        self.assertEqual((4, None), (settings.threads, settings.types))
        self.assertEqual(7, self.choose(threads=7).threads)

    def test_declaration_without_threads(self):
        getGlobalSiteManager().registerUtility(
            worker.RuntimeSettings(threads=0, drain=3.0), IRuntimeSettings)
        with self.assertRaisesRegex(worker.Unusable, '--threads'):
            self.choose()
        settings = self.choose(threads=1)
        self.assertEqual((1, 3.0), (settings.threads, settings.drain))

    def test_events_of_the_opening(self):
        """Each is sent once, whether the application sends the second."""
        for is_sent in True, False:
            events = []
            components = getGlobalSiteManager()
            components.registerHandler(
                lambda event: events.append('root'),
                [IDatabaseOpenedWithRoot])

            def opened(event):
                events.append('opened')
                # The runtime begins later.
                self.assertIsNone(components.queryUtility(IRuntimeSettings))
                if is_sent:
                    worker.notify(worker.DatabaseOpenedWithRoot(None))

            components.registerHandler(opened, [IDatabaseOpened])
            components.registerUtility(
                worker.RuntimeSettings(threads=0), IRuntimeSettings)
            settings = worker.RuntimeSettings(threads=2)
            worker.announce_opening(None, settings)
            with self.subTest(is_sent=is_sent):
                self.assertEqual(['opened', 'root'], events)
            self.assertIs(settings, components.queryUtility(IRuntimeSettings))
            components.__init__('base')


class NotifierTests(unittest.TestCase):

    layer = Live

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, 'notify')

    def test_messages(self):
        for address in self.path, '@cipher.background %d' % os.getpid():
            with self.subTest(address):
                with socket.socket(socket.AF_UNIX,
                                   socket.SOCK_DGRAM) as receiver:
                    receiver.settimeout(LONG)
                    receiver.bind(address.replace('@', '\0'))
                    environment = {'NOTIFY_SOCKET': address}
                    notifier = Notifier(environment)
                    notifier.send(ready=1, status='begins')
                    self.assertEqual(b'READY=1\nSTATUS=begins',
                                     receiver.recv(1000))
                    notifier.say('busy')
                    notifier.say('busy')
                    notifier.say('free')
                    self.assertEqual([b'STATUS=busy', b'STATUS=free'],
                                     [receiver.recv(1000) for _ in range(2)])
                    # Not for the processes that the work begins.
                    self.assertEqual({}, environment)

    def test_without_systemd(self):
        notifier = Notifier({})
        notifier.send(ready=1)
        self.assertIsNone(notifier.watchdog)

    def test_socket_that_is_gone(self):
        notifier = Notifier({'NOTIFY_SOCKET': self.path})
        with self.assertLogs('cipher.background.cli', 'WARNING') as logs:
            notifier.send(ready=1)
            notifier.send(ready=1)
        self.assertEqual(1, len(logs.records))

    def test_watchdog(self):
        for environment, expected in (
                ({'WATCHDOG_USEC': '2500000'}, 2.5),
                ({'WATCHDOG_USEC': '2500000',
                  'WATCHDOG_PID': str(os.getpid())}, 2.5),
                ({'WATCHDOG_USEC': '2500000', 'WATCHDOG_PID': '1'}, None),
                ({'WATCHDOG_USEC': '0'}, None),
                ({'WATCHDOG_USEC': 'x'}, None)):
            with self.subTest(environment):
                self.assertEqual(
                    expected, Notifier(dict(environment)).watchdog)


class WorkerProcess:
    """A process of ``cipher-background worker``; it ends with the test."""

    def __init__(self, test, *arguments, **environment):
        self._test = test
        self._path = test.folder / ('worker-%d.log' % len(
            list(test.folder.glob('worker-*'))))
        with self._path.open('wb') as log:
            self._popen = subprocess.Popen(
                [sys.executable, '-m', 'cipher.background', 'worker',
                 *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env=dict(
                    programEnvironment(), **environment,
                    **{FOLDER: str(test.folder)}))
        self.pid = self._popen.pid
        test.addCleanup(self._close)

    def log(self):
        """Return what it has logged so far."""
        return self._path.read_text()

    def waitLog(self, text):
        """Wait until it has logged *text*."""
        def is_logged():
            if self._popen.poll() is not None and text not in self.log():
                raise AssertionError('the process has ended:\n' + self.log())
            return text in self.log()
        try:
            waitUntil(is_logged, 'the record %r' % text, LONG)
        except AssertionError as error:
            raise AssertionError('%s\n%s' % (error, self.log())) from None

    def signal(self, number):
        """Send it a signal."""
        self._popen.send_signal(number)

    def wait(self):
        """Wait for its end; return its exit code."""
        return self._popen.wait(LONG)

    def _close(self):
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()


class SignalTests(CommandSiteTests):
    """A process on a file of its own."""

    layer = Live
    zcml = '<background:runtime threads="2" poll="0.05" drain="60" />'

    def begin(self, *arguments, **environment):
        return WorkerProcess(self, *self.options, *arguments, **environment)

    def waitInside(self):
        """Wait until a run has begun; return the pid of its process."""
        path = self.folder / 'inside'
        text = waitUntil(lambda: path.exists() and path.read_text(),
                         'a run that has begun', LONG)
        path.unlink()
        return int(text)

    def test_signals_drain(self):
        notified = self.folder / 'notify'
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(str(notified))
        receiver.settimeout(LONG)
        for number in signal.SIGTERM, signal.SIGINT:
            with self.subTest(number=number):
                run_id = self.start('wait')
                process = self.begin(
                    NOTIFY_SOCKET=str(notified), WATCHDOG_USEC='1000000')
                self.assertEqual(process.pid, self.waitInside())
                self.assertEqual(b'READY=1', receiver.recv(1000))
                process.signal(number)
                process.waitLog('ends; its work may take')
                self.folder.joinpath('go-on').touch()
                self.assertEqual(0, process.wait(), process.log())
                self.folder.joinpath('go-on').unlink()
                self.assertEqual('succeeded', self.status(run_id).state)
                told = receiver.recv(1000)
                while not told.startswith(b'STOPPING=1'):
                    self.assertRegex(told, b'^(WATCHDOG=1|STATUS=.*)$')
                    told = receiver.recv(1000)
                self.assertIn(b'EXTEND_TIMEOUT_USEC=105000000', told)
                receiver.setblocking(False)
                with self.assertRaises(BlockingIOError):
                    while receiver.recv(1000) == b'WATCHDOG=1':
                        pass
                receiver.settimeout(LONG)
        with self.opened() as registry:
            self.assertEqual(
                ['shut down'] * 2,
                [one.how for one in registry.listEndedProcesses()])

    def test_second_signal_ends_at_once(self):
        self.start('stubborn')
        process = self.begin()
        self.waitInside()
        process.signal(signal.SIGTERM)
        process.waitLog('ends; its work may take')
        process.signal(signal.SIGTERM)
        self.assertEqual(128 + signal.SIGTERM, process.wait())
        self.assertIn('A second signal', process.log())
        # Another process takes the run over.
        process = self.begin()
        self.assertEqual(process.pid, self.waitInside())

    def test_a_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            done = self.run_command(
                'worker', '--metrics-port', taken.getsockname()[1])
        self.assertEqual(2, done.code)
        self.assertRegex(done.errors, '--metrics-port: .*; ')


class TwoProcessesTests(CommandSiteTests):
    """A ZEO server, two worker processes, and this one without a runtime."""

    layer = Live
    zcml = '<background:runtime threads="2" poll="0.05" drain="60" />'

    def makeSite(self):
        requireServer(self, ZEOServer.findMissing())
        self.server = ZEOServer(str(self.folder))
        self.addCleanup(self.server.kill)
        self.path = self.folder / 'Data.fs'
        super().makeSite()
        self.server.start()
        self.path = 'zeo://127.0.0.1:%d' % self.server.port
        self.options = '--db', self.path, '--zcml', self.zcml_path

    def openDatabase(self):
        if isinstance(self.path, str):
            return openDatabase(self.server.uri)
        return super().openDatabase()

    waitInside = SignalTests.waitInside

    def begin(self, *arguments):
        process = WorkerProcess(self, *self.options, *arguments)
        process.waitLog('works on')
        return process

    def health(self):
        return self.run_command('health').code

    def waitHealth(self, code):
        waitUntil(lambda: self.health() == code, 'the health %d' % code, LONG)

    def ask(self, name, *arguments):
        return json.loads(self.succeed(name, '--json', *arguments))

    def waitProcesses(self, *processes):
        """Wait until these are the living processes."""
        pids = {process.pid for process in processes}
        waitUntil(lambda: {one['pid'] for one in self.ask('processes')[
            'items'] if one['health'] == 'alive'} == pids,
            'the processes %s' % pids, LONG)

    def test_work_goes_on_when_one_is_killed(self):
        self.assertEqual(2, self.health())
        first = self.begin()
        second = self.begin()
        self.waitProcesses(first, second)
        self.waitHealth(0)
        run_id = self.start('wait')
        pid = self.waitInside()
        killed, other = (first, second) if pid == first.pid else (
            second, first)
        # The other one must not notice it before this test has looked.
        other.signal(signal.SIGSTOP)
        killed.signal(signal.SIGKILL)
        killed.wait()
        self.assertEqual(1, self.health())
        other.signal(signal.SIGCONT)
        self.assertEqual(other.pid, self.waitInside())
        self.folder.joinpath('go-on').touch()
        waitUntil(lambda: self.ask('show', run_id)['state'] == 'succeeded',
                  'the end of the run', LONG)
        self.waitProcesses(other)
        self.waitHealth(0)
        with self.opened() as registry:
            ended, = registry.listEndedProcesses()
        self.assertEqual((killed.pid, 'gone'), (ended.pid, ended.how))
        self.assertIn(run_id, ended.run_ids)
        self.assertEqual(1, self.value())
        # A start waits for its end, and a failure is an exit code.
        self.assertIn('succeeded', self.run_command(
            'start', 'begin', '--wait').output)
        done = self.run_command('start', 'fail', '--wait')
        self.assertEqual(1, done.code)
        self.assertIn('ValueError: no good', done.errors.splitlines()[-1])
        # An administrator ends the last one.
        process, = self.ask('processes')['items']
        self.succeed('drain', process['name'], '--reason', 'a deploy')
        self.assertEqual(0, other.wait(), other.log())
        self.assertEqual(2, self.health())

    def test_types_and_quiet(self):
        some = self.begin('--types', 'begin')
        quiet = self.begin('--quiet')
        waits = self.start('compute')
        self.assertEqual(0, self.run_command('start', 'begin', '--wait').code)
        self.assertEqual({'begin'}, {
            status.type for status in self.listRuns('succeeded')})

        def shown():
            return {one['pid']: (one['types'], one['is_quiet'])
                    for one in self.ask('processes')['items']}

        waitUntil(lambda: shown() == {some.pid: (['begin'], False),
                                      quiet.pid: (None, True)},
                  'what the processes take', LONG)
        self.assertEqual('undeclared', self.status(waits).wait.kind)
        name, = [one['name'] for one in self.ask('processes')['items']
                 if one['is_quiet']]
        self.succeed('quiet', '--off', name)
        waitUntil(lambda: self.status(waits).state == 'succeeded',
                  'the end of the run', LONG)

    def listRuns(self, *states):
        with self.opened() as registry:
            return registry.listRuns(states=states).items

    def test_process_whose_code_lacks_a_type(self):
        self.start('compute')
        path = self.folder / 'lacks.zcml'
        text = (self.folder / 'site.zcml').read_text()
        path.write_text(text.replace('name="compute"', 'name="computing"'))
        process = WorkerProcess(self, '--db', self.path, '--zcml', path)
        process.waitLog("no ZCML declares the worker type 'compute' here; it "
                        'waits')
        process.signal(signal.SIGTERM)
        self.assertEqual(0, process.wait(), process.log())
