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
"""The checkout's own tools: bootstrap.py and the totals of the test run."""
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stderr
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock

from cipher.background.tests.support.checkout import requireCheckout
from cipher.background.tests.support.extras import HOSTS
from cipher.background.tests.support.layers import Live


LAYER = '  Ran 2 tests with 0 failures, 0 errors and 1 skipped in 0.1 seconds.'
TOTAL = 'Total: 9 tests, 1 failures, 2 errors and 1 skipped in 0.1 seconds.'
PARTS = '!support.layers.L', 'support.layers.Live', 'support.layers.Long'
PART = 'bootstrap: tests of bin/test --layer %s'
NOT_IMPORTED = 'Test-modules with import problems:\n  a.tests.test_b'


def load(*names):
    """Import a script of the checkout that is no part of the package."""
    path = requireCheckout(*names)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class StampTests(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, 'stamp')
        self.facts = ['one', 'two']
        self.stamp = load('bootstrap.py').Stamp(self.path, lambda: self.facts)

    def test_missing_stamp_does_not_hold(self):
        self.assertFalse(self.stamp.holds())

    def test_written_stamp_holds(self):
        self.stamp.write()
        self.assertTrue(self.stamp.holds())

    def test_stamp_of_other_facts_does_not_hold(self):
        self.stamp.write()
        self.facts[1] = 'three'
        self.assertFalse(self.stamp.holds())

    def test_truncated_stamp_does_not_hold(self):
        self.stamp.write()
        os.truncate(self.path, 10)
        self.assertFalse(self.stamp.holds())

    def test_removed_stamp_does_not_hold(self):
        self.stamp.write()
        self.stamp.remove()
        self.stamp.remove()
        self.assertFalse(self.stamp.holds())


class CommandTests(unittest.TestCase):

    def setUp(self):
        self.bootstrap = load('bootstrap.py')

    def test_unknown_command_is_refused(self):
        with self.assertRaisesRegex(
                self.bootstrap.BootstrapError, "got 'demos'; see"):
            self.bootstrap.main(['demos'])

    def test_old_python_is_refused(self):
        with self.assertRaisesRegex(
                self.bootstrap.BootstrapError, 'or newer, got 3.9;'):
            self.bootstrap.check_python((3, 9, 18))


class PartsTests(unittest.TestCase):
    """All tests run in processes side by side."""

    layer = Live

    def run_parts(self, program):
        """Run *program* in place of bin/test; return (code, output)."""
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, 'test')
            script.write_text(program, 'utf-8')
            bootstrap = requireCheckout('bootstrap.py')
            done = subprocess.run(
                [sys.executable, '-c',
                 'import bootstrap, sys; sys.exit(bootstrap.run_parts('
                 '[sys.executable, %r]))' % str(script)],
                cwd=bootstrap.parent, capture_output=True, text=True,
                env={**os.environ, 'PYTHONDONTWRITEBYTECODE': '1'})
        self.assertEqual(done.stderr, '')
        return done.returncode, re.sub(
            r'(?m)^(bootstrap: tests of )\S+', r'\1test', done.stdout)

    def test_all_run_at_once(self):
        # Each waits until the others have begun.
        code, output = self.run_parts('''if 1:
            import os, sys, time
            mine = sys.argv[2].replace('!', 'not ')
            folder = os.path.dirname(__file__)
            open(os.path.join(folder, mine), 'w').close()
            while len(os.listdir(folder)) < 4:
                time.sleep(.01)
            print(sys.argv[1:])
            sys.exit(0)
        ''')
        self.assertEqual(output, ''.join(
            "bootstrap: tests of test --layer %s\n['--layer', '%s']\n" % (
                part, part) for part in PARTS))
        self.assertEqual(code, 0)

    def test_each_can_fail(self):
        for failing in PARTS:
            with self.subTest(failing):
                code, output = self.run_parts(
                    'import sys; sys.exit(sys.argv[2] == %r)' % failing)
                self.assertEqual(code, 1)


