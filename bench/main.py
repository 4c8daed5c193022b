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
"""The benchmarks of the package: one program with commands.

    bin/python bench/main.py COMMAND [OPTION ...]
    bin/python bench/main.py COMMAND --help
    bin/python bench/main.py all [--json FILE] [--quick]

Each command prints a table of medians and spread; with ``--json FILE`` it
also adds its figures to that file.  ``all`` carries out the measurements one
after the other, with the options that the documentation uses.  It takes about
%(minutes)d minutes on an idle machine, with ``--quick`` three.  On a busy one
it takes at most %(most)d: it interrupts a measurement that takes far too long,
and leaves out those that have not begun by then.  One that fails does not end
the others; the file keeps what it has of a command until there are new ones.
"""
import importlib
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress


#: {command: (module, its purpose)}
COMMANDS = {
    'floor': ('floor', 'raw commits, and a bare loop that writes the same '
                       'records'),
    'throughput': ('throughput', 'starts and their drain'),
    'latency': ('latency', 'from a commit to the work, and to a stop'),
    'conflicts': ('conflicts', 'conflicts of processes that start runs'),
    'bytes': ('written', 'bytes that starts, jobs and an idle runtime write'),
    'memory': ('cycles', 'leaks of memory, threads, files and connections'),
    'pages': ('pages', 'questions of the pages to many runs'),
    'polls': ('polls', 'pages and polls through the whole publication'),
    'questions': ('questions', 'five questions with 20,000 runs, in clicks'),
    'viewers': ('viewers', 'the drain while pages are open'),
    'peers': ('peers', 'other job queues, with the same work'),
    'growth': ('growth', 'rates with many runs and types beside those at 0'),
    'chaos': ('cipher.background.tests.chaos.command',
              'kills at random, then an audit'),
    'reindex': ('reindex', 'a long run that is killed again and again'),
    'chart': ('drawing', 'the charts of the documentation from a JSON file'),
}

#: The measurements of ``all``: (command, options, those of ``--quick``,
#: seconds that it takes on an idle machine).
ALL = (
    ('floor', [], ['--rounds', '1', '--jobs', '200'], 60),
    ('throughput', [],
     ['--rounds', '1', '--jobs', '200', '--starts', '20'], 45),
    ('throughput', ['--share'],
     ['--share', '--rounds', '1', '--jobs', '200', '--starts', '20'], 40),
    ('throughput', ['--zeo'],
     ['--zeo', '--rounds', '1', '--jobs', '200', '--starts', '20'], 75),
    ('throughput', ['--zeo', '--share'],
     ['--zeo', '--share', '--rounds', '1', '--jobs', '200', '--starts', '20'],
     60),
    ('latency', ['--rounds', '2'],
     ['--rounds', '1', '--starts', '20', '--stops', '1'], 120),
    ('bytes', [], ['--rounds', '1', '--jobs', '200', '--seconds', '5'], 150),
    ('conflicts', [], ['--rounds', '1', '--starts', '100'], 60),
    ('peers', ['--rounds', '2'],
     ['--rounds', '1', '--jobs', '200', '--starts', '20'], 240),
    ('polls', [], ['--rounds', '1', '--runs', '5000', '--polls', '2'], 110),
    ('viewers', ['--rounds', '2'],
     ['--rounds', '1', '--jobs', '500', '--runs', '1000', '--seconds', '5'],
     140),
    ('memory', ['--jobs', '20000'], ['--jobs', '500'], 40),
    ('pages', ['--runs', '1000000'],
     ['--rounds', '1', '--runs', '5000'], 130),
    ('growth',
     ['--rounds', '2', '--finished', '1000000', '--delayed', '100000',
      '--jobs', '10000'],
     ['--rounds', '1', '--jobs', '200', '--finished', '5000', '--delayed',
      '500', '--types', '20'], 160),
)

#: Seconds that ``all`` takes at most.  What has not begun by then is left out.
LONGEST = 25 * 60

#: A measurement may take so many times its seconds, and `LEAST` in any case.
PATIENCE = 3
LEAST = 120

#: Seconds for a measurement that is interrupted to end its servers.
ENDING = 15


def usage():
    """Return the text of the help."""
    width = max(map(len, COMMANDS))
    seconds = sum(seconds for *_, seconds in ALL)
    doc = __doc__ % {'minutes': round(seconds / 60), 'most': LONGEST // 60}
    return doc + '\n' + '\n'.join(
        '    %-*s  %s' % (width, name, purpose)
        for name, (_module, purpose) in COMMANDS.items())


def findModule(command):
    """Return the full name of the module of *command*."""
    name = COMMANDS[command][0]
    return name if '.' in name else 'bench.' + name


def runAll(arguments):
    """Carry out each measurement in a process of its own."""
    arguments = list(arguments)
    is_quick = '--quick' in arguments
    if is_quick:
        arguments.remove('--quick')
    failed = []
    begin = time.monotonic()
    for command, options, quick_options, seconds in ALL:
        words = [command, *(quick_options if is_quick else options)]
        left = begin + LONGEST - time.monotonic()
        print('\n' + ' '.join(words), flush=True)
        began = time.monotonic()
        if left <= 0:
            reason = 'left out'
        else:
            reason = runOne([*words, *arguments],
                            min(left, max(LEAST, PATIENCE * seconds)))
        print('%s: %d s' % (command, time.monotonic() - began), flush=True)
        if reason:
            failed.append('%s (%s)' % (' '.join(words), reason))
    for line in failed:
        print('failed: ' + line)
    return 1 if failed else 0


def runOne(words, limit):
    """Run this program with *words*; return why it failed, or None.

    Interrupt it after *limit* seconds.
    """
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(
        path for path in sys.path if path))
    # Its servers and other processes are in its group.
    process = subprocess.Popen([sys.executable, __file__, *words],
                               env=environment, start_new_session=True)
    try:
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
            code = None
            process.wait(ENDING)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code is None:
        return 'took more than %d s' % limit
    return 'code %d' % code if code else None


def main(argv=None):
    """Carry out the command; return the exit code."""
    command, *arguments = (sys.argv[1:] if argv is None else argv) or ['']
    if command in ('', '-h', '--help'):
        print(usage())
        return 0 if command else 2
    if command == 'all':
        return runAll(arguments)
    if command not in COMMANDS:
        print('bench: expected one of %s, got %r' % (
            ', '.join([*COMMANDS, 'all']), command), file=sys.stderr)
        return 2
    # The modules import each other, however this program is started.
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.argv[0] += ' ' + command
    module = importlib.import_module(findModule(command))
    return module.main(arguments)


if __name__ == '__main__':
    sys.exit(main())
