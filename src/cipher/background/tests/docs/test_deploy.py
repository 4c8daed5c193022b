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
"""The files in docs/deploy name options that exist, and files that are there.
"""
import configparser
import inspect
import json
import logging
import re
import runpy
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from ZEO.runzeo import ZEOOptions

from cipher.background.cli.main import makeParser
from cipher.background.cli.worker import LEAVE_LIMIT
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.hosts import ztk
from cipher.background.tests.support.checkout import requireCheckout
from cipher.background.tests.support.layers import Live


#: The folder of the application in the files.
ROOT = '/srv/dms/'

#: Options of supervisord's programs that are used.
SUPERVISORD = {
    'command', 'directory', 'environment', 'user', 'priority', 'numprocs',
    'process_name', 'autorestart', 'exitcodes', 'stopsignal', 'stopwaitsecs',
    'redirect_stderr'}

#: Seconds.  Longer than the drain of a runtime, and the last writes.
STOP_LIMIT = RuntimeSettings().drain + LEAVE_LIMIT


def read(name):
    return requireCheckout('docs', 'deploy', name).read_text('utf-8')


def readUnit(name):
    """Return a unit of systemd or a configuration of supervisord."""
    parser = configparser.RawConfigParser(
        strict=True, comment_prefixes=('#', ';'))
    parser.optionxform = str
    parser.read_string(read(name))
    return parser


def listUnits():
    folder = requireCheckout('docs', 'deploy', 'serve.py').parent
    return sorted(path.name for path in folder.glob('*.service'))


