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
"""The benchmarks: each command, its table and its file, and the charts."""
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stderr
from contextlib import redirect_stdout
from importlib import import_module
from types import SimpleNamespace
from unittest import mock
from xml.etree import ElementTree

from cipher.background.tests.support.checkout import requireCheckout
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.servers import programEnvironment


#: {command: its smallest sizes}.  Peers need pip and a network.
SMALLEST = {
    'floor': ['--jobs', '4', '--together', '2', '--storages', 'file,memory'],
    'throughput': ['--jobs', '4', '--starts', '2', '--threads', '1'],
    'latency': ['--starts', '2', '--stops', '1', '--age', '0',
                '--storages', 'file,zeo'],
    'conflicts': ['--starts', '4', '--processes', '2', '--request', '0'],
    'bytes': ['--jobs', '4', '--seconds', '0.1'],
    'memory': ['--jobs', '20'],
    'pages': ['--runs', '50'],
    'polls': ['--runs', '400', '--polls', '1'],
    'viewers': ['--jobs', '4', '--runs', '50', '--pages', '2', '--seconds',
                '0.1'],
    'growth': ['--jobs', '4', '--finished', '50', '--delayed', '2',
               '--types', '2'],
}

#: Seconds; a command needs one or two on an idle machine.
LIMIT = 300


def load(name):
    """Import the module *name* of bench/."""
    folder = str(requireCheckout('bench').parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return import_module('bench.' + name)


class ProgramTests(unittest.TestCase):

    def setUp(self):
        self.main = load('main')

    def call(self, *arguments):
        """Return (exit code, standard output, standard error)."""
        out, error = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(error):
            code = self.main.main(list(arguments))
        return code, out.getvalue(), error.getvalue()

    def test_no_module_has_the_name_of_one_of_the_standard_library(self):
        names = {path.stem for path in requireCheckout('bench').glob('*.py')}
        self.assertIn('peers', names)
        self.assertEqual(set(), names & {*sys.stdlib_module_names})

    def test_each_module_is_reached_by_a_command(self):
        reached = {self.main.findModule(command).removeprefix('bench.')
                   for command in self.main.COMMANDS}
        helpers = {'__init__', 'main', 'peerprogram', 'places', 'rounds'}
        names = {path.stem for path in requireCheckout('bench').glob('*.py')}
        self.assertEqual(names, {
            *helpers, *(name for name in reached if '.' not in name)})

    def test_each_command_of_measurements_has_a_smallest_size(self):
        self.assertEqual({*SMALLEST, 'peers'}, {
            command for command, *_options in self.main.ALL})

    def test_help_names_each_command(self):
        code, out, _error = self.call('--help')
        self.assertEqual(0, code)
        for command in self.main.COMMANDS:
            self.assertRegex(out, r'(?m)^    %s ' % command)

    def test_unknown_command_is_refused(self):
        code, _out, error = self.call('nothing')
        self.assertEqual(2, code)
        self.assertIn("got 'nothing'", error)

    def test_page_for_contributors_names_each_command(self):
        text = requireCheckout('docs', 'contributing.rst').read_text()
        self.assertEqual([], [
            command for command in self.main.COMMANDS
            if '``%s``' % command not in text])


class AllTests(unittest.TestCase):
    """`all`, whose measurements are replaced by what they return."""

    def setUp(self):
        self.main = load('main')

    def carryOut(self, reasons, *arguments, **settings):
        """Return (exit code, output, calls) with *reasons* of failures."""
        calls = []

        def run(words, limit):
            calls.append((words, limit))
            return reasons[words[0]]

        out = io.StringIO()
        with mock.patch.multiple(
                self.main, runOne=run, ALL=[
                    (name, ['--slow'], ['--fast'], 50) for name in reasons],
                **settings), redirect_stdout(out):
            code = self.main.main(['all', *arguments])
        return code, out.getvalue(), calls

    def test_one_that_fails_does_not_end_the_others(self):
        code, out, calls = self.carryOut(
            {'a': None, 'b': 'code 1', 'c': None}, '--json', 'F')
        self.assertEqual(1, code)
        self.assertEqual([[name, '--slow', '--json', 'F'] for name in 'abc'],
                         [words for words, _limit in calls])
        self.assertEqual(['failed: b --slow (code 1)'],
                         re.findall('failed:.*', out))

    def test_all_is_well(self):
        code, out, calls = self.carryOut({'a': None}, '--quick')
        self.assertEqual((0, ['a', '--fast']), (code, calls[0][0]))
        self.assertNotIn('failed', out)

    def test_each_gets_a_multiple_of_its_time_but_no_more_than_is_left(self):
        _code, _out, calls = self.carryOut({'a': None})
        self.assertEqual(150, calls[0][1])
        _code, _out, calls = self.carryOut({'a': None}, LONGEST=10)
        self.assertLessEqual(calls[0][1], 10)

    def test_those_for_which_no_time_is_left_are_named(self):
        code, out, calls = self.carryOut({'a': None}, LONGEST=0)
        self.assertEqual((1, []), (code, calls))
        self.assertIn('failed: a --slow (left out)', out)

    def test_they_fit_into_the_time(self):
        self.assertLess(sum(seconds for *_, seconds in self.main.ALL),
                        self.main.LONGEST)


class RoundTests(unittest.TestCase):

    def setUp(self):
        self.rounds = load('rounds')
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, 'figures.json')

    def test_every_other_round_is_in_the_opposite_order(self):
        calls = []

        def measure(name):
            return lambda: (calls.append(name), {name: len(calls)})[1]

        found = self.rounds.carryOut([measure('a'), measure('b')], 2)
        self.assertEqual(['a', 'b', 'b', 'a'], calls)
        self.assertEqual([{'a': 1, 'b': 2}, {'a': 4, 'b': 3}], found)
        self.assertEqual(['a', 'b'], list(found[1]))

    def test_summary_has_the_median_and_the_spread(self):
        self.assertEqual(
            {'a': {'median': 3, 'least': 1, 'most': 9},
             'b': {'median': 5, 'least': 5, 'most': 5}},
            self.rounds.summarize([{'a': 9, 'b': 5}, {'a': 1}, {'a': 3}]))

    def test_file_keeps_the_figures_of_other_commands(self):
        options = SimpleNamespace(json=self.path, rounds=1)
        for command in 'one', 'two', 'one':
            self.rounds.writeJSON(command, options, [{'a': 1}])
        results = self.rounds.readJSON(self.path)
        self.assertEqual(['one', 'two'], list(results))
        self.assertEqual({'rounds': 1}, results['one']['options'])
        self.assertEqual([{'a': 1}], results['two']['rounds'])
        self.assertIn('ZODB', results['two']['versions'])

    def test_measure_that_fails_loses_no_other(self):
        def fail():
            raise ValueError('lost effect')

        def leave():
            sys.exit('no answer')

        error = io.StringIO()
        with redirect_stderr(error):
            found = self.rounds.carryOut(
                [lambda: {'a': 1}, fail, leave, lambda: {'b': 2}], 2)
            found.addOnce(fail)
            found.addOnce(lambda: {'c': 3})
        self.assertEqual(
            [{'a': 1, 'b': 2, 'c': 3}, {'a': 1, 'b': 2}], found)
        self.assertIn('lost effect', error.getvalue())
        options = SimpleNamespace(json=self.path, rounds=2)
        with redirect_stdout(io.StringIO()), self.assertRaises(
                SystemExit) as raised:
            self.rounds.report('one', options, found)
        self.assertIn('5 measures failed', str(raised.exception))
        self.assertEqual([*found],
                         self.rounds.readJSON(self.path)['one']['rounds'])

    def test_no_figures_are_an_error(self):
        with self.assertRaises(SystemExit) as raised:
            self.rounds.report('one', SimpleNamespace(json=None), [{}])
        self.assertIn('expected figures', str(raised.exception))


