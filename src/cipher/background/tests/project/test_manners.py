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
"""The files of a checkout for tools that others know: tox, pre-commit, …

They can be read, agree with each other and name no address.
"""
import ast
import configparser
import importlib.util
import os
import re
import subprocess
import unittest
from fnmatch import fnmatch
from pathlib import PurePath

from cipher.background.tests.support.checkout import CHECKOUT
from cipher.background.tests.support.checkout import requireCheckout
from cipher.background.tests.support.layers import Live


WORKFLOW = '.github', 'workflows', 'tests.yml'

FILES = [('.editorconfig',), ('.meta.toml',), ('.pre-commit-config.yaml',),
         ('CONTRIBUTING.md',), ('buildout.cfg',),
         ('mypy.ini',), ('pyproject.toml',), ('setup.py',), ('tox.ini',),
         ('versions.cfg',), WORKFLOW]

#: Addresses in files of the checkout that belong to nobody else.
NAMESPACE = 'http://namespaces.zope.org/'

#: Parts of addresses of forges, of package registries and of badges.
HOMES = re.compile(
    r'https?://[\w./-]*(?:github|gitlab|codeberg|bitbucket)[\w./-]*'
    r'|\b(?:pypi|pythonhosted)\.org\b|\bimg\.shields\.io\b'
    r'|\bcoveralls\.io\b|\bcodecov\.io\b')


def read(*names):
    return requireCheckout(*names).read_text('utf-8')


def readYAML(*names):
    text = read(*names)
    if importlib.util.find_spec('yaml') is None:
        reason = 'PyYAML is not installed: it comes with the extra "test"'
        if os.environ.get('CI'):
            raise AssertionError(reason)
        raise unittest.SkipTest(reason)
    import yaml
    return yaml.safe_load(text)


def readINI(*names):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(read(*names))
    return parser


def readConstant(name, *names):
    """Return the value of a constant of a script."""
    for node in ast.parse(read(*names)).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise AssertionError('%s: expected the constant %s' % (names[-1], name))


class PythonTests(unittest.TestCase):
    """The Pythons of setup.py are those of all others."""

    def setUp(self):
        self.pythons = re.findall(
            r"'Programming Language :: Python :: (3\.\d+)'", read('setup.py'))
        self.assertGreater(len(self.pythons), 3)

    def test_they_are_in_a_row(self):
        self.assertEqual(
            ['3.%d' % minor for minor in range(
                10, 10 + len(self.pythons))], self.pythons)

    def test_the_lowest_one(self):
        lowest = self.pythons[0]
        self.assertIn("python_requires='>=%s'" % lowest, read('setup.py'))
        numbers = tuple(map(int, lowest.split('.')))
        self.assertEqual(
            numbers, readConstant('MINIMUM_PYTHON', 'bootstrap.py'))
        self.assertEqual(
            numbers, readConstant('LOWEST', '.ci', 'wheels.py'))
        self.assertIn('oldest-python = "%s"\n' % lowest, read('.meta.toml'))

    def test_the_scripts_of_CI(self):
        self.assertEqual(self.pythons, [
            '%d.%d' % version for version in readConstant(
                'VERSIONS', '.ci', 'pythons.py')])

    def test_tox(self):
        self.assertEqual(
            ['py' + version.replace('.', '') for version in self.pythons],
            re.findall(r'py\d+', readINI('tox.ini')['tox']['envlist']))

    def test_workflow(self):
        jobs = readYAML(*WORKFLOW)['jobs']
        self.assertEqual(
            self.pythons, jobs['unit']['strategy']['matrix']['python'])
        for job in jobs.values():
            for step in job['steps']:
                version = step.get('with', {}).get('python-version')
                if version and '$' not in version:
                    self.assertIn(version, self.pythons)
            image = job.get('container')
            if image:
                self.assertIn(image.split(':')[1].split('-')[0],
                              self.pythons)

    def test_texts_for_people(self):
        span = '%s to %s' % (self.pythons[0], self.pythons[-1])
        for name in 'README.rst', 'CONTRIBUTING.md', 'versions.cfg':
            self.assertIn(span, ' '.join(read(name).split()), name)


