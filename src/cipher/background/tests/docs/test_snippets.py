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
"""Each block of code in the documentation is carried out or checked.

A block of Python is executed, with the names of `NAMES`.  One of ZCML is
loaded.  Of one for a shell each command is known, with its options.  Blocks
that another test carries out are listed in `ELSEWHERE`.  Doctests are not
blocks: `test_extras` finds a page that has some and is not carried out.
"""
import configparser
import functools
import importlib
import json
import logging.config
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import types
import unittest
from contextlib import ExitStack
from importlib.abc import Loader
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import metadata
from pathlib import Path
from unittest import mock

import yaml
from ZODB.DB import DB
from zope.component import adapter
from zope.component import testing
from zope.configuration import xmlconfig
from zope.interface import Interface
from zope.interface import implementer
from zope.interface.common.idatetime import ITZInfo
from zope.interface.interface import InterfaceClass
from zope.publisher.interfaces.browser import IBrowserRequest

import cipher.background.tests
from cipher.background.cli.main import makeParser
from cipher.background.hosts import ztk
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.runtime.executors import choice
from cipher.background.runtime.runtime import Runtime
from cipher.background.tests.project.test_bootstrap import load
from cipher.background.tests.support.checkout import listPages
from cipher.background.tests.support.checkout import requireCheckout
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.pages import listBlocks
from cipher.background.tests.support.pages import readFiles
from cipher.background.tests.support.promql import Query


TESTS = Path(cipher.background.tests.__file__).parent

#: (page, first words of a block, or a name for the files that the page
#: shows): the test that carries it out.
FILES = 'its files'
ELSEWHERE = {
    ('README.rst', FILES): 'docs.test_readme',
    ('hosting.rst', FILES): 'docs.test_hosting',
    ('hosting.rst', 'Start: '): 'docs.test_hosting',
    ('monitoring.rst', 'import json'): 'docs.test_monitoring_page',
    ('monitoring.rst', 'import sentry_sdk'): 'docs.test_monitoring_page',
    ('monitoring.rst', 'healthcheck:'): 'docs.test_monitoring_page',
    ('json.rst', '<section data-poll='): 'browser.test_own_page',
    ('plone.rst', 'zeo.conf'): 'hosts.test_plone_worker',
    ('plone.rst', '$ runzeo'): 'hosts.test_plone_worker',
    ('plone.rst', '%import ZEO'): 'hosts.test_plone_worker',
    ('plone.rst', 'worker.zcml'): 'hosts.test_plone_worker',
    ('plone.rst', '$ runwsgi'): 'hosts.test_plone_worker',
    ('plone.rst', 'buildout.cfg'): 'hosts.test_plone_worker',
    ('plone.rst', '$ bin/web'): 'hosts.test_plone_worker',
    ('plone.rst', FILES): 'hosts.test_plone',
    ('pyramid.rst', FILES): 'docs.test_pyramid_page',
    ('testing.rst', ''): 'docs.test_testing',   # each of its blocks
    ('tutorial.rst', FILES): 'docs.test_tutorial',
    ('tutorial.rst', '<browser:page'): 'docs.test_tutorial',
    ('zope.rst', FILES): 'hosts.test_zope_page',
    ('zope.rst', '$ mkwsgiinstance'): 'hosts.test_zope_page',
    ('zope.rst', '%import ZEO'): 'hosts.test_zope_worker',
    ('ui.rst', 'frame.pt'): 'docs.test_rotterdam',
    ('ui.rst', 'configure.zcml'): 'docs.test_rotterdam',
    ('ui.rst', '<include package="zope.app.rotterdam"'):
        'docs.test_rotterdam',
    ('ui.rst', 'dms/browser.py'): 'docs.test_input_view',
    ('ui.rst', '<view'): 'docs.test_input_view',
}

#: A duration of Prometheus.
DURATION = r'^\d+[smhd]$'

#: Pages with drawings.
DRAWN = {'design.rst'}


def mockOf(thing):
    return mock.create_autospec(thing, instance=True)


