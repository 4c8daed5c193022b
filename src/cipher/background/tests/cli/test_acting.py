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
"""The commands that start runs, act on them, and administer."""
import datetime
import getpass
import io
import json
import os
import unittest
from unittest import mock

from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError

from cipher.background.cli import acting
from cipher.background.cli.command import Unusable
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import SUCCEEDED
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.testing import SetClock
from cipher.background.tests.support.commandsite import CommandSiteTests
from cipher.background.tests.support.commandsite import IInput


CALLER = 'command line, OS user %s' % getpass.getuser()


class InputTests(unittest.TestCase):

    def read(self, *pairs):
        return acting.readInput(IInput, pairs)

    def test_texts_are_read_as_their_fields_need_them(self):
        for name, text, expected in (
                ('number', '-5', -5), ('number', 'x', 'x'),
                ('factor', '2', 2), ('factor', '2.5', 2.5),
                ('flag', 'yes', True), ('flag', 'False', False),
                ('flag', 'ja', 'ja'), ('day', '2026-01-31', '2026-01-31'),
                ('names', 'anna', ['anna']), ('names', '["a", "b"]',
                                              ['a', 'b']),
                ('numbers', '7', [7]), ('numbers', '[7]', [7]),
                ('sizes', '{"a": 1}', {'a': 1}), ('sizes', '[', '['),
                ('kind', 'some', 'some'), ('text', '5', '5'),
                ('text', 'a=b', 'a=b'), ('text', '', ''),
                ('nosuch', '5', '5')):
            with self.subTest(name=name, text=text):
                self.assertEqual({name: expected}, self.read((name, text)))

    def test_the_key_of_a_list_may_come_again(self):
        self.assertEqual({'names': ['a', 'b'], 'number': 1}, self.read(
            ('names', 'a'), ('number', '1'), ('names', 'b')))

    def test_no_other_key_may(self):
        with self.assertRaisesRegex(Unusable, 'each key once'):
            self.read(('number', '1'), ('number', '2'))

    def test_without_a_schema(self):
        self.assertEqual({'a': '1'}, acting.readInput(None, [('a', '1')]))


