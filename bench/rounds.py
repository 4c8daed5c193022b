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
"""Interleaved rounds of measurements: their table and their JSON file.

A measure is a function that returns {name of a figure: number}.  A round
carries out each measure once, and every other round in the opposite order.
So a load of the machine that comes and goes hits all measures alike.

The JSON file has the result of each command under the name of the command::

    {command: {"date", "machine", "versions", "options",
               "rounds": [{name: number}, ...],
               "figures": {name: {"median", "least", "most"}}}}
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import traceback
from importlib import metadata

from cipher.background.tests.support.servers import waitFor


#: Distributions whose versions matter.
DISTRIBUTIONS = (
    'BTrees', 'cipher.background', 'persistent', 'psycopg2-binary',
    'RelStorage', 'transaction', 'ZEO', 'ZODB', 'zope.app.wsgi')

#: Seconds that the slowest of all waits may take.
TIMEOUT = 600.0


def newParser(doc, rounds=3):
    """Return a parser with the options of each command."""
    parser = argparse.ArgumentParser(description=doc.partition('\n')[0])
    parser.add_argument('--rounds', type=positive, default=rounds)
    parser.add_argument('--json', metavar='FILE',
                        help='add the figures to this file')
    return parser


def positive(text):
    """Convert an option that is a whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError('expected 1 or more, got %d' % number)
    return number


def listOf(convert=str, allowed=None):
    """Return a converter of an option with commas."""
    def convert_list(text):
        values = [convert(each) for each in text.split(',')]
        for value in values:
            if allowed is not None and value not in allowed:
                raise argparse.ArgumentTypeError('expected %s, got %r' % (
                    ', '.join(allowed), value))
        return values
    return convert_list


class Rounds(list):
    """The figures of rounds: {name: number} of each."""

    failures = 0   # of measures; their figures are missing

    def add(self, found, measure):
        """Add the figures of *measure* to the round *found*, unless it fails.
        """
        try:
            found.update(measure())
        except (Exception, SystemExit):
            print(traceback.format_exc(), file=sys.stderr, flush=True)
            self.failures += 1

    def addOnce(self, measure):
        """Add the figures of *measure* to the first round."""
        self.add(self[0], measure)


def carryOut(measures, number):
    """Carry out *number* rounds of *measures*; return their `Rounds`.

    If a measure fails, the figures of the others are kept.  `report` then
    ends the program with an exit code.
    """
    rounds = Rounds()
    order = list(measures)
    for _ in range(number):
        found = {}
        for measure in order:
            rounds.add(found, measure)
        rounds.append(found)
        order.reverse()
    names = list(dict.fromkeys(name for found in rounds for name in found))
    # The order of the first round, whatever the order of a later one.
    rounds[:] = [{name: found[name] for name in names if name in found}
                 for found in rounds]
    return rounds


def summarize(rounds):
    """Return {name: {median, least, most}} of the figures of all rounds."""
    summary = {}
    for name in dict.fromkeys(name for found in rounds for name in found):
        values = [found[name] for found in rounds if name in found]
        summary[name] = {'median': statistics.median(values),
                         'least': min(values), 'most': max(values)}
    return summary


def formatTable(rounds):
    """Return the lines of a table of medians and spread."""
    summary = summarize(rounds)
    width = max(map(len, summary))
    lines = ['%-*s %10s %10s %10s' % (width, '', 'median', 'least', 'most')]
    for name, figures in summary.items():
        lines.append('%-*s %10.4g %10.4g %10.4g' % (
            width, name, *figures.values()))
    return lines


def report(command, options, rounds, note='every effect audited',
           versions=None):
    """Print the table of *rounds*; add them to the file of ``--json``.

    Exit if a measure of them failed.
    """
    if not any(rounds):
        sys.exit('%s: expected figures, got none' % command)
    print('%s: %d rounds; %s' % (command, len(rounds), note))
    print('\n'.join(formatTable(rounds)), flush=True)
    writeJSON(command, options, rounds, versions)
    if rounds.failures:
        sys.exit('%s: %d measures failed; their figures are missing' % (
            command, rounds.failures))


#: Options that name places of the machine; the figures do not depend on them.
PLACES = 'json', 'environment', 'against'


def writeJSON(command, options, rounds, versions=None):
    """Add the figures of *command* to the file of ``--json``, if any."""
    if not options.json:
        return
    results = readJSON(options.json) if os.path.exists(options.json) else {}
    results[command] = {
        'date': datetime.datetime.now(datetime.timezone.utc).isoformat(
            timespec='seconds'),
        'machine': describeMachine(),
        'versions': {**listVersions(), **(versions or {})},
        'options': {name: value for name, value in vars(options).items()
                    if name not in PLACES},
        'rounds': rounds,
        'figures': summarize(rounds)}
    folder = os.path.dirname(os.path.abspath(options.json))
    with tempfile.NamedTemporaryFile(
            'w', dir=folder, delete=False, encoding='utf-8') as new:
        json.dump(results, new, indent=1)
        new.write('\n')
    os.chmod(new.name, 0o644)
    os.replace(new.name, options.json)


def readJSON(path):
    """Return the content of a file of ``--json``."""
    with open(path, encoding='utf-8') as source:
        return json.load(source)


def describeMachine():
    """Return what a reader has to know about this machine."""
    return {'cores': os.cpu_count(), 'system': platform.system(),
            'machine': platform.machine(),
            'load': [round(load, 1) for load in os.getloadavg()]}


def listVersions():
    """Return {name: version} of what is measured."""
    versions = {'Python': platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def quantiles(name, seconds):
    """Return the p50 and p95 of a list, in milliseconds."""
    ordered = sorted(seconds)
    return {name + ', p50 ms': 1000 * statistics.median(ordered),
            name + ', p95 ms': 1000 * ordered[int(len(ordered) * 0.95)]}


def wait(condition, what):
    """Wait until *condition* holds; exit after a long time."""
    try:
        return waitFor(condition, what, TIMEOUT)
    except AssertionError as error:
        sys.exit('bench: %s' % error)


class Child:
    """This program in another process, which answers by lines.

    It ends when its input ends.
    """

    def __init__(self, *arguments, python=None, program=None, env=None):
        if program is None:
            program = os.path.join(os.path.dirname(__file__), 'main.py')
        if python is None:
            python = sys.executable
            env = dict(os.environ, PYTHONPATH=os.pathsep.join(
                path for path in sys.path if path))
        self._process = subprocess.Popen(
            [python, program, *map(str, arguments)], env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @property
    def pid(self):
        return self._process.pid

    def read(self):
        """Return its next line."""
        line = self._process.stdout.readline()
        if not line:
            sys.exit('bench: expected a line of %s, got its end with code %s'
                     % (self._process.args[2:], self._process.wait()))
        return line.strip()

    def write(self, line):
        """Send it a line."""
        self._process.stdin.write('%s\n' % line)
        self._process.stdin.flush()

    def end(self, limit=30):
        """End its input; return when it has ended."""
        self._process.stdin.close()
        try:
            self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.end()
