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
"""Run the tests of the host applications, each in an environment of its own.

usage: python3 bootstrap.py hosts [--only-install] [HOST ...]

  HOST             by default each of them, see HOSTS
  --only-install   make the environments and run nothing

An environment is made at build/hosts/HOST, unless it is there and up to date.
It has the requirements of an extra, in the versions of the host, and reads the
package from this checkout.  With the variable CI set, a test that is skipped
there counts as failed.  Without it, a browser may be missing.

The last line is "N passed, N failed, N skipped"; the exit code is 1 if
anything failed.
"""
import argparse
import os
import re
import shutil
import sys
import time
from importlib.metadata import distributions
from typing import NamedTuple

from wheels import CHECKOUT
from wheels import Environment
from wheels import Failure
from wheels import Report
from wheels import find_python
from wheels import find_site


sys.path.insert(1, str(CHECKOUT))
from bootstrap import Lock  # noqa: E402
from bootstrap import Stamp  # noqa: E402


class Host(NamedTuple):
    """A host application in one of its versions."""

    extra: str               # of setup.py
    # Modules below cipher.background.tests.  Each has a process of its own.
    tests: tuple
    requirements: tuple      # beside those of the extra
    constraints: str = ''    # a file in .ci
    python: tuple = ()       # (3, 11) where it needs this one


ZOPE_TESTS = (
    'hosts.test_zope', 'hosts.test_zope_acts', 'hosts.test_zope_browser',
    'hosts.test_zope_page', 'hosts.test_zope_worker')
PLONE_TESTS = (
    'hosts.test_plone', 'hosts.test_plone_browser',
    'hosts.test_plone_restapi', 'hosts.test_plone_rules',
    'hosts.test_plone_testing', 'hosts.test_plone_worker')

#: Of other versions for the two releases of Zope, so in no extra.
CATALOG = 'Products.ZCatalog'

#: What Plone brings, and our adapters and tests use only if it is there.
PLONE_EXTRAS = (
    'plone.api >= 2.2', 'plone.app.testing >= 7.1', 'plone.restapi >= 9',
    'plone.recipe.zope2instance >= 9', 'zope.testrunner >= 6.0')

#: {name: `Host`}
HOSTS = {
    'zope5': Host(
        'zope', ZOPE_TESTS, ('Zope[wsgi] < 6', 'ZODB < 6', CATALOG)),
    'zope6': Host('zope', ZOPE_TESTS, ('Zope[wsgi] >= 6.3', CATALOG)),
    'plone61': Host('plone', PLONE_TESTS, PLONE_EXTRAS, 'plone-6.1.txt'),
    'plone62': Host('plone', PLONE_TESTS, PLONE_EXTRAS, 'plone-6.2.txt'),
}

#: What the tests need beside a host.
TOOLS = ('ZEO >= 6.0', 'playwright >= 1.65', 'zodburi >= 3.0')

FOLDER = CHECKOUT / 'build' / 'hosts'


def read_requirements(extra):
    """Return the requirements of the package with *extra*."""
    found = []
    own, = distributions(
        name='cipher.background', path=[str(CHECKOUT / 'src')])
    for text in own.requires:
        requirement, _semicolon, marker = text.partition(';')
        wanted = re.findall(r'extra == .(\w+)', marker)
        if wanted in ([], [extra]):
            found.append(requirement.strip())
    return found


def make(name):
    """Return the `Environment` of the host *name*; make it if need be."""
    host = HOSTS[name]
    folder = FOLDER / name
    python = find_python(host.python) if host.python else sys.executable
    if python is None:
        raise Failure('expected python%d.%d on the PATH or of pyenv, got none'
                      % host.python)
    requirements = [
        *read_requirements(host.extra), *TOOLS, *host.requirements]
    constraints = ()
    facts = [str(folder), python, sys.version, *requirements]
    if host.constraints:
        path = CHECKOUT / '.ci' / host.constraints
        constraints = '-c', path
        facts.append(path.read_text(encoding='utf-8'))
    FOLDER.mkdir(parents=True, exist_ok=True)
    stamp = Stamp(str(folder / 'host.stamp'), lambda: facts)
    with Lock(str(FOLDER / (name + '.lock'))):
        if stamp.holds():
            return Environment(folder)
        shutil.rmtree(folder, ignore_errors=True)
        made = Environment(folder, python)
        try:
            made.install(*constraints, *requirements)
        except Failure:
            # The network may have failed: what was fetched is kept.
            made.install(*constraints, *requirements)
        with open(find_site(made) + '/checkout.pth', 'w') as file:
            file.write('%s\n' % (CHECKOUT / 'src'))
        stamp.write()
    return made


def try_host(report, name, run_tests=True):
    """Make the environment of the host *name*, and run its tests there."""
    made = None
    with report.check('%s: environment' % name):
        made = make(name)
    if made is None or not run_tests:
        return
    for tests in HOSTS[name].tests:
        began = time.monotonic()
        log, code = made.run(
            '-m', 'cipher.background.tests.support.extras',
            HOSTS[name].extra, tests, cwd=made.folder)
        skipped = report.skipped
        report.add('%s: %s' % (name, tests), log, code, began)
        if report.skipped > skipped:
            print(log, flush=True)
            if os.environ.get('CI'):
                report.failed += report.skipped - skipped
                report.skipped = skipped


def main(arguments=None):
    parser = argparse.ArgumentParser(prog='bootstrap.py hosts')
    parser.add_argument('--only-install', action='store_true')
    parser.add_argument('hosts', nargs='*', metavar='HOST')
    options = parser.parse_args(arguments)
    for name in options.hosts:
        if name not in HOSTS:
            parser.error('HOST: expected one of %s, got %r' % (
                ', '.join(HOSTS), name))
    report = Report()
    for name in options.hosts or HOSTS:
        try_host(report, name, not options.only_install)
    # Alone on its line, for totals.py.
    print('%d passed, %d failed, %d skipped' % (
        report.passed, report.failed, report.skipped))
    return 1 if report.failed else 0


if __name__ == '__main__':
    sys.exit(main())
