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
"""Processes enqueue, work and are killed at random; an audit follows."""
import argparse
import os
import random
import shutil
import tempfile

from cipher.background.tests.chaos import client
from cipher.background.tests.chaos.driver import Driver
from cipher.background.tests.chaos.storages import STORAGES


#: Violations that are shown at the most.
SHOWN = 50


def report(driver, table, lanes):
    """Print what happened."""
    print('signals: %s; %.0f s' % (', '.join(
        '%d %s' % (number, name) for name, number
        in driver.signals.most_common()), driver.seconds))
    print('runs: %d, %.1f a second; %d lanes' % (
        sum(table.values()), sum(table.values()) / driver.seconds, lanes))
    for name in sorted({name for name, _ in table}):
        print('  %-10s %s' % (name, ', '.join(
            '%d %s' % (number, state)
            for (other, state), number in sorted(table.items())
            if other == name)))
    for event, text in (('group', 'shared commits: %d, of %.1f runs'),
                        ('given', 'taken over: %d times, %.1f runs')):
        sizes = driver.listEvents(event)
        if sizes:
            print(text % (len(sizes), sum(sizes) / len(sizes)))
    print('violations: %d' % len(driver.violations))
    for violation in driver.violations[:SHOWN]:
        print('  ' + violation)


def parse(arguments):
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--storage', choices=sorted(STORAGES),
                        default='filestorage')
    parser.add_argument('--kills', type=int, help='how many processes to end')
    parser.add_argument('--seconds', type=float, help='how long to go on')
    parser.add_argument('--processes', type=int, help='at a time')
    parser.add_argument('--seed', type=int,
                        default=random.SystemRandom().randrange(1000000))
    parser.add_argument('--pace', type=float, nargs=2, default=(0.02, 0.3),
                        help='the least and the most seconds between two '
                             'signals')
    parser.add_argument('--share', action='store_true',
                        help='let the runs share commits')
    parser.add_argument('--keep', action='store_true',
                        help='keep the folder with database and logs')
    options = parser.parse_args(arguments)
    if options.kills is None and options.seconds is None:
        options.kills = 100
    return options


def main(arguments=None):
    """Run; return the exit status: 0 without a violation."""
    options = parse(arguments)
    print('chaos: %s, seed %d' % (options.storage, options.seed), flush=True)
    if options.share:
        client.shareCommits()
    folder = tempfile.mkdtemp()
    # A server may be another user's.
    os.chmod(folder, 0o755)
    try:
        driver = Driver(options, folder)
        try:
            report(driver, *driver.run())
        finally:
            driver.close()
    finally:
        if options.keep:
            print('kept: %s' % folder)
        else:
            shutil.rmtree(folder)
    return 1 if driver.violations else 0