class PeerTests(unittest.TestCase):

    def setUp(self):
        self.peers = load('peers')

    def test_options(self):
        options = self.peers.parse(
            ['--only', 'ours,celery', '--threads', '1,2', '--jobs', '5'])
        self.assertEqual(['ours', 'celery'], options.only)
        self.assertEqual([1, 2], options.threads)
        self.assertEqual(5, options.jobs)

    def test_all_are_measured_unless_some_are_named(self):
        self.assertEqual(
            {'ours', *self.peers.PEERS}, {*self.peers.parse([]).only})

    def test_bad_options_are_refused(self):
        for argv in (['--only', 'sidekiq'], ['--threads', '0'],
                     ['--jobs', '0'], ['--rounds', 'x']):
            with self.subTest(argv), redirect_stderr(io.StringIO()), \
                    self.assertRaises(SystemExit):
                self.peers.parse(argv)

    def test_audit_finds_a_lost_effect_and_a_double_one(self):
        good = [1] * 5 + [0] * 195
        self.peers.audit('x', 5, good)
        for values in [1] * 4 + [0] * 196, [2] + good[1:], good[::-1]:
            with self.assertRaises(AssertionError):
                self.peers.audit('x', 5, values)

    def test_table_compares_the_best_of_each(self):
        found = {'ours, drain/s, 1 threads': 30.0,
                 'ours, drain/s, 4 threads': 20.0,
                 'rq, drain/s, 1 threads': 3.0,
                 'celery, drain/s, 4 threads': 10.0}
        self.peers.compare(found, [1, 4])
        self.assertEqual(10.0, found['ours / rq, drain'])
        self.assertEqual(3.0, found['ours / celery, drain'])
        self.assertNotIn('ours / dramatiq, drain', found)
        table = '\n'.join(load('rounds').formatTable([found, found]))
        self.assertRegex(table, r'ours / rq, drain +10 +10 +10')

    def test_each_peer_has_a_program(self):
        program = load('peerprogram')
        self.assertEqual({*program.PEERS}, {*program.FACTORIES})