#: Page: the names that its blocks of Python need and do not make.
NAMES = {
    'deploying.rst': lambda: {
        'signal': mock.create_autospec(signal), 'sys': sys,
        'serve': mock.Mock(), 'runtime': mockOf(Runtime), 'db': mockOf(DB)},
    'hosting.rst': lambda: {'serve': mock.create_autospec(ztk.serve)},
    'monitoring.rst': lambda: {'db': mockOf(DB)},
    'staging.rst': lambda: {
        'registry': mockOf(WorkerRegistry), 'process_id': 'host:1:2'},
    'ui.rst': lambda: {
        'implementer': implementer, 'adapter': adapter, 'ITZInfo': ITZInfo,
        'IBrowserRequest': IBrowserRequest},
}


def makeFormatters(config):
    """Make only the formatters of *config*: the rest is for a server."""
    configurator = logging.config.DictConfigurator(config)
    formatters = config['formatters']
    assert formatters
    for formatter in formatters.values():
        configurator.configure_formatter(formatter)


#: Page: {dotted name: its stand-in, or None for a mock with its signature}.
#: These would open a database or a server.
STAND_INS = {
    'deploying.rst': {'zope.app.wsgi.getWSGIApplication': None},
    'log.rst': {'logging.config.dictConfig': makeFormatters},
    'monitoring.rst': {'cipher.background.monitoring.serveMetrics': None},
    'prefork.rst': {'cipher.background.hosts.ztk.makeApplication': None},
    'relstorage.rst': {
        'relstorage.adapters.postgresql.PostgreSQLAdapter': None,
        'relstorage.storage.RelStorage': None, 'ZODB.DB.DB': None},
    'zeo.rst': {'ZEO.ClientStorage.ClientStorage': None, 'ZODB.DB.DB': None},
}

#: A rule and a job of Prometheus.
RULE = 'groups: [{name: a, rules: [{alert: A, expr: "%s", for: %s}]}]'
JOB = ('scrape_configs: [{job_name: a, authorization: {credentials_file: a}, '
       'metrics_path: %s, static_configs: [{targets: ["%s"]}]}]')

#: The applications of the examples: any module of these has any name.
APPLICATIONS = (
    'app', 'browser', 'dms', 'shop', 'uwsgidecorators', 'workers')

ZCML = """
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:background="http://namespaces.zope.org/background"
    xmlns:browser="http://namespaces.zope.org/browser"
    xmlns:i18n="http://namespaces.zope.org/i18n"
    i18n_domain="dms">
  <include package="cipher.background" file="host.zcml" />
  %s
</configure>
"""


class Application(MetaPathFinder, Loader):
    """Makes the modules that examples import from their application."""

    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in APPLICATIONS:
            return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        def make(name):
            if name.startswith('__'):
                raise AttributeError(name)
            if re.match('I[A-Z]', name):
                value = InterfaceClass(name, (Interface,), __module__='dms')
            elif name[0].isupper():
                value = type(name, (), {})
            else:
                def value(worker):
                    pass
            setattr(module, name, value)
            return value
        module.__getattr__ = make


def infer(text):
    """Return the language of a block that names none."""
    if text.startswith('<'):
        return 'xml'
    if re.match(r'\$ |pip |python3? |bin/|cipher-background ', text):
        return 'console'
    if text.startswith('{'):
        return 'json'
    try:
        compile(text, 'block', 'exec')
    except SyntaxError:
        return 'text'
    return 'python'


def findTest(block):
    """Return the name of the test that carries *block* out, or None."""
    for (page, begin), test in ELSEWHERE.items():
        if page == block.page and (
                block.name == begin or begin == FILES and block.name
                or block.text.startswith(begin)):
            return test
    return None