class StartTests(CommandSiteTests):

    def test_start_as_a_principal(self):
        run_id = self.start('add', '--user', 'test.anna')
        status = self.status(run_id)
        self.assertEqual(('add', 'pending', 'test.anna'), (
            status.type, status.state, status.starter))

    def test_start_by_trusted_code(self):
        status = self.status(self.start('compute'))
        self.assertIsNone(status.starter)

    def test_input_and_options_between_it(self):
        run_id = self.start(
            'compute', 'number=5', '--priority', '-2', 'names=a',
            'day=2026-01-31', '--delay', '60', 'names=b')
        with self.opened() as registry:
            run = registry.get(run_id)
            self.assertEqual(
                (5, 1.5, ['a', 'b'], datetime.date(2026, 1, 31)),
                tuple(run.input[name] for name in (
                    'number', 'factor', 'names', 'day')))
            self.assertEqual(-2, run.priority)
            self.assertAlmostEqual(60, run.due_at - run.created_at, 0)

    def test_input_in_a_file(self):
        path = self.folder / 'input.json'
        path.write_text('{"number": 8, "text": "file"}')
        for given, stdin in ((path, ''), ('-', path.read_text())):
            with mock.patch('sys.stdin', io.StringIO(stdin)):
                run_id = self.start('compute', '--input', given, 'text=given')
            with self.opened() as registry:
                input = registry.get(run_id).input
            self.assertEqual((8, 'given'), (input['number'], input['text']))

    def test_context(self):
        for path in '/news/today', 'news/today':
            for user in (), ('--user', 'test.admin'):
                with self.subTest(path=path, user=user):
                    run_id = self.start('compute', '--context', path, *user)
                    with self.opened() as registry:
                        self.assertIs(
                            registry.getSite()['news']['today'],
                            registry.get(run_id).context)

    def test_unique_start_returns_the_waiting_run(self):
        first = self.start('compute', '--unique', 'input', 'number=1')
        self.assertEqual(first, self.start(
            'compute', '--unique', 'input', 'number=1'))
        self.assertNotEqual(first, self.start(
            'compute', '--unique', 'input', 'number=2'))

    def test_json(self):
        data = json.loads(self.succeed('start', 'compute', '--json'))
        self.assertEqual('pending', data['state'])
        self.assertEqual('compute', self.status(data['id']).type)

    def test_type_that_runs_as_its_starter_needs_a_user(self):
        self.refuse(2, "--user: .* 'add' runs with the permissions of its "
                    'starter', 'start', 'add')

    def test_options_of_trusted_code_are_not_for_users(self):
        for option in (('--delay', '1'), ('--delay', '0'), (
                '--priority', '0'), ('--unique', 'no')):
            self.refuse(2, 'expected no --user', 'start', 'add', '--user',
                        'test.anna', *option)

    def test_permissions(self):
        for user, name in ('test.nobody', 'add'), ('test.anna', 'fail'):
            self.refuse(1, 'with the permission', 'start', name,
                        '--user', user)
        self.assertEqual({}, self.counts())

    def test_bad_input(self):
        for expected, arguments in (
                ("'number': expected a Int", ('number=x',)),
                ("'factor': expected a Float", ('factor=',)),
                ("'flag': expected a Bool", ('flag=maybe',)),
                ("'day': expected a Date", ('day=tomorrow',)),
                ("'kind': expected a Choice", ('kind=none',)),
                ("'sizes': expected a Dict", ('sizes=3',)),
                ("got 'nosuch'", ('nosuch=1',)),
                ('expected the path', ('--context', '/nosuch')),
                ('expected the path', ('--context', '/')),
                ('expected the path', ('--context', '/counter/value'))):
            self.refuse(1, expected, 'start', 'compute', *arguments)
        for expected, arguments in (
                ('expected KEY=VALUE', ('number',)),
                ('expected KEY=VALUE', ('=1',)),
                ('expected KEY=VALUE', ('a-b=1',)),
                ('each key once', ('number=1', 'number=2')),
                ('JSON object', ('--input', self.zcml_path)),
                ('No such file', ('--input', 'nosuch')),
                ('a number of seconds', ('--delay', 'x')),
                ('delay: expected seconds', ('--delay', '999999999')),
                ('a whole number', ('--priority', '1.5')),
                ('priority: expected a whole number', (
                    '--priority', '999999'))):
            self.refuse(2, expected, 'start', 'compute', *arguments)
        self.refuse(1, "worker 'nosuch'", 'start', 'nosuch')
        self.assertEqual({}, self.counts())

    def test_without_the_zcml(self):
        self.options = '--db', self.path
        self.refuse(2, '--zcml', 'start', 'add')

    def test_waiting_for_a_run_that_no_other_process_can_carry_out(self):
        self.refuse(2, 'worker --once', 'start', 'compute', '--wait')
        self.assertEqual({}, self.counts())

    def test_a_conflict_is_tried_again(self):
        submit = WorkerRegistry.submit
        calls = []

        def conflict(*arguments, **options):
            calls.append(submit(*arguments, **options))
            if len(calls) == 1:
                raise ConflictError
            return calls[-1]

        with mock.patch.object(WorkerRegistry, 'submit', conflict):
            self.start('compute')
        self.assertEqual(2, len(calls))
        self.assertEqual({'compute': {'pending': 1}}, self.counts())

    def test_a_database_that_a_server_has_open(self):
        storage = FileStorage(str(self.path))
        self.addCleanup(storage.close)
        for name, *arguments in CASES:
            with self.subTest(name):
                self.refuse(2, 'locked by the process %d; .*ZEO'
                            % os.getpid(), name, *arguments)


#: A call of each command that writes.
CASES = (
    ('start', 'compute'), ('stop', '1-1'), ('retry', '1-1'),
    ('remove', '1-1'), ('pause', 'compute'), ('resume', 'compute'),
    ('quiet', 'host:1'), ('drain', 'host:1'), ('purge', '--all'),
    ('evolve',))