class ChartTests(unittest.TestCase):

    def setUp(self):
        self.drawing = load('drawing')
        self.figures = {
            name: {'median': value, 'least': value, 'most': value}
            for name, value in {
                'ours, drain/s, 1 threads': 1200.0,
                'ours, drain/s, 4 threads': 900.0,
                'ours, latency, p50 ms': 0.3,
                'ours, latency, p95 ms': 0.7,
                'rq, drain/s, 1 threads': 80.0,
                'rq, latency, p50 ms': 2.0,
                'rq, latency, p95 ms': 30.0}.items()}

    def test_bars_are_as_long_as_the_best_rates(self):
        root = ElementTree.fromstring(
            self.drawing.drawThroughput(self.figures))
        bars = [float(bar.get('width')) for bar in root.iter(
            '{http://www.w3.org/2000/svg}rect') if bar.get('y')]
        self.assertEqual(2, len(bars))
        self.assertAlmostEqual(1200 / 80, bars[0] / bars[1], delta=0.1)

    def test_latency_goes_from_p50_to_p95(self):
        root = ElementTree.fromstring(self.drawing.drawLatency(self.figures))
        places = [float(dot.get('cx')) for dot in root.iter(
            '{http://www.w3.org/2000/svg}circle')]
        self.assertEqual(sorted(places), places)
        self.assertEqual(4, len(places))

    def test_pages_are_drawn_against_the_number_of_runs(self):
        figures = {
            'overview, %d runs, warm cpu ms' % runs: {'median': ms}
            for runs, ms in ((1000, 2.0), (10000, 2.5), (100000, 4.0))}
        root = ElementTree.fromstring(self.drawing.drawPages(figures))
        drawn, = root.iter('{http://www.w3.org/2000/svg}polyline')
        points = [tuple(map(float, point.split(',')))
                  for point in drawn.get('points').split()]
        self.assertEqual(sorted(points), points)
        # The page is the slower, the more runs there are: higher up.
        self.assertEqual(sorted((y for _x, y in points), reverse=True),
                         [y for _x, y in points])

    def test_numbers_have_three_digits(self):
        self.assertEqual(
            ['0', '0.0123', '1.23', '12.3', '123', '1,234'],
            list(map(self.drawing.format_number,
                     (0, 0.012345, 1.2345, 12.345, 123.45, 1234.5))))

    def test_charts_and_tables_of_the_documentation_are_those_of_its_file(
            self):
        folder = requireCheckout('docs', 'explanation', 'performance')
        made = self.drawing.draw(
            json.loads((folder / 'figures.json').read_text()))
        self.assertEqual(
            made, {path.name: path.read_text() for path in folder.iterdir()
                   if path.name != 'figures.json'})


class CommandTests(unittest.TestCase):
    """Each command works; the sizes are too small for good figures."""

    layer = Live

    def test_measurement_of_all_that_takes_too_long_is_ended(self):
        folder = str(requireCheckout('bench').parent)
        done = subprocess.run(
            [sys.executable, '-c', 'import sys; sys.path.insert(0, %r); '
             'from bench import main; print(main.runOne(["memory", "--jobs", '
             '"1000000000"], 1))' % folder], capture_output=True, text=True,
            env=programEnvironment(), timeout=LIMIT)
        self.assertEqual('took more than 1 s', done.stdout.splitlines()[-1])

    def test_each_command_with_its_smallest_sizes(self):
        program = str(requireCheckout('bench', 'main.py'))
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'figures.json')
            for command, options in SMALLEST.items():
                if command != 'memory':
                    options = [*options, '--rounds', '1']
                with self.subTest(command):
                    done = subprocess.run(
                        [sys.executable, program, command, *options,
                         '--json', path], capture_output=True, text=True,
                        env=programEnvironment(), timeout=LIMIT)
                    self.assertEqual(0, done.returncode, done.stderr)
            results = load('rounds').readJSON(path)
        self.assertEqual({*SMALLEST}, {*results})
        for command, result in results.items():
            self.assertTrue(result['figures'], command)