class SnippetTests(unittest.TestCase):

    layer = Live

    def setUp(self):
        application = Application()
        sys.meta_path.append(application)
        self.addCleanup(sys.meta_path.remove, application)
        before = set(sys.modules)

        def forget():
            for name in set(sys.modules) - before:
                if name.split('.')[0] in APPLICATIONS:
                    del sys.modules[name]
        self.addCleanup(forget)
        testing.setUp()
        self.addCleanup(testing.tearDown)

    def test_each_block(self):
        kinds = {}
        for path in listPages():
            for block in listBlocks(path):
                if findTest(block):
                    continue
                language = block.language or infer(block.text)
                kinds[language] = kinds.get(language, 0) + 1
                with self.subTest(str(block)):
                    check = getattr(
                        self, 'check_' + language.replace('-', '_'), None)
                    self.assertTrue(
                        check, 'expected a language that is checked, got %r'
                        % language)
                    check(block, path)
        for language in ('python', 'xml', 'console', 'json', 'ini', 'sh',
                         'text', 'yaml', 'promql'):
            self.assertIn(language, kinds)

    def test_blocks_that_other_tests_carry_out_are_there(self):
        blocks = [block for path in listPages() for block in listBlocks(path)]
        for (page, begin), test in ELSEWHERE.items():
            with self.subTest(page, begin=begin):
                self.assertTrue([
                    block for block in blocks if block.page == page
                    and findTest(block) == test])
                text = TESTS.joinpath(
                    *test.split('.')).with_suffix('.py').read_text('utf-8')
                self.assertTrue(page in text or 'read_code' in text)

    # A check for each language

    def check_python(self, block, path):
        names = NAMES.get(block.page, dict)()
        with ExitStack() as stack:
            for name, stand_in in STAND_INS.get(block.page, {}).items():
                module, _dot, attribute = name.rpartition('.')
                # Not by the name: ZODB.DB is a class, too.
                module = importlib.import_module(module)
                stack.enter_context(mock.patch.object(
                    module, attribute, stand_in or mock.create_autospec(
                        getattr(module, attribute))))
            exec(compile(block.text, str(block), 'exec'), names)

    def check_xml(self, block, path):
        text = block.text
        choice._factories['traced'] = None
        self.addCleanup(choice._factories.pop, 'traced', None)
        declared = {'alerts', *re.findall(
            r'<background:(?:worker|alerts)\s+name="([^"]+)', text)}
        extra = [
            '<background:worker name="%s" handler="shop.work" />' % name
            for name in re.findall(r'\sworker="([^"]+)', text)
            if name not in declared]
        extra += [
            '<permission id="%s" title="" />' % name
            for name in re.findall(r'\spermission="([^"]+)', text)
            if not name.startswith(('zope.', 'cipher.'))]
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, 'locales').mkdir()
            Path(folder, 'site.zcml').write_text(
                text if text.startswith('<configure')
                else ZCML % '\n'.join([*extra, text]), 'utf-8')
            testing.tearDown()
            testing.setUp()
            package = types.ModuleType('dms')
            package.__file__ = str(Path(folder, '__init__.py'))
            package.__path__ = [folder]
            tokens = dict.fromkeys(
                re.findall(r'\stoken_variable="([^"]+)', text), 'Sesame-01234')
            tokens.update(dict.fromkeys(
                re.findall(r'\swebhook_variable="([^"]+)', text),
                'https://example.org/hook'))
            with mock.patch.dict(os.environ, tokens):
                xmlconfig.file('site.zcml', package)

    def check_console(self, block, path):
        lines = block.text.replace('\\\n', ' ').splitlines()
        commands = [shlex.split(line.removeprefix('$ '), comments=True)
                    for line in lines if line.startswith('$ ')
                    or not block.text.startswith('$ ')]
        self.assertTrue(any(commands))
        for command in filter(None, commands):
            self.checkCommand(command, path)

    def checkCommand(self, command, path):
        program, *arguments = command
        program = program.rpartition('/')[2]
        if program == 'pip':
            self.checkRequirements(arguments)
        elif program == 'cipher-background':
            makeParser().parse_args(arguments)
        elif program in ('python', 'python3'):
            self.checkScript(arguments, path)
        elif program == 'celery':
            self.checkCelery(arguments)
        elif program in ('mkdir', 'cd'):
            self.assertEqual(1, len(arguments))
        else:
            self.fail('expected a command that is checked, got %s' % command)

    def checkRequirements(self, arguments):
        action, *requirements = arguments
        self.assertEqual('install', action)
        extras = metadata('cipher.background').get_all('Provides-Extra')
        for requirement in requirements:
            extra = re.fullmatch(r'cipher\.background(?:\[([\w,]+)\])?',
                                 requirement)
            self.assertTrue(extra, requirement)
            for name in (extra[1] or '').split(','):
                self.assertIn(name or 'ui', extras)

    def checkScript(self, arguments, path):
        first, *rest = arguments
        if first == 'bootstrap.py':
            self.assertRegex(load('bootstrap.py').__doc__, r'\n  %s\b' % (
                ' '.join(rest)))
        elif first == '-m':
            self.assertIn(rest[0], ('unittest', 'venv', 'pytest',
                                    'zope.testrunner',
                                    'pyramid.scripts.pserve'))
            if rest[0] == 'pyramid.scripts.pserve':
                self.assertIn(rest[1], readFiles(path))
            if rest[0] == 'unittest':
                self.assertIn(rest[1] + '.py', readFiles(path))
        elif first not in readFiles(path):
            self.assertTrue(requireCheckout(first).is_file())

    def checkCelery(self, arguments):
        from celery.bin.celery import celery
        application, name, command, *options = arguments
        self.assertEqual('-A', application)
        known = {option for parameter in celery.commands[command].params
                 for option in parameter.opts}
        self.assertLessEqual(
            {option.partition('=')[0] for option in options}, known)

    def check_sh(self, block, path):
        subprocess.run(['bash', '-n'], input=block.text, text=True,
                       check=True, timeout=30)
        addresses = re.findall(r'[a-z_]+\.json', block.text)
        if not addresses:
            self.check_console(block, path)
        page = path.read_text('utf-8').replace(block.text, '')
        for address in addresses:
            self.assertRegex(page, r'``(RUN/)?%s``' % re.escape(address))

    def check_json(self, block, path):
        text = re.sub(r', …(?=\s*})', '', block.text)   # further keys
        json.loads(re.sub(r'(?<!")…(?!")', 'null', text))

    def check_yaml(self, block, path):
        data = yaml.safe_load(block.text)
        (kind, entries), = data.items()
        check = {'scrape_configs': self.checkScrape,
                 'groups': self.checkRules}[kind]
        self.assertTrue(entries)
        for entry in entries:
            check(entry)

    def checkScrape(self, job):
        """Check a job of Prometheus."""
        self.assertLessEqual(set(job), {
            'job_name', 'scrape_interval', 'scheme', 'metrics_path',
            'authorization', 'static_configs'})
        self.assertTrue(job['job_name'])
        self.assertRegex(job.get('scrape_interval', '1m'), DURATION)
        self.assertIn(job.get('scheme', 'http'), ('http', 'https'))
        self.assertEqual(['credentials_file'], list(job['authorization']))
        self.checkPage(job.get('metrics_path', '/++background++/metrics'))
        for config in job['static_configs']:
            self.assertEqual(['targets'], list(config))
            for target in config['targets']:
                self.assertRegex(target, r'^[a-z0-9.]+(:\d+)?$')

    def checkRules(self, group):
        """Check a group of rules of Prometheus."""
        self.assertEqual({'name', 'rules'}, set(group))
        for rule in group['rules']:
            self.assertLessEqual(set(rule), {'alert', 'expr', 'for'})
            self.assertRegex(rule['alert'], '^[A-Z][A-Za-z]*$')
            self.assertRegex(rule.get('for', '1m'), DURATION)
            self.assertTrue(Query(rule['expr']).metrics)

    def checkPage(self, address):
        """Check the address of a page."""
        name = address.removeprefix('/++background++/')
        self.assertNotEqual(address, name)
        self.assertIn('name="%s"' % name, TESTS.parent.joinpath(
            'browser', 'pages.zcml').read_text('utf-8'))

    def check_promql(self, block, path):
        self.assertTrue(Query(block.text).metrics)

    def check_ini(self, block, path):
        if not block.text.startswith('['):
            # Variables of the environment.
            for line in block.text.splitlines():
                self.assertIn("= '%s'" % line.partition('=')[0], readSources())
            return
        parser = configparser.RawConfigParser(strict=False)
        parser.read_string(block.text)
        names = [name.removeprefix('formatter_')
                 for name in parser.sections()
                 if name.startswith('formatter_')]
        if names:
            parser['formatters'] = {'keys': ','.join(names)}
            self.assertTrue(logging.config._create_formatters(parser))

    check_cfg = check_ini

    def check_text(self, block, path):
        if block.text.startswith('option httpchk'):
            self.checkHAProxy(block.text.splitlines())
        elif re.match(r'[\d*/,-]+ ', block.text):
            for line in block.text.splitlines():
                self.checkCron(line)
        else:
            self.assertIn(block.page, DRAWN)

    def checkHAProxy(self, lines):
        option, *expected = lines
        found = re.fullmatch(r'option httpchk (?:GET|HEAD) (/\S+)', option)
        self.assertTrue(found, option)
        self.checkPage(found[1])
        self.assertEqual(['http-check expect status 200'], expected)

    def checkCron(self, line):
        *times, command = line.split(None, 5)
        self.assertEqual(5, len(times))
        for time, (low, high) in zip(
                times, ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))):
            found = re.fullmatch(r'(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?', time)
            self.assertTrue(found, time)
            for number in filter(None, found.groups()):
                self.assertTrue(low <= int(number) <= high, time)
        for part in command.split(' && '):
            self.checkCommand(shlex.split(part), path=None)

    # The checks can fail

    def test_bad_blocks_are_found(self):
        path = requirePage('tutorial.rst')
        for language, text in (
                ('python', 'from cipher.background import nothing'),
                ('python', 'if :'),
                ('xml', '<background:worker name="x" />'),
                ('xml', '<background:runtime executor="none" />'),
                ('xml', '<background:runtime'),
                ('console', '$ pip install "cipher.background[nothing]"'),
                ('console', '$ cipher-background nothing'),
                ('console', '$ cipher-background demo --nothing'),
                ('console', '$ python3 bootstrap.py nothing'),
                ('console', '$ env/bin/python nothing.py'),
                ('console', '$ celery -A shop worker --nothing'),
                ('console', '$ nothing'),
                ('json', '{"id": }'),
                ('sh', 'curl $site/nothing.json'),
                ('ini', 'CIPHER_BACKGROUND_NOTHING=1'),
                ('ini', '[formatter_x]\nclass=cipher.background.Nothing'),
                ('sh', 'cipher-background worker --nothing'),
                ('xml', '<background:monitoring token="a b" />'),
                ('yaml', 'nothing: [1]'),
                ('yaml', 'groups: {'),
                ('yaml', RULE % ('nothing(x) > 1', '5m')),
                ('yaml', RULE % ('x > 1', 'five')),
                ('yaml', JOB % ('/++background++/nothing', 'a:1')),
                ('yaml', JOB % ('/++background++/metrics', 'http://a')),
                ('promql', 'rate(x)'),
                ('promql', 'sum(x[1h])'),
                ('promql', 'sum by (site) (x'),
                ('promql', 'x{site=a}'),
                ('promql', 'histogram_quantile(95, x)'),
                ('text', 'option httpchk GET /++background++/nothing.json'
                         '\nhttp-check expect status 200'),
                ('text', 'option httpchk GET /++background++/health.json'
                         '\nhttp-check expect 200'),
                ('text', '*/5 * * * cipher-background demo'),
                ('text', '61 * * * * cipher-background demo'),
                ('text', '1 * * * * cipher-background nothing'),
                ('text', 'what')):
            block = listBlocks(path)[0]._replace(
                language=language, text=text + '\n')
            with self.subTest(text), self.assertRaises(
                    (Exception, SystemExit)), mock.patch('sys.stderr'):
                getattr(self, 'check_' + language)(block, path)

    def test_good_blocks_like_these_pass(self):
        path = requirePage('tutorial.rst')
        for language, text in (
                ('yaml', RULE % ('sum by (a) (rate(x[1h])) > 1', '5m')),
                ('yaml', JOB % ('/++background++/metrics', 'a:1')),
                ('text', '1-9/2 * * 12 7 cd x && cipher-background demo')):
            with self.subTest(text):
                getattr(self, 'check_' + language)(listBlocks(
                    path)[0]._replace(language=language, text=text), path)


@functools.lru_cache
def readSources():
    """Return the code of the package."""
    return '\n'.join(path.read_text('utf-8') for path in sorted(
        TESTS.parent.rglob('*.py')) if TESTS not in path.parents)


class BlockTests(unittest.TestCase):

    def test_blocks_of_both_forms_are_found_with_their_files(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'page.rst')
            path.write_text('\n'.join((
                'The file is ``a/b.py``::', '', '    one', '', '      two',
                '', 'Text::', '', '    three', '', '- An item:', '',
                '  .. code-block:: xml', '     :linenos:', '', '     <a />',
                '', '``c.zcml``, of a host:', '', '.. code-block:: xml', '',
                '    <b />', '', 'Nothing::', '', 'The end.', '')))
            blocks = listBlocks(path)
            self.assertEqual([
                (3, None, 'a/b.py', 'one\n\n  two\n'),
                (9, None, None, 'three\n'),
                (16, 'xml', None, '<a />\n'),
                (22, 'xml', 'c.zcml', '<b />\n'),
            ], [block[1:] for block in blocks])
            self.assertEqual(
                ['a/b.py', 'c.zcml'], sorted(readFiles(path)))