class ActTests(CommandSiteTests):

    def setUp(self):
        super().setUp()
        with self.opened() as registry:
            self.waiting, self.done = (
                registry.addRun('compute').id for _ in range(2))
            registry.finish(registry.get(self.done), SUCCEEDED,
                            RunSucceededEvent)

    def actions(self):
        with self.opened() as registry:
            return [(one.verb, one.subject, one.principal, one.reason)
                    for one in registry.listActions()[0]]

    def test_stop(self):
        self.assertEqual('%s: stopped\n' % self.waiting, self.succeed(
            'stop', self.waiting, '--reason', 'enough'))
        self.assertEqual('stopped', self.status(self.waiting).state)
        self.assertEqual([('stop', self.waiting, CALLER, 'enough')],
                         self.actions())

    def test_retry(self):
        data = json.loads(self.succeed('retry', '--json', self.done))
        item, = data['items']
        self.assertEqual('pending', self.status(item['retried_as']).state)

    def test_remove(self):
        self.succeed('remove', self.done)
        with self.opened() as registry:
            self.assertIsNone(registry.get(self.done))

    def test_one_that_is_refused_does_not_keep_the_others(self):
        done = self.run_command('remove', self.waiting, 'x', self.done)
        self.assertEqual((1, '%s: removed\n' % self.done),
                         (done.code, done.output))
        self.assertEqual(2, len(done.errors.splitlines()))
        self.assertIn("run 'x': expected the id of a run", done.errors)
        done = self.run_command('stop', '--json', 'x', self.waiting)
        self.assertEqual((1, ''), (done.code, done.errors))
        self.assertEqual(['error', 'state'], [
            sorted(item)[0 if 'error' in item else 1]
            for item in json.loads(done.output)['items']])

    def test_principals_need_their_permissions(self):
        with self.opened() as registry:
            self.addProcess(registry)
        for name, *arguments in (
                ('stop', self.waiting), ('retry', self.done),
                ('remove', self.done), ('pause', 'compute'),
                ('resume', 'compute'), ('quiet', 'host:1'),
                ('drain', 'host:1'), ('purge', '--all')):
            for user in 'test.anna', 'test.nobody':
                with self.subTest(name, user=user):
                    self.refuse(1, 'with the permission', name, *arguments,
                                '--user', user)
        self.assertEqual([], self.actions())
        self.succeed('stop', self.waiting, '--user', 'test.admin')
        self.assertEqual([('stop', self.waiting, 'test.admin', None)],
                         self.actions())

    def addProcess(self, registry):
        directory = getDirectory(registry._p_jar)
        for process_id in 'host:1:a', 'host:1:b', 'host:2:c':
            if process_id != 'host:1:b' or not self.is_named:
                directory.processes[process_id] = ProcessRecord(
                    process_id, 'host', int(process_id[5]), None, None, 2,
                    30.0, 0.0)

    is_named = True   # no two processes have the same HOST:PID

    def test_pause_and_resume(self):
        self.assertEqual('compute: paused\n', self.succeed(
            'pause', 'compute', '--reason', 'holiday'))
        with self.opened() as registry:
            self.assertEqual(['compute'], list(registry.pauses))
        self.assertEqual(
            {'type': 'compute', 'is_paused': False},
            json.loads(self.succeed('resume', 'compute', '--json')))
        with self.opened() as registry:
            self.assertEqual([], list(registry.pauses))
        for name in 'pause', 'resume':
            self.refuse(1, "worker 'nosuch'", name, 'nosuch')

    def test_quiet_and_drain(self):
        with self.opened() as registry:
            self.addProcess(registry)

        def request(process_id):
            with self.opened() as registry:
                found = getDirectory(registry._p_jar).processes[
                    process_id].request
                return found.is_quiet, found.is_draining

        self.succeed('quiet', 'host:2')
        self.assertEqual((True, False), request('host:2:c'))
        self.succeed('quiet', '--off', 'host:2:c')
        self.assertEqual((False, False), request('host:2:c'))
        self.succeed('drain', 'host:1')
        self.assertEqual((False, True), request('host:1:a'))
        self.assertEqual((False, False), request('host:2:c'))

    def test_process_that_is_unknown_or_not_the_only_one(self):
        self.is_named = False
        with self.opened() as registry:
            self.addProcess(registry)
        for name in 'quiet', 'drain':
            for process in 'host', 'host:3', '', 'host:1:c':
                self.refuse(1, 'expected the id or HOST:PID', name, process)
            self.refuse(1, 'got that of 2; give the id of one: host:1:a, '
                        'host:1:b', name, 'host:1')

    def test_evolve(self):
        self.assertEqual('Up to date, after 0 commits.\n',
                         self.succeed('evolve'))
        self.options = '--db', self.path
        self.assertEqual({'commits': 0},
                         json.loads(self.succeed('evolve', '--json')))

    def test_evolve_of_a_newer_database(self):
        with self.opened() as registry:
            registry.structure_version = 99
        self.refuse(2, 'structure', 'evolve')