class DeployTests(unittest.TestCase):

    def listCommands(self):
        """Yield (file, list of arguments) of each command."""
        for name in listUnits():
            yield name, shlex.split(readUnit(name)['Service']['ExecStart'])
        for title, section in readUnit('supervisord.conf').items():
            if title != 'DEFAULT':
                yield 'supervisord.conf', shlex.split(section['command'])
        text = read('compose.yaml')
        found = re.findall(r'^    command: (\[.*\])$', text, re.M)
        self.assertEqual(len(found), len(re.findall('command:', text)))
        for command in found:
            yield 'compose.yaml', json.loads(command)
        health = re.search(r'"CMD-SHELL", ("cipher.*")\]', text)[1]
        yield 'compose.yaml', shlex.split(
            json.loads(health).partition(' || ')[0])

    def test_commands(self):
        seen = []
        for name, (program, *arguments) in self.listCommands():
            with self.subTest(name, program=program):
                check = getattr(self, 'check_' + Path(
                    program).name.replace('-', '_'))
                check(arguments)
                seen.append((name, Path(program).name))
                self.assertIn(program, (
                    Path(program).name if name == 'compose.yaml'
                    else ROOT + 'venv/bin/' + Path(program).name,))
        for name in 'supervisord.conf', 'compose.yaml':
            self.assertEqual(
                [program for other, program in seen if other == name][:3],
                ['runzeo', 'python', 'cipher-background'])
        self.assertEqual(len(seen), 3 + 3 + 4)

    def check_cipher_background(self, arguments):
        options = makeParser().parse_args(arguments)
        self.assertRegex(options.db, '^zeo://[a-z0-9.]+:8100$')
        if arguments[0] == 'worker':
            self.assertEqual(options.zcml, 'site.zcml')
            # The runtime of site.zcml has none.
            self.assertGreater(options.threads, 0)

    def check_python(self, arguments):
        self.assertEqual(arguments, ['serve.py'])

    def check_runzeo(self, arguments):
        # It adds the handlers of <eventlog> to the root logger.
        root = logging.getLogger()
        self.addCleanup(root.setLevel, root.level)
        self.addCleanup(setattr, root, 'handlers', list(root.handlers))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'zeo.conf')
            # The folders of its files have to exist.
            path.write_text(read('zeo.conf').replace(' var/', ' %s/' % folder))
            options = ZEOOptions()
            options.realize([str(path) if argument == 'zeo.conf' else argument
                             for argument in arguments])
        self.assertEqual(options.address[1], 8100)
        self.assertEqual(options.transaction_timeout, 30)
        self.assertEqual(len(options.storages), 1)

    def test_web_process(self):
        for environ, expected in (
                ({}, ('Data.fs', '127.0.0.1', 8080)),
                ({'DMS_DATABASE': 'zeo://zeo:8100', 'DMS_HOST': '0.0.0.0',
                  'DMS_PORT': '80'}, ('zeo://zeo:8100', '0.0.0.0', 80))):
            signature = inspect.signature(ztk.serve)
            with mock.patch.object(ztk, 'serve') as serve, mock.patch.dict(
                    'os.environ', environ):
                runpy.run_path(
                    str(requireCheckout('docs', 'deploy', 'serve.py')))
            call = signature.bind(*serve.call_args.args,
                                  **serve.call_args.kwargs).arguments
            self.assertEqual(call['zcml'], 'site.zcml')
            self.assertEqual(
                (call['db'], call['host'], call['port']), expected)

    def test_variables_are_those_that_serve_reads(self):
        known = set(re.findall("'(DMS_[A-Z]+)'", read('serve.py')))
        self.assertEqual(len(known), 3)
        for name in (*listUnits(), 'supervisord.conf', 'compose.yaml'):
            self.assertLessEqual(
                set(re.findall('DMS_[A-Z]+', read(name))), known, name)

    def test_supervisord(self):
        for title, section in readUnit('supervisord.conf').items():
            if title != 'DEFAULT':
                self.assertTrue(title.startswith('program:dms-'))
                self.assertLessEqual(set(section), SUPERVISORD)
                self.assertEqual(section['directory'] + '/', ROOT)

    def test_a_drain_may_end(self):
        unit = readUnit('dms-worker@.service')['Service']
        program = readUnit('supervisord.conf')['program:dms-worker']
        compose = read('compose.yaml').partition('  worker:')[2]
        for seconds in (
                unit['TimeoutStopSec'], program['stopwaitsecs'],
                re.search(r'stop_grace_period: (\d+)s', compose)[1]):
            self.assertGreater(int(seconds), STOP_LIMIT)
        self.assertEqual(unit['Type'], 'notify')
        # From then on a step of the control thread counts as stuck.
        self.assertGreater(
            int(unit['WatchdogSec']), RuntimeSettings().lease)
        self.assertEqual(program['stopsignal'], 'TERM')
        # An administrator may let a process finish: exit code 0.
        self.assertEqual(unit['Restart'], 'on-failure')
        self.assertEqual(
            (program['autorestart'], program['exitcodes']),
            ('unexpected', '0'))
        self.assertIn('    restart: on-failure\n', compose)

    def test_image_has_what_the_services_need(self):
        text = read('Dockerfile')
        copied = re.search('^COPY (.*) /srv/dms/$', text, re.M)[1].split()
        self.assertEqual(copied, ['site.zcml', 'workers.py', 'serve.py'])
        self.assertIn('"cipher.background[host,cli]"', text)


class SystemdTests(unittest.TestCase):

    layer = Live   # it starts a process

    def test_systemd_accepts_the_units(self):
        # Without systemd, at least the sections and names are looked at.
        command = shutil.which('systemd-analyze')
        names = listUnits()
        self.assertEqual(names, [
            'dms-web.service', 'dms-worker@.service', 'dms-zeo.service'])
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                self.assertEqual(
                    readUnit(name).sections(), ['Unit', 'Service', 'Install'])
                # The program has to exist.
                text = re.sub('(?m)^ExecStart=.*', 'ExecStart=/bin/true',
                              read(name))
                Path(folder, name).write_text(text, 'utf-8')
            for name in names if command else ():
                done = subprocess.run(
                    [command, 'verify', Path(folder, name)], timeout=60,
                    capture_output=True, text=True)
                said = [line for line in done.stderr.splitlines()
                        if folder in line or 'dms-' in line]
                self.assertEqual(said, [], name)
