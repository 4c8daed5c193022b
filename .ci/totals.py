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
"""Sum up a log of zope.testrunner as "N passed, N failed, N skipped".

usage: python3 totals.py LOG

Exit with 1 when a test failed, when none ran, or when the log has no totals.
"""
import re
import sys


# "Total: 3 tests, 0 failures, ..." closes a run of several layers, and
# "Ran 3 tests with 0 failures, ..." a run of only one.
TOTALS = re.compile(
    r'^(?:Total:|  Ran) (?P<tests>\d+) tests(?:,| with) '
    r'(?P<failures>\d+) failures, (?P<errors>\d+) errors'
    r'(?:,| and) (?P<skipped>\d+) skipped', re.MULTILINE)
COLOR = re.compile(r'\x1b\[[0-9;]*m')

# Modules that could not be imported: errors, but not among the tests.
NOT_IMPORTED = re.compile(
    r'^Test-modules with import problems:\n((?:  \S+\n)+)', re.MULTILINE)


def parse(log):
    """Return the numbers (passed, failed, skipped), or None without totals."""
    log = COLOR.sub('', log)
    matches = list(TOTALS.finditer(log))
    if not matches:
        return None
    last = matches[-1]
    tests, failures, errors, skipped = map(
        int, last.group('tests', 'failures', 'errors', 'skipped'))
    not_imported = sum(
        match.group(1).count('\n') for match in NOT_IMPORTED.finditer(log))
    failed = failures + errors
    passed = tests - skipped - max(failed - not_imported, 0)
    return max(passed, 0), failed, skipped


def main(path):
    with open(path, encoding='utf-8', errors='replace') as file:
        numbers = parse(file.read())
    if numbers is None:
        print('totals: expected the totals of a test run in the log, '
              'got none; look at its end', file=sys.stderr)
        return 1
    print('%d passed, %d failed, %d skipped' % numbers)
    passed, failed, skipped = numbers
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
