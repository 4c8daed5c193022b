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
"""Build the distributions and try each extra in an environment of its own.

usage: python3 .ci/wheels.py [--lowest | --newest] [EXTRA ...]

  EXTRA      core, ui, host, demo, celery, cli, metrics, pyramid, pytest,
             zope or test; by default all
  --newest   only with the newest versions, on the Python that runs this
  --lowest   only with the lowest versions that setup.py allows, on the lowest
             Python; that is python3.10 on the PATH or of pyenv, or what
             CIPHER_BACKGROUND_LOWEST_PYTHON names

The source distribution is built from a copy of the checkout, the wheel from
the source distribution.  Each environment has the wheel with one extra and
nothing else.  There the modules of the extra are imported and its tests are
run; see cipher.background.tests.support.extras.  The tests run in the unpacked
source distribution, because they carry out its documentation.

The last line is "N passed, N failed, N skipped"; the exit code is 1 if
anything failed.
"""
import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

from totals import parse


CHECKOUT = Path(__file__).resolve().parent.parent
EXTRAS = ('core', 'ui', 'host', 'demo', 'celery', 'cli', 'metrics', 'pyramid',
          'pytest', 'zope', 'test')

LOWEST = (3, 10)
LOWEST_VARIABLE = 'CIPHER_BACKGROUND_LOWEST_PYTHON'

#: Files of a checkout that no distribution has.
GENERATED = (
    '.git', '.venv', '.hypothesis', '.import_linter_cache', '.mypy_cache',
    '.pytest_cache', '.tox',
    '.installed.cfg', '.bootstrap.lock', '.coverage', '.coverage.*',
    '.mr.developer.cfg', 'bin', 'build', 'develop-eggs', 'dist', 'eggs',
    'htmlcov', 'parts', 'var', '*.egg-info', '__pycache__', '*.pyc',
    '*.mo.tmp')
#: Matches the files that a source distribution has besides the checkout's.
ADDED = re.compile(r'PKG-INFO$|setup\.cfg$|src/[\w.]+\.egg-info/')

#: Seconds that an installation or the tests of an extra may take.  It ends a
#: hanging command.
LIMIT = 600

#: Python code that fails unless it imports the installed package.
NOT_THE_CHECKOUT = (
    'import sys, cipher.background; '
    'assert cipher.background.__file__.startswith(sys.prefix)')

#: The tests that depend on how the package is installed: they read files.
INSTALLED = (
    'project.test_api', 'project.test_architecture', 'project.test_bench',
    'project.test_attributes', 'project.test_bootstrap',
    'docs.test_alerts_page', 'browser.test_own_page',
    'docs.test_celery_page', 'docs.test_cli_page', 'docs.test_deploy',
    'demo.test_importing', 'docs.test_design',
    'docs.test_directives', 'project.test_extras', 'docs.test_glossary',
    'docs.test_hosting', 'hosts.test_plone_testing',
    'hosts.test_plone_worker',
    'hosts.test_zope_page', 'hosts.test_zope_worker',
    'docs.test_howto', 'docs.test_monitoring_page',
    'project.test_i18n',
    'docs.test_input_view',
    'docs.test_plain_english', 'docs.test_promises',
    'docs.test_public_names', 'docs.test_pyramid_page',
    'docs.test_readme', 'docs.test_workers_page',
    'project.test_requirements', 'util.test_restart', 'docs.test_rotterdam',
    'project.test_setup', 'docs.test_snippets', 'docs.test_tutorial',
    'project.test_manners', 'docs.test_testing', 'project.test_types')


class Failure(Exception):
    """A step failed; the text says which one and why."""


