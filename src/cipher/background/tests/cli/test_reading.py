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
"""Tests of the commands that only look."""
import io
import json
import os
import re
import time
from unittest import mock

import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from cipher.background.cli import main
from cipher.background.cli import reading
from cipher.background.cli.output import Output
from cipher.background.cli.output import measure
from cipher.background.cli.presenting import makePresenter
from cipher.background.i18n import plural
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.commandline import SECRET
from cipher.background.tests.support.commandline import CommandTests
from cipher.background.tests.support.commandline import callMain
from cipher.background.tests.support.layers import Long


class ReadingTests(CommandTests):

    def test_status(self):
        data = self.ask('status')
        self.assertEqual({
            'pending': 1, 'running': 0, 'succeeded': 1, 'failed': 2,
            'stopped': 1, 'interrupted': 0}, data['counts'])
        self.assertEqual([], data['processes'])
        self.assertEqual({self.runs['failed'], self.runs['hidden']},
                         {run['id'] for run in data['failed']})
        self.assertEqual(['no-runtime'],
                         [problem['kind'] for problem in data['problems']])
        code, output, errors = self.call('status')
        self.assertEqual((0, ''), (code, errors))
        for text in ('succeeded', 'ValueError: no data', '1 run waits',
                     'No process carries out runs.', 'Without --zcml'):
            self.assertIn(text, output)
        _, output, _ = self.call('status', '--zcml', self.light())
        self.assertNotIn('Without --zcml', output)

    def test_list_has_the_filters_of_the_page(self):
        runs = self.runs
        for arguments, expected in (
                (('state:failed',), ['hidden', 'failed']),
                (('state:failed', 'type:report'), ['failed']),
                (('type:REPORT', 'state:succeeded'), ['done']),
                (('no data',), ['failed']),
                (('"no data"',), ['failed']),
                (('id:' + runs['done'], 'id:' + runs['hidden']),
                 ['done', 'hidden']),
                (('state:unresolved',), ['hidden', 'failed']),
                (('user:nobody',), []),
                (('--context', 'minutes'), ['done']),
                (('--since', '2999-01-01'), []),
                (('--until', '2001-01-01'), []),
                (('state:failed', '--order', 'oldest'),
                 ['failed', 'hidden']),
                (('state:failed', '--limit', '1'), ['hidden'])):
            with self.subTest(arguments):
                found = self.ask('list', *arguments)['items']
                self.assertEqual([runs[name] for name in expected],
                                 [one['id'] for one in found])

    def test_list_goes_on(self):
        found, more = [], []
        for _ in range(5):
            data = self.ask('list', '--limit', '1', *more)
            found += [one['id'] for one in data['items']]
            more = ['--before', data['older']]
        self.assertIsNone(data['older'])
        self.assertEqual(5, len(set(found)))
        output = self.call('list', '--limit', '1')[1]
        self.assertIn('There are more: --before ', output)

    def test_a_list_without_runs(self):
        self.assertEqual('No run matches.\n',
                         self.call('list', 'type:nosuch')[1])

    def test_show(self):
        data = self.ask('show ' + self.runs['done'])
        self.assertEqual(
            ('succeeded', '42 pages', {
                'title': 'Minutes', 'path': '/minutes'}),
            (data['state'], data['result'], data['context']))
        output = self.call('show', self.runs['failed'])[1]
        for text in ('State', 'ValueError: no data', 'Traceback of March',
                     'not declared here'):
            self.assertIn(text, output)

    def test_passwords_are_masked_everywhere(self):
        zcml = self.light()
        calls = [('list',), ('status',), ('journal',), ('types',)] + [
            (command, run_id) for command in ('show', 'log')
            for run_id in self.runs.values()]
        for call in calls:
            for extra in (), ('--json',), ('--zcml', zcml), (
                    '--zcml', zcml, '--json'):
                code, output, _ = self.call(*call, *extra)
                self.assertEqual(0, code)
                self.assertNotIn(SECRET, output)
        # Without the schema nothing of the input is shown.
        shown = self.ask('show', self.runs['failed'])['details']['input']
        self.assertEqual({'title': '•••', 'password': '•••'}, shown)
        shown = self.ask('show', self.runs['failed'], '--zcml', zcml)
        self.assertEqual('March', shown['details']['input']['title'])

    def test_log(self):
        run_id = self.runs['failed']
        self.assertEqual('Line 1\nLine 2\n', self.call('log', run_id)[1])
        self.assertEqual(
            {'id': run_id, 'state': 'failed', 'log': 'Line 1\nLine 2\n'},
            self.ask('log', run_id))
        # It is finished, so there is nothing to wait for.
        self.assertEqual('Line 1\nLine 2\n',
                         self.call('log', run_id, '--follow')[1])
        self.assertEqual('', self.call('log', self.runs['done'])[1])

    def test_types(self):
        found = {one['name']: one for one in self.ask('types')['items']}
        self.assertEqual({'report', 'hidden'}, set(found))
        self.assertFalse(found['report']['is_declared'])
        code, output, _ = self.call('types', '--zcml', self.light())
        self.assertIn('Make a report', output)
        self.assertIn('33 %', output)

    def test_schedules(self):
        data = self.ask('schedules', '--zcml', self.light())
        self.assertEqual([('nightly', 'hidden', False)], [
            (one['name'], one['worker'], one['is_late'])
            for one in data['items']])

    def test_the_journal_says_who_acted(self):
        data = self.ask('journal')
        self.assertEqual([('stop', 'not now')], [
            (one['verb'], one['reason']) for one in data['items']])
        self.assertIsNone(data['older'])
        self.assertIn('stop requested', self.call('journal')[1])

    def test_processes(self):
        self.assertEqual({'items': [], 'ended': []}, self.ask('processes'))
        self.addProcess()
        found, = self.ask('processes')['items']
        self.assertEqual(('far:7', 'alive'), (found['name'], found['health']))
        self.assertIn('far:7', self.call('processes')[1])

    def addProcess(self, **values):
        """Add the record of a process that lives on another machine."""
        db = DB(FileStorage(self.path))
        connection = db.open()
        directory = getDirectory(connection)
        record = ProcessRecord(
            'far:7:0', 'far', 7, None, None, values.get('threads', 4), 90.0,
            time.time())
        record.declared.types = 'report', 'hidden'
        directory.processes[record.id] = record
        transaction.commit()
        connection.close()
        db.close()

    def test_health_is_an_exit_code(self):
        code, output, errors = self.call('health')
        self.assertEqual(2, code)
        self.assertIn('no process carries out runs', output)
        self.addProcess()
        self.assertEqual((0, 'well\n', ''), self.call('health'))
        self.pause('report')
        code, output, errors = self.call('health')
        self.assertEqual((1, ''), (code, errors))
        self.assertIn('paused', output)
        code, output, errors = self.call('health', '--json')
        self.assertEqual((1, 1), (code, json.loads(output)['code']))
        self.assertEqual('paused-type',
                         json.loads(output)['problems'][0]['kind'])
        self.assertEqual(2, self.call('health', db='memory://')[0])

    def pause(self, name):
        db = DB(FileStorage(self.path))
        connection = db.open()
        directory = getDirectory(connection)
        directory.listRegistries()[0].pauseType(name)
        transaction.commit()
        connection.close()
        db.close()

    def test_health_of_all_registries(self):
        self.addSite('branch')
        self.addProcess()
        self.pause('report')
        self.assertEqual(1, self.call('health')[0])
        codes = {self.call('health', '--site', path)[0]
                 for path in ('/', '/branch')}
        self.assertEqual({0, 1}, codes)

    def test_nothing_is_written(self):
        with open(self.path, 'rb') as file:
            before = file.read()
        names = set(os.listdir(self.folder))
        self.test_status()
        self.test_show()
        with open(self.path, 'rb') as file:
            self.assertEqual(before, file.read())
        self.assertEqual(names | {'light.zcml'}, set(os.listdir(self.folder)))

    def test_a_file_that_is_open_elsewhere(self):
        storage = FileStorage(self.path)   # with its lock
        self.addCleanup(storage.close)
        self.assertEqual(0, self.call('status')[0])
        config = self.write(
            'zodb.conf', '<zodb a>\n<filestorage>\npath %s\n'
            '</filestorage>\n</zodb>\n' % self.path)
        self.assertEqual(0, self.call('status', db='zconfig://' + config)[0])

    def test_several_registries(self):
        self.addSite('branch')
        self.assertRefused(
            2, '--site: .* there are 2 registries; give one of /, /branch',
            'status')
        for path, number in (('/', 5), ('/branch', 0), ('branch/', 0),
                             ('/minutes', 5)):
            counts = self.ask('status', '--site', path)['counts']
            self.assertEqual(number, sum(counts.values()), path)
        for path in '/nosuch', '/branch/nosuch', '':
            found = self.call('status', '--site', path)
            self.assertEqual(0 if path == '' else 2, found[0], path)

    def test_the_version(self):
        code, output, _ = callMain(self, '--version')
        self.assertEqual(0, code)
        self.assertRegex(output, r'^cipher-background \d+\.\d+')