class PurgeTests(CommandSiteTests):

    def setUp(self):
        super().setUp()
        patcher = mock.patch.object(acting, 'BATCH', 2)
        patcher.start()
        self.addCleanup(patcher.stop)

    def make(self, name='compute', starter=None, days=0, is_done=True,
             **values):
        """Make a run that finished *days* ago; return its id."""
        with SetClock() as clock:
            clock.advance(-86400.0 * days)
            with self.opened() as registry:
                run = registry.addRun(name, starter=starter, **values)
                if is_done:
                    registry.finish(run, SUCCEEDED, RunSucceededEvent)
                return run.id

    def left(self):
        with self.opened() as registry:
            return {status.id for status in registry.listRuns().items}

    def test_filters(self):
        old = [self.make(days=10) for _ in range(5)]
        new, other = self.make(), self.make('fail', days=10)
        waits = self.make(days=10, is_done=False)
        data = json.loads(self.succeed(
            'purge', '--older', '9.5', '--type', 'compute', '--json'))
        self.assertEqual([{'type': 'compute', 'state': 'succeeded',
                           'number': 5}], data['removed'])
        self.assertEqual({new, other, waits}, self.left())
        self.succeed('purge', '--state', 'failed')
        self.assertEqual({new, other, waits}, self.left())
        self.succeed('purge', '--all')
        self.assertEqual({waits}, self.left())
        self.assertEqual(5, len(old))

    def test_dry_run(self):
        runs = {self.make(), self.make('fail'), self.make('fail')}
        size = os.path.getsize(self.path)
        output = self.succeed('purge', '--all', '--dry-run')
        self.assertEqual(
            ['Would remove 3 finished runs:',
             ['Type', 'State', 'Runs'],
             ['compute', 'succeeded', '1'],
             ['fail', 'succeeded', '2']],
            [line if index == 0 else line.split()
             for index, line in enumerate(output.splitlines())])
        self.assertEqual(size, os.path.getsize(self.path))
        self.assertEqual(runs, self.left())

    def test_dry_run_beside_a_server(self):
        self.make()
        storage = FileStorage(str(self.path))
        self.addCleanup(storage.close)
        self.assertIn('Would remove 1', self.succeed(
            'purge', '--all', '--dry-run'))

    def test_person(self):
        # "test.anna" is the id of one, and "Anna" the title.
        mine = {self.make(starter='test.anna') for _ in range(3)}
        asked = self.make(starter='test.admin', asker='test.anna')
        waits = self.make(starter='test.anna', is_done=False)
        others = {self.make(starter='Anna'), self.make(starter='test.ann'),
                  self.make(starter=None)}
        self.succeed('stop', self.make(is_done=False), '--user', 'test.admin')
        data = json.loads(self.succeed(
            'purge', '--person', 'test.anna', '--json', '--dry-run'))
        self.assertEqual({'unfinished_runs': 1, 'actions': 0}, data['kept'])
        before = self.left()
        self.assertLessEqual(mine | {asked}, before)
        output = self.succeed('purge', '--person', 'test.anna')
        self.assertIn('Removed 4 finished runs', output)
        self.assertIn('Kept: 1 unfinished runs', output)
        self.assertEqual(before - mine - {asked}, self.left())
        self.assertLessEqual(others | {waits}, self.left())
        data = json.loads(self.succeed(
            'purge', '--person', 'test.admin', '--json', '--dry-run'))
        self.assertEqual({'unfinished_runs': 0, 'actions': 1}, data['kept'])
        with self.opened() as registry:
            self.assertNotIn('anna', repr(registry.listActions()))

    def test_a_person_who_is_no_principal_any_more(self):
        # A list would search for it in the titles of others.
        run_id = self.make(starter='test.anna')
        self.succeed('purge', '--person', 'Anna')
        self.assertEqual({run_id}, self.left())

    def test_a_filter_is_needed(self):
        self.make()
        for arguments in (), ('--dry-run',):
            self.refuse(2, 'expected --older, --type', 'purge', *arguments)
        self.refuse(2, 'expected no other option', 'purge', '--all',
                    '--older', '3')
        self.refuse(2, 'a number of days', 'purge', '--older', 'x')
        self.assertEqual(1, len(self.left()))