class Report:
    """Counts what passed, failed and was skipped."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    @contextlib.contextmanager
    def check(self, title):
        """Count the block as one check; catch a `Failure`."""
        began = time.monotonic()
        try:
            yield
        except Failure as failure:
            self.failed += 1
            say('%s: FAILED\n%s' % (title, failure))
        else:
            self.passed += 1
            say('%s: passed in %.0f s' % (title, time.monotonic() - began))

    def add(self, title, log, code, began):
        """Add the totals of a log of tests; no totals count as a failure."""
        numbers = parse(log)
        if numbers is None or (code and not numbers[1]):
            numbers = (numbers or (0, 0, 0))
            numbers = numbers[0], 1, numbers[2]
        elif not code and not numbers[0]:
            numbers = 0, numbers[1] + 1, numbers[2]
        self.passed += numbers[0]
        self.failed += numbers[1]
        self.skipped += numbers[2]
        say('%s: %d passed, %d failed, %d skipped in %.0f s' % (
            title, *numbers, time.monotonic() - began))
        if numbers[1]:
            say(log)

    def skip(self, title, reason):
        self.skipped += 1
        say('%s: skipped: %s' % (title, reason))


class Distributions:
    """The source distribution and the wheel, built in *folder*."""

    def __init__(self, folder):
        self.folder = folder
        self.copy = folder / 'checkout'
        self.dist = folder / 'dist'

    def build(self):
        """Build both from a copy of the checkout.

        Set `files`, the files of the copy before the build, `source`, the
        folder of the unpacked source distribution, and `tools`, the
        environment with pip.
        """
        shutil.copytree(
            CHECKOUT, self.copy, ignore=shutil.ignore_patterns(*GENERATED))
        self.files = list_files(self.copy)
        self.tools = tools = Environment(
            self.folder / 'tools', sys.executable)
        # Its option --python came with pip 22.3.
        tools.install('pip >= 22.3', *read_build_requirements(self.copy))
        tools.call(
            '-c', 'import sys; from setuptools import build_meta; '
            'build_meta.build_sdist(sys.argv[1])', str(self.dist),
            cwd=self.copy)
        self.archive, = self.dist.glob('*.tar.gz')
        tools.pip('wheel', '--quiet', '--no-deps', '--no-build-isolation',
                  '-w', self.dist, self.archive)
        self.wheel, = self.dist.glob('*.whl')
        with tarfile.open(self.archive) as archive:
            archive.extractall(self.folder / 'source', **(
                {'filter': 'data'} if hasattr(tarfile, 'data_filter')
                else {}))
        self.source, = (self.folder / 'source').iterdir()

    def checkSource(self):
        """Compare the source distribution with the checkout."""
        compare('the source distribution', self.files, {
            name for name in list_files(self.source)
            if not ADDED.match(name) or name in self.files})

    def checkWheel(self):
        """Compare the wheel with the package; check its metadata."""
        with zipfile.ZipFile(self.wheel) as wheel:
            names = wheel.namelist()
            metadata, = (name for name in names
                         if name.endswith('.dist-info/METADATA'))
            text = wheel.read(metadata).decode('utf-8')
        compare('the wheel', {
            name.removeprefix('src/') for name in self.files
            if name.startswith('src/')
        }, {name for name in names if '.dist-info/' not in name})
        if 'License-Expression: ZPL-2.1\n' not in text:
            raise Failure('expected a licence expression in the metadata, '
                          'got none; see setup.py')

    def readLowerBounds(self):
        """Return the lower bounds of all requirements in the form of pip."""
        with zipfile.ZipFile(self.wheel) as wheel:
            metadata, = (name for name in wheel.namelist()
                         if name.endswith('.dist-info/METADATA'))
            text = wheel.read(metadata).decode('utf-8')
        bounds = re.findall(
            r'^Requires-Dist: ([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)', text,
            re.MULTILINE)
        return sorted({'%s==%s' % bound for bound in bounds})


class Environment:
    """A virtual environment; the constructor makes it with *python*.

    Without *python* it is there already.

    It has pip, or else *tools* is the environment whose pip serves it.  So it
    is really empty, and is made in a moment.
    """

    def __init__(self, folder, python=None, tools=None):
        self.folder = folder
        self.python = folder / 'bin' / 'python'
        self.tools = tools
        if python:
            run([python, '-m', 'venv',
                 *(['--without-pip'] if tools else []), folder],
                cwd=folder.parent)

    def pip(self, *arguments):
        if self.tools:
            self.tools.pip('--python', self.python, *arguments)
        else:
            self.call('-m', 'pip', '--disable-pip-version-check', *arguments)

    def install(self, *requirements):
        # What is imported compiles itself; most is not.
        self.pip('install', '--quiet', '--no-compile', *requirements)

    def call(self, *arguments, cwd=None):
        """Run Python; return its output, or raise `Failure`."""
        return run([self.python, *arguments], cwd=cwd or self.folder)

    def run(self, *arguments, cwd):
        """Run Python; return (output, exit code)."""
        return run_any([self.python, *arguments], cwd)


def try_extra(report, distributions, extra, folder, python, bounds=()):
    """Install the wheel with *extra* in a new environment and test it."""
    title = '%s, %s versions' % (extra, 'lowest' if bounds else 'newest')
    requirement = 'cipher.background%s @ %s' % (
        '' if extra == 'core' else '[%s]' % extra,
        distributions.wheel.as_uri())
    constraints = ()
    if bounds:
        path = folder.parent / 'constraints.txt'
        path.write_text('\n'.join(bounds) + '\n', encoding='utf-8')
        constraints = '-c', str(path)
    environment = None
    with report.check(title + ': install'):
        made = Environment(folder, python, distributions.tools)
        made.install(requirement, *constraints)
        made.pip('check')
        made.call('-c', NOT_THE_CHECKOUT, cwd=distributions.source)
        environment = made
    if environment is None:
        return
    commands = [['cipher.background.tests.support.extras', extra]]
    if extra == 'test':
        commands.append([
            'zope.testrunner', '--test-path', find_site(environment),
            '--tests-pattern', '^test_', '-s', 'cipher.background', '-vv',
            *[argument for name in INSTALLED for argument in ('-m', name)]])
    for command in commands:
        began = time.monotonic()
        output, code = environment.run(
            '-m', *command, cwd=distributions.source)
        report.add('%s: %s' % (title, command[0]), output, code, began)


def find_site(environment):
    """Return the folder of the packages of an environment."""
    return environment.call(
        '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'
    ).strip()


def find_lowest_python():
    """Return the path of the lowest Python; raise `Failure` without one."""
    named = os.environ.get(LOWEST_VARIABLE)
    python = find_python(LOWEST, named)
    if python is None:
        raise Failure('expected python%d.%d on the PATH or in %s, got %s' % (
            *LOWEST, LOWEST_VARIABLE, repr(named) if named else 'none'))
    return python


def find_python(version, named=None):
    """Return the path of the Python of *version*; None where none is found.

    It is *named*, or else on the PATH or one of pyenv.
    """
    name = 'python%d.%d' % version
    candidates = [(named, {})] if named else [(name, {})]
    if not named and shutil.which('pyenv'):
        versions, code = run_any(['pyenv', 'whence', name], CHECKOUT)
        candidates += [(name, {'PYENV_VERSION': version})
                       for version in versions.split() if not code]
    for python, variables in candidates:
        if shutil.which(python):
            output, code = run_any(
                [python, '-c', 'import sys; print(sys.executable); '
                 'sys.exit(sys.version_info[:2] != %r)' % (version,)],
                CHECKOUT, **variables)
            if not code:
                return output.strip()
    return None


def read_build_requirements(folder):
    """Return the build requirements in pyproject.toml."""
    text = (folder / 'pyproject.toml').read_text(encoding='utf-8')
    return re.findall(
        '"([^"]+)"', re.search(r'^requires = \[(.*)\]', text, re.M)[1])


def list_files(folder):
    """Return the names of all files below a folder, relative to it."""
    return {path.relative_to(folder).as_posix()
            for path in folder.rglob('*') if path.is_file()}


def compare(title, expected, found):
    """Raise `Failure` unless the two sets are equal."""
    if expected != found:
        raise Failure('%s: expected %s, got %s; see MANIFEST.in and setup.py'
                      % (title, sorted(expected - found) or 'no more',
                         sorted(found - expected) or 'nothing else'))


def run(command, cwd):
    """Run a command; return its output, or raise `Failure`."""
    output, code = run_any(command, cwd)
    if code:
        raise Failure('expected success of "%s", got exit code %s:\n%s' % (
            ' '.join(map(str, command))[:200], code, output))
    return output


def run_any(command, cwd, **variables):
    """Run a command; return (output, exit code)."""
    environ = {name: value for name, value in os.environ.items()
               if not name.startswith('PYTHON')}
    try:
        done = subprocess.run(
            list(map(str, command)), cwd=cwd, env={**environ, **variables},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors='replace',
            timeout=LIMIT)
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or ''
        if isinstance(output, bytes):
            output = output.decode('utf-8', 'replace')
        return '%s\nexpected an end within %d s, got none' % (
            output, LIMIT), 1
    return done.stdout, done.returncode


def say(text):
    print('%s: %s' % (Path(sys.argv[0]).stem, text), flush=True)


def read_arguments():
    head, _blank, rest = __doc__.partition('\n\n')
    parser = argparse.ArgumentParser(
        description=head, epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--newest', action='store_true')
    which.add_argument('--lowest', action='store_true')
    parser.add_argument('extras', metavar='EXTRA', nargs='*')
    options = parser.parse_args()
    for extra in options.extras:
        if extra not in EXTRAS:
            parser.error('EXTRA: expected one of %s, got %r' % (
                ', '.join(EXTRAS), extra))
    return options


def main():
    options = read_arguments()
    extras = options.extras or EXTRAS
    report = Report()
    with tempfile.TemporaryDirectory(prefix='wheels') as name:
        folder = Path(name).resolve()
        distributions = Distributions(folder)
        built = False
        with report.check('build'):
            distributions.build()
            built = True
        if built:
            with report.check('the source distribution is whole'):
                distributions.checkSource()
            with report.check('the wheel is whole'):
                distributions.checkWheel()
            if not options.lowest:
                for extra in extras:
                    try_extra(report, distributions, extra,
                              folder / extra, sys.executable)
            if not options.newest:
                try_lowest(report, distributions, extras, folder)
    # Alone on its line, for totals.py.
    print('%d passed, %d failed, %d skipped' % (
        report.passed, report.failed, report.skipped))
    return 1 if report.failed else 0


def try_lowest(report, distributions, extras, folder):
    """Try the extras with the lowest versions."""
    try:
        python = find_lowest_python()
    except Failure as failure:
        if LOWEST_VARIABLE in os.environ:
            with report.check('lowest versions'):
                raise
        else:
            report.skip('lowest versions', failure)
        return
    bounds = distributions.readLowerBounds()
    for extra in extras:
        try_extra(report, distributions, extra, folder / ('low-' + extra),
                  python, bounds)


if __name__ == '__main__':
    sys.exit(main())