class FileTests(unittest.TestCase):

    maxDiff = None

    def test_workflow_runs_what_is_there(self):
        jobs = readYAML(*WORKFLOW)['jobs']
        commands = [step['run'] for job in jobs.values()
                    for step in job['steps'] if 'run' in step]
        self.assertIn('.ci/run', commands)
        environments = readINI('tox.ini')
        for command in commands:
            tox = re.match(r'python -m tox -e (\w+)$', command)
            if tox:
                self.assertIn('testenv:' + tox[1] if tox[1] != 'py'
                              else 'testenv', environments)
            elif not command.startswith('python -m pip install'):
                self.assertTrue(
                    os.access(requireCheckout(*command.split('/')), os.X_OK))
        for job in jobs.values():
            self.assertIn('timeout-minutes', job)

    def test_tox_calls_what_is_there(self):
        environments = readINI('tox.ini')
        for name in environments['tox']['envlist'].split():
            if not re.fullmatch(r'py\d+', name):
                self.assertIn('testenv:' + name, environments)
        scripts = {'buildout', 'flake8', 'isort', 'lint-imports', 'mypy'}
        tools = readINI('buildout.cfg')['tools']['scripts'].split()
        for name in environments.sections():
            commands = environments[name].get('commands', '')
            for script in re.findall(r'/bin/([\w-]+)', commands):
                self.assertIn(script, scripts.intersection(tools))
            for script in re.findall(r'python (\S+\.py)', commands):
                requireCheckout(*script.split('/'))

    def test_versions_of_pre_commit_are_those_of_the_tests(self):
        versions = readINI('versions.cfg')['versions']
        hooks = [hook for repository
                 in readYAML('.pre-commit-config.yaml')['repos']
                 for hook in repository['hooks']]
        self.assertEqual(['isort', 'flake8'], [hook['id'] for hook in hooks])
        for hook in hooks:
            for pin in hook['additional_dependencies']:
                name, version = pin.split('==')
                self.assertEqual(versions[name], version, name)

    def test_meta_can_be_read(self):
        text = read('.meta.toml')
        try:
            import tomllib
        except ImportError:
            self.skipTest('tomllib comes with Python 3.11')
        self.assertEqual(
            'pure-python', tomllib.loads(text)['meta']['template'])

    def test_commands_that_contributors_are_shown_exist(self):
        text = read('CONTRIBUTING.md')
        sections = readINI('buildout.cfg')
        scripts = set(sections['tools']['scripts'].split()) | {
            'demo', 'i18n', 'python', 'test'}
        found = set(re.findall(r'`bin/([\w-]+)', text))
        self.assertGreater(len(found), 5)
        self.assertLessEqual(found, scripts)
        for path in re.findall(r'`((?:docs|\.ci)/[\w./]*)`', text):
            requireCheckout(*path.rstrip('/').split('/'))

    def test_no_address_stands_in_them(self):
        for names in FILES:
            found = [address for address
                     in re.findall(r'https?://[\w./-]+', read(*names))
                     if not address.startswith(NAMESPACE)]
            self.assertEqual([], found, names[-1])

    def test_a_distribution_has_them(self):
        manifest = read('MANIFEST.in')
        patterns = [pattern for line in manifest.splitlines()
                    if line.startswith('include ')
                    for pattern in line.split()[1:]]
        folders = re.findall(r'recursive-include (\S+) \*\n', manifest)
        for names in FILES:
            self.assertTrue(
                names[0] in folders or any(
                    fnmatch(names[0], pattern) for pattern in patterns),
                names)


class EditorTests(unittest.TestCase):
    """The files are written as .editorconfig says."""

    layer = Live   # it asks git

    def setUp(self):
        text = '[root]\n' + read('.editorconfig')
        self.settings = configparser.ConfigParser(interpolation=None)
        self.settings.read_string(text)
        if not CHECKOUT.joinpath('.git').exists():
            self.skipTest('this is a distribution, without the list of files '
                          'that git has')
        listed = subprocess.run(
            ['git', 'ls-files', '-z'], cwd=CHECKOUT, capture_output=True,
            check=True, timeout=60).stdout.decode('utf-8')
        self.names = [name for name in listed.split('\0') if name
                      and CHECKOUT.joinpath(name).is_file()]
        self.assertGreater(len(self.names), 300)

    def texts(self, *suffixes):
        for name in self.names:
            suffix = PurePath(name).suffix
            if suffixes and suffix not in suffixes:
                continue
            data = CHECKOUT.joinpath(name).read_bytes()
            if data and b'\0' not in data and suffix != '.gz':
                yield name, data.decode('utf-8')

    def test_all_files(self):
        self.assertEqual({
            'charset': 'utf-8', 'end_of_line': 'lf', 'indent_style': 'space',
            'insert_final_newline': 'true',
            'trim_trailing_whitespace': 'true'}, dict(self.settings['*']))
        for name, text in self.texts():
            self.assertTrue(text.endswith('\n'), name)
            self.assertNotRegex(text, r'\r|[ \t]\n|\n\t', name)

    def test_no_text_names_a_home_or_a_registry(self):
        # The address of the project's home comes from setup.py alone.
        for name, text in self.texts():
            if PurePath(name).name != PurePath(__file__).name:
                self.assertEqual([], HOMES.findall(text), name)

    def test_pages_are_asked_by_functions(self):
        # A page's policy lets a browser evaluate a text there only at first.
        asked = [(name, first) for name, text in self.texts('.py')
                 for first in re.findall(
                     r"wait_for_function\(\s*['\"](.*)", text)]
        self.assertGreater(len(asked), 10)
        for name, first in asked:
            self.assertIn('=>', first, name)

    def test_width_of_Python(self):
        width = int(self.settings['*.{py,pyi}']['max_line_length'])
        for name, text in self.texts('.py', '.pyi'):
            self.assertLessEqual(
                max(map(len, text.splitlines()), default=0), width, name)