class PermissionTests(CommandTests):
    """With --user a command shows what that principal may see.

    Each call loads the ZCML of a host.
    """

    layer = Long

    def setUp(self):
        super().setUp()
        self.zcml = self.full()

    def askAs(self, user, *arguments):
        return self.ask(*arguments, '--zcml', self.zcml, '--user', user)

    def test_hidden_types(self):
        hidden = self.runs['hidden']
        for user, number, types in (
                ('test.admin', 2, {'report', 'hidden'}),
                ('test.viewer', 1, {'report'})):
            with self.subTest(user):
                status = self.askAs(user, 'status')
                self.assertEqual(number, status['counts']['failed'])
                self.assertEqual(number, len(status['failed']))
                self.assertEqual(types, {
                    one['name'] for one in self.askAs(user, 'types')['items']})
                self.assertEqual(number, len(self.askAs(
                    user, 'list', 'state:failed')['items']))
                self.assertEqual(number - 1, len(self.askAs(
                    user, 'list', 'id:' + hidden)['items']))
                self.assertEqual(number - 1, len(self.askAs(
                    user, 'schedules')['items']))
        self.assertRefused(
            1, 'expected the id of a run', 'show', hidden, '--zcml',
            self.zcml, '--user', 'test.viewer')

    def test_details(self):
        run_id = self.runs['failed']
        self.assertIsNone(
            self.askAs('test.viewer', 'show', run_id)['details'])
        self.assertEqual('March', self.askAs(
            'test.admin', 'show', run_id)['details']['input']['title'])
        self.assertRefused(
            1, 'expected a principal with the permission '
            'cipher.background.ViewDetails', 'log', run_id, '--zcml',
            self.zcml, '--user', 'test.viewer')

    def test_the_context_needs_its_permission(self):
        context = self.askAs('test.viewer', 'show', self.runs['done'])[
            'context']
        self.assertIsNone(context['path'])
        self.assertNotIn('inutes', context['title'])
        self.assertRefused(
            2, 'context path', 'list', '--context', 'minutes', '--zcml',
            self.zcml, '--user', 'test.viewer')

    def test_without_any_permission(self):
        for command in ('status', 'list', 'types', 'schedules', 'processes',
                        'journal', 'show 0-1', 'log 0-1'):
            with self.subTest(command):
                self.assertRefused(
                    1, 'permission', command, '--zcml', self.zcml, '--user',
                    'test.nobody')

    def test_health(self):
        for user in 'test.admin', 'test.viewer':
            self.assertEqual(2, self.call(
                'health', '--zcml', self.zcml, '--user', user)[0])
        self.assertRefused(
            2, 'who may see the problems', 'health', '--zcml', self.zcml,
            '--user', 'test.nobody')