class TotalsTests(unittest.TestCase):

    def parse(self, *lines):
        totals = load('.ci', 'totals.py')
        part, = totals.split('\n'.join(lines) + '\n')
        return totals.parse(part)

    def test_one_layer(self):
        self.assertEqual(self.parse(LAYER), (1, 0, 1))

    def test_total_goes_before_the_layers(self):
        self.assertEqual(self.parse(LAYER, LAYER, TOTAL), (5, 3, 1))

    def test_module_not_imported_is_failed_but_no_test(self):
        self.assertEqual(self.parse(LAYER, TOTAL, NOT_IMPORTED), (6, 3, 1))

    def test_colors_are_ignored(self):
        self.assertEqual(
            self.parse('\x1b[0m' + LAYER.replace('2', '\x1b[1;32m2\x1b[0m')),
            (1, 0, 1))

    def test_log_without_totals_gives_none(self):
        self.assertIsNone(self.parse('Segmentation fault'))

    def test_plain_line_counts_without_other_totals(self):
        self.assertEqual(
            self.parse('1 passed, 0 failed, 0 skipped', 'more',
                       '7 passed, 2 failed, 1 skipped'), (7, 2, 1))
        self.assertEqual(
            self.parse('7 passed, 2 failed, 1 skipped', LAYER), (1, 0, 1))

    def sum_up(self, *logs):
        """Return (what is printed, exit code) for several logs."""
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for n, text in enumerate(logs):
                paths.append(os.path.join(folder, str(n)))
                with open(paths[-1], 'w', encoding='utf-8') as file:
                    file.write(text + '\n')
            with redirect_stdout(StringIO()) as output, \
                    redirect_stderr(StringIO()):
                code = load('.ci', 'totals.py').main(*paths)
        return output.getvalue(), code

    def test_parts_of_a_log_are_summed_up(self):
        first, second = PART % '!Live', PART % 'Live'
        self.assertEqual(
            self.sum_up('\n'.join((first, LAYER, second, LAYER))),
            ('2 passed, 0 failed, 2 skipped\n', 0))
        self.assertEqual(
            self.sum_up('\n'.join(
                (first, LAYER, LAYER, TOTAL, second, LAYER))),
            ('6 passed, 3 failed, 2 skipped\n', 1))

    def test_part_without_totals_is_a_failure(self):
        self.assertEqual(
            self.sum_up('\n'.join((PART % '!Live', LAYER, PART % 'Live'))),
            ('1 passed, 1 failed, 1 skipped\n', 1))

    def test_failed_tests_are_named_once(self):
        self.assertEqual(
            self.sum_up('\n'.join((
                'Failure in test test_a (b.C)', 'Traceback', '',
                '\x1b[31mFailure in test test_a (b.C)\x1b[0m',
                'Error in test test_d (b.C)', LAYER, TOTAL))),
            ('Failure in test test_a (b.C)\nError in test test_d (b.C)\n'
             '5 passed, 3 failed, 1 skipped\n', 1))

    def test_several_logs_are_summed_up(self):
        self.assertEqual(
            self.sum_up(LAYER, '2 passed, 0 failed, 3 skipped'),
            ('3 passed, 0 failed, 4 skipped\n', 0))
        self.assertEqual(
            self.sum_up(LAYER, '2 passed, 1 failed, 3 skipped'),
            ('3 passed, 1 failed, 4 skipped\n', 1))

    def test_a_log_without_totals_is_a_failure(self):
        self.assertEqual(
            self.sum_up(LAYER, 'Killed'),
            ('1 passed, 1 failed, 1 skipped\n', 1))

    def test_a_log_of_which_nothing_passed_is_refused(self):
        self.assertEqual(
            self.sum_up(LAYER, '0 passed, 0 failed, 3 skipped')[1], 1)


