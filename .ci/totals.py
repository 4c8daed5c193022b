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
"""Sum up logs of tests as "N passed, N failed, N skipped".

usage: python3 totals.py LOG ...

A log is one of zope.testrunner, or has such a line itself.  The log of
`bootstrap.py test` has several parts, one for each run of zope.testrunner.
The names of the tests that failed are printed before the sums.  The exit code
is 1 if a test failed, or if a part has no totals or no test that passed.
"""
import re
import sys


# "Total: 3 tests, 0 failures, ..." closes a run of several layers, and
# "Ran 3 tests with 0 failures, ..." a run of only one.
TOTALS = re.compile(
    r'^(?:Total:|  Ran) (?P<tests>\d+) tests(?:,| with) '
    r'(?P<failures>\d+) failures, (?P<errors>\d+) errors'
    r'(?:,| and) (?P<skipped>\d+) skipped', re.MULTILINE)
# The last line of other programs.
PLAIN = re.compile(
    r'^(\d+) passed, (\d+) failed, (\d+) skipped$', re.MULTILINE)
COLOR = re.compile(r'\x1b\[[0-9;]*m')

# Modules that could not be imported count as errors, but not as tests.
NOT_IMPORTED = re.compile(
    r'^Test-modules with import problems:\n((?:  \S+\n)+)', re.MULTILINE)

# `bootstrap.py` prints this line before each of several runs.
PART = re.compile(r'^bootstrap: tests of .*\n', re.MULTILINE)
FAILED = re.compile(r'^(?:Failure|Error) in test .*$', re.MULTILINE)


def split(log):
    """Return the parts of a log, one for each run."""
    log = COLOR.sub('', log)
    return PART.split(log)[1:] or [log]


def parse(log):
    """Return the numbers (passed, failed, skipped), or None without totals."""
    matches = list(TOTALS.finditer(log))
    if not matches:
        plain = PLAIN.findall(log)
        return tuple(map(int, plain[-1])) if plain else None
    last = matches[-1]
    tests, failures, errors, skipped = map(
        int, last.group('tests', 'failures', 'errors', 'skipped'))
    not_imported = sum(
        match.group(1).count('\n') for match in NOT_IMPORTED.finditer(log))
    failed = failures + errors
    passed = tests - skipped - max(failed - not_imported, 0)
    return max(passed, 0), failed, skipped


def main(*paths):
    sums, code, failed = [0, 0, 0], 0, []
    for path in paths:
        with open(path, encoding='utf-8', errors='replace') as file:
            parts = split(file.read())
        for part in parts:
            numbers = parse(part)
            if numbers is None:
                print('totals: expected the totals of a test run in the log '
                      '%s, got none; look at its end' % path, file=sys.stderr)
                # The number of tests that would have passed is unknown.
                numbers = 0, 1, 0
            if numbers[1] or not numbers[0]:
                code = 1
            sums = [one + other for one, other in zip(sums, numbers)]
            failed += FAILED.findall(part)
    # A test with several failing subtests has a line for each of them.
    for line in dict.fromkeys(failed):
        print(line)
    print('%d passed, %d failed, %d skipped' % tuple(sums))
    return code


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