class OutputTests(CommandTests):

    def test_a_table_in_a_terminal(self):
        rows = [('1-1', 'failed', 'A title', 'ä', 'word ' * 12),
                ('1-2', 'ok', '', '漢字', '')]
        headers = 'Id', 'State', 'Title', 'Unseen', 'Note'
        for width, titles in ((160, 1), (45, 0), (20, 0)):
            output = Output(Screen())
            output.width = width
            for painting in output._painting, None:
                output.stream.seek(0)
                output.stream.truncate()
                output._painting = painting
                output.table(headers, rows, optional=('Title',))
                lines = uncolour(output.stream.getvalue()).splitlines()
                self.assertEqual(titles, 'Title' in lines[0])
                self.assertIn('漢字', '\n'.join(lines))
                if width > 40:
                    self.assertLessEqual(max(map(measure, lines)), width)

    def test_a_table_in_a_file_has_one_line_for_each_row(self):
        stream = io.StringIO()
        Output(stream).table(('A', 'B'), [('x' * 300, 'y ' * 300)] * 2)
        self.assertEqual(3, len(stream.getvalue().splitlines()))

    def test_a_terminal_without_unicode(self):
        stream = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
        Output(stream).line('Jürgen')
        stream.flush()
        self.assertEqual(b'J\\xfcrgen\n', stream.buffer.getvalue())

    def test_colours_are_for_terminals(self):
        screen = Screen()
        Output(screen).table(('State',), [('failed',)])
        self.assertIn('\x1b[', screen.getvalue())
        stream = io.StringIO()
        Output(stream).table(('State',), [('failed',)])
        self.assertNotIn('\x1b[', stream.getvalue())

    def test_plurals_without_catalogs(self):
        say = makePresenter().say
        self.assertEqual(
            ['1 run of x', '2 runs of x'],
            [say(plural('${number} run of ${name}', '${number} runs of '
                        '${name}', number, name='x')) for number in (1, 2)])

    def test_what_was_added_to_a_log(self):
        found = reading.findAdded
        self.assertEqual('b\n', found('a\n', 'a\nb\n'))
        self.assertEqual('', found('a\n', 'a\n'))
        # The beginning is not kept any more.
        old = ''.join('line %d\n' % number for number in range(100))
        self.assertEqual('line 100\n', found(old, old[300:] + 'line 100\n'))
        self.assertEqual('else\n', found(old, 'else\n'))

    def test_a_reader_that_has_gone(self):
        with mock.patch.object(
                main.sys, 'stdout', mock.Mock(spec=io.TextIOWrapper)) as out:
            out.isatty.return_value = False
            out.encoding = 'utf-8'
            out.write.side_effect = BrokenPipeError
            out.fileno.return_value = os.open(os.devnull, os.O_WRONLY)
            self.addCleanup(os.close, out.fileno())
            self.assertEqual(0, main.main(['types', '--db', self.path]))


class Screen(io.StringIO):
    """A terminal."""

    encoding = 'utf-8'

    def isatty(self):
        return True


def uncolour(text):
    return re.sub('\x1b\\[[0-9;]*m', '', text)