class DocsTests(unittest.TestCase):
    """The look at the built documentation."""

    def find(self, **pages):
        """Return the failures in pages of {name: body}."""
        with tempfile.TemporaryDirectory() as folder:
            for name, body in pages.items():
                Path(folder, name + '.html').write_text(body, 'utf-8')
            Path(folder, 'a.png').write_text('')
            number, failures = load('.ci', 'docs.py').find_failures(
                Path(folder))
        self.assertEqual(number, len(pages))
        return failures

    def test_good_pages(self):
        self.assertEqual([], self.find(
            index='<a href="one.html#here">1</a><a href="#top">2</a>'
            '<a href="https://example.com/x">3</a><h1 id="top">4</h1>',
            one='<p id="here"><img src="a.png"><a name="old"></p>',
            search=''))

    def test_what_is_wrong_is_named(self):
        for expected, body in (
                ('expected a file at two.html', '<a href="two.html">1</a>'),
                ('expected a file at b.png', '<img src="b.png">'),
                ('expected a place in its page at one.html#there',
                 '<a href="one.html#there">1</a>'),
                ('expected a place in its page at #top',
                 '<a href="#top">1</a>'),
                ('expected to load own files only',
                 '<script src="https://example.com/x.js"></script>')):
            with self.subTest(expected):
                failure, = self.find(
                    index='<a href="one.html">1</a>' + body, one='')
                self.assertIn(expected, failure)

    def test_a_page_that_no_page_leads_to(self):
        self.assertEqual(['one.html: expected a link to it, got none'],
                         self.find(index='', one='<a href="#">1</a>'))


class HostsTests(unittest.TestCase):
    """The host applications of .ci/hosts.py."""

    def setUp(self):
        path = mock.patch.object(
            sys, 'path', [str(requireCheckout('.ci')), *sys.path])
        path.start()
        self.addCleanup(path.stop)
        self.hosts = load('.ci', 'hosts.py')

    def test_each_extra_of_a_host_is_tried(self):
        self.assertEqual(
            {host.extra for host in self.hosts.HOSTS.values()}, set(HOSTS))

    def test_each_module_of_a_host_is_tried(self):
        folder = Path(__file__).parent.parent / 'hosts'
        for extra in HOSTS:
            found = {'hosts.' + path.stem
                     for path in folder.glob('test_%s*.py' % extra)}
            for name, host in self.hosts.HOSTS.items():
                if host.extra == extra:
                    self.assertEqual(found, set(host.tests), name)

    def test_requirements_are_those_of_the_extra(self):
        for extra in HOSTS:
            names = ' '.join(self.hosts.read_requirements(extra))
            self.assertIn('ZODB>=', names)
            self.assertIn('z3c.form>=', names)
            self.assertNotIn('celery', names)

    def test_unknown_host_is_refused(self):
        with redirect_stderr(StringIO()) as errors:
            self.assertRaises(SystemExit, self.hosts.main, ['zope4'])
        self.assertIn("got 'zope4'", errors.getvalue())

    def test_skipped_test_is_a_failure(self):
        report = self.hosts.Report()
        made = mock.Mock()
        made.run.return_value = '3 passed, 0 failed, 2 skipped\n', 0
        with mock.patch.object(self.hosts, 'make', lambda name: made), \
                redirect_stdout(StringIO()):
            self.hosts.try_host(report, 'zope6')
        modules = len(self.hosts.HOSTS['zope6'].tests)
        self.assertEqual((report.failed, report.skipped), (2 * modules, 0))


class PythonsTests(unittest.TestCase):
    """The Pythons that .ci/pythons.py runs the unit tests on."""

    def test_they_are_those_that_setup_py_names(self):
        tried = re.search(
            r'\nVERSIONS = \((.*)\)\n',
            requireCheckout('.ci', 'pythons.py').read_text('utf-8'))[1]
        named = re.findall(
            r"'Programming Language :: Python :: (3)\.([0-9]+)'",
            requireCheckout('setup.py').read_text('utf-8'))
        self.assertGreaterEqual(len(named), 4)
        self.assertEqual(re.findall(r'\((3), ([0-9]+)\)', tried), named)
