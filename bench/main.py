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
after the other, with the options that the documentation uses.
"""
import importlib
import os
import subprocess
import sys


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
    'viewers': ('viewers', 'the drain while pages are open'),
    'peers': ('peers', 'other job queues, with the same work'),
    'growth': ('growth', 'rates with many runs and types beside those at 0'),
    'chaos': ('cipher.background.tests.chaos.command',
              'kills at random, then an audit'),
    'reindex': ('reindex', 'a long run that is killed again and again'),
    'chart': ('drawing', 'the charts of the documentation from a JSON file'),
}

#: The measurements of ``all``: (command, options, those of ``--quick``).
ALL = (
    ('floor', [], ['--rounds', '1', '--jobs', '200']),
    ('throughput', [], ['--rounds', '1', '--jobs', '200', '--starts', '20']),
    ('throughput', ['--zeo'],
     ['--zeo', '--rounds', '1', '--jobs', '200', '--starts', '20']),
    ('latency', [], ['--rounds', '1', '--starts', '20', '--stops', '1']),
    ('conflicts', [], ['--rounds', '1', '--starts', '100']),
    ('bytes', [], ['--rounds', '1', '--jobs', '200', '--seconds', '5']),
    ('memory', ['--jobs', '20000'], ['--jobs', '500']),
    ('pages', ['--runs', '100000'], ['--rounds', '1', '--runs', '5000']),
    ('polls', [], ['--rounds', '1', '--runs', '5000', '--polls', '2']),
    ('viewers', [],
     ['--rounds', '1', '--jobs', '500', '--runs', '1000', '--seconds', '5']),
    ('growth', [],
     ['--rounds', '1', '--jobs', '200', '--finished', '5000', '--delayed',
      '500', '--types', '20']),
    ('peers', [], ['--rounds', '1', '--jobs', '200', '--starts', '20']),
)


def usage():
    """Return the text of the help."""
    width = max(map(len, COMMANDS))
    return __doc__ + '\n' + '\n'.join(
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
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(
        path for path in sys.path if path))
    for command, options, quick_options in ALL:
        words = [command, *(quick_options if is_quick else options)]
        print('\n' + ' '.join(words), flush=True)
        if subprocess.run([sys.executable, __file__, *words, *arguments],
                          env=environment).returncode:
            failed.append(' '.join(words))
    if failed:
        print('failed: ' + ', '.join(failed))
    return 1 if failed else 0


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
