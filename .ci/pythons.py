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
"""Run the unit tests on the other Pythons that the package is for.

usage: python3 .ci/pythons.py [VERSION ...]

  VERSION    as 3.13; by default all but that of the Python that runs this

A Python is looked for on the PATH and among those of pyenv; one that is not
there is skipped.  Each has a copy of the checkout, where bootstrap.py builds
an environment.

The last line is "N passed, N failed, N skipped"; the exit code is 1 if
anything failed.
"""
import shutil
import sys
import tempfile
import time
from pathlib import Path

from wheels import CHECKOUT
from wheels import GENERATED
from wheels import Failure
from wheels import Report
from wheels import find_python
from wheels import run
from wheels import run_any


VERSIONS = ((3, 10), (3, 11), (3, 12), (3, 13))


def try_python(report, version, folder):
    """Run the unit tests on the Python of *version*."""
    title = 'Python %d.%d' % version
    python = find_python(version)
    if python is None:
        report.skip(title, 'it is neither on the PATH nor one of pyenv')
        return
    shutil.copytree(
        CHECKOUT, folder, ignore=shutil.ignore_patterns(*GENERATED))
    command = [python, folder / 'bootstrap.py']
    built = False
    with report.check(title + ': build'):
        try:
            run(command, folder)
        except Failure:
            run(command, folder)    # the network may have failed
        built = True
    if built:
        began = time.monotonic()
        log, code = run_any([*command, 'test', '-u'], folder)
        report.add(title, log, code, began)


def read_versions(arguments):
    if not arguments:
        return [one for one in VERSIONS if one != sys.version_info[:2]]
    versions = {'%d.%d' % one: one for one in VERSIONS}
    for argument in arguments:
        if argument not in versions:
            sys.exit('pythons: VERSION: expected one of %s, got %r' % (
                ', '.join(versions), argument))
    return [versions[argument] for argument in arguments]


def main(*arguments):
    report = Report()
    with tempfile.TemporaryDirectory(prefix='pythons') as name:
        for version in read_versions(arguments):
            try_python(report, version,
                       Path(name).resolve() / ('%d.%d' % version))
    # Alone on its line, for totals.py.
    print('%d passed, %d failed, %d skipped' % (
        report.passed, report.failed, report.skipped))
    return 1 if report.failed else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
