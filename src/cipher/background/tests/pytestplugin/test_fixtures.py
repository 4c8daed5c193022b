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
"""The fixtures for pytest, tried by a pytest of their own."""
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

from cipher.background.tests.support.layers import Live


ZCML = '''
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:background="http://namespaces.zope.org/background"
    i18n_domain="shop">
  <include package="cipher.background" file="meta.zcml" />
  <include package="cipher.background" />
  <background:worker name="greet" handler="shop.work.greet" title="Greet" />
  <background:worker name="fail" handler="shop.work.fail" title="Fail" />
</configure>
'''

WORK = '''
def greet(worker):
    return 'hello'

def fail(worker):
    raise ValueError('not today')
'''

# What each test begins with.
HEAD = '''
import pytest
import transaction
from zope.component import queryUtility
from zope.component.hooks import getSite

from cipher.background import getRegistry
from cipher.background import now
from cipher.background.interfaces import IWorkerType
from cipher.background.testing import assertStarted
'''


def requirePytest():
    """Skip the test without pytest; on a CI machine, let it fail."""
    if importlib.util.find_spec('pytest') is None:
        reason = 'pytest is not installed: it comes with the extra "pytest"'
        if os.environ.get('CI'):
            raise AssertionError(reason)
        raise unittest.SkipTest(reason)


class FixtureTests(unittest.TestCase):

    layer = Live
    maxDiff = None

    def setUp(self):
        requirePytest()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.write('shop/__init__.py', '')
        self.write('shop/work.py', WORK)
        self.write('shop/ftesting.zcml', ZCML)
        self.write('pytest.ini', '[pytest]\n'
                   'background_zcml = shop:ftesting.zcml\n')

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, 'utf-8')

    def run_pytest(self, *arguments, loads_all=False):
        """Run pytest; return ({outcome: number}, output).

        Unless it *loads_all* plugins of the environment, it loads only ours,
        which is faster.
        """
        if not loads_all:
            arguments += '-p', 'cipher.background.pytestplugin'
        result = subprocess.run(
            [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider',
             '-rA', *arguments],
            cwd=self.folder, stdout=subprocess.PIPE, text=True, timeout=300,
            stderr=subprocess.STDOUT, env=dict(
                os.environ, PYTHONPATH=os.pathsep.join(
                    [str(self.folder), *sys.path]), COLUMNS='200',
                PYTEST_DISABLE_PLUGIN_AUTOLOAD='' if loads_all else '1'))
        *_, last = result.stdout.splitlines() or ['']
        return {outcome.rstrip('s'): int(number) for number, outcome
                in re.findall(r'(\d+) (\w+)', last.split(' in ')[0])
                }, result.stdout

    def check(self, expected, *sources):
        for number, source in enumerate(sources):
            self.write('test_%d.py' % number, HEAD + textwrap.dedent(source))
        found, output = self.run_pytest()
        self.assertEqual(expected, found, output)
        return output

    def test_site_has_a_registry_and_the_ZCML(self):
        self.check({'passed': 1}, '''
            def test(background_site, run_pending):
                assert getSite() is background_site
                registry = getRegistry()
                assert registry.getSite() is background_site
                run = registry.start('greet')
                assert assertStarted(background_site, 'greet') == [run]
                assert run_pending() == []      # nothing is committed
                registry.start('greet')
                transaction.commit()
                done, = run_pending()
                assert done.result == 'hello'
                assert run_pending(limit=1) == []
            ''')

    def test_each_test_has_a_database_of_its_own(self):
        self.check({'passed': 2}, '''
            sites = []

            @pytest.mark.parametrize('number', [1, 2])
            def test(background_site, number):
                assert background_site not in sites
                sites.append(background_site)
                assert getRegistry().getCounts() == {}
                getRegistry().start('greet')
                transaction.commit()
                getRegistry().start('greet')   # and this is dropped
            ''')

    def test_nothing_is_left_of_a_test_that_fails(self):
        output = self.check({'passed': 1, 'failed': 2}, '''
            def test_fails(background_site, background_clock):
                background_clock.advance(10 ** 6)
                getRegistry().start('greet')
                transaction.commit()
                getRegistry().start('greet')
                assertStarted(background_site, 'greet', count=5)

            def test_fails_in_work(background_site, run_pending):
                getRegistry().start('fail')
                transaction.commit()
                run_pending()

            def test_begins_anew(background_site):
                import time
                assert abs(now() - time.time()) < 1000
                assert getRegistry().getCounts() == {}
                assert transaction.get().status == 'Active'
            ''')
        self.assertIn("expected 5 starts, got 2", output)
        self.assertIn('ValueError: not today', output)

    def test_a_runtime_that_a_test_leaves_ends_with_it(self):
        self.check({'passed': 2}, '''
            import threading
            from cipher.background import queryRuntime
            from cipher.background import startRuntime
            before = threading.active_count()
            runtimes = []

            def test_begins_one(background_site):
                db = background_site._p_jar.db()
                runtimes.append(startRuntime(db))
                assert queryRuntime(db) is runtimes[0]

            def test_it_is_gone(background_site):
                assert threading.active_count() == before
                assert queryRuntime(background_site._p_jar.db()) is None
            ''')

    def test_clock(self):
        self.check({'passed': 2}, '''
            def test_advance(background_site, background_clock, run_pending):
                getRegistry().submit('greet', delay=3600)
                transaction.commit()
                assert run_pending() == []
                before = now()
                background_clock.advance(3600)
                assert now() == before + 3600 == background_clock.now
                assert len(run_pending()) == 1

            def test_clock_alone(background_clock):
                assert now() == now() == background_clock.now
            ''')

    def test_ZCML_is_loaded_for_one_module_at_a_time(self):
        self.write('other.zcml', ZCML.replace('"greet"', '"other"'))
        self.check({'passed': 3}, '''
            def test(background_site):
                assert queryUtility(IWorkerType, 'greet')
            ''', '''
            def test_without_fixtures_there_is_none():
                assert not queryUtility(IWorkerType, 'greet')
            ''', '''
            from cipher.background.testing import BackgroundLayer

            @pytest.fixture(scope='module')
            def background_layer():
                layer = BackgroundLayer(None, 'other.zcml')
                layer.setUp()
                yield layer
                layer.tearDown()

            def test_layer_of_its_own(background_site):
                assert not queryUtility(IWorkerType, 'greet')
                assert queryUtility(IWorkerType, 'other')
            ''')

    def test_ZCML_may_be_named_by_its_path(self):
        self.write('pytest.ini', '[pytest]\n'
                   'background_zcml = shop/ftesting.zcml\n')
        self.check({'passed': 1}, '''
            def test(background_site):
                getRegistry().start('greet')
            ''')

    def test_without_ZCML_the_fixture_says_what_to_do(self):
        self.write('pytest.ini', '[pytest]\n')
        output = self.check({'error': 1}, '''
            def test(background_site):
                pass
            ''')
        self.assertIn(
            'background_zcml: expected the ZCML that the tests need, got '
            'none; name it as PACKAGE:FILE, or as a path, in', output)
        self.assertIn(str(self.folder / 'pytest.ini'), output)

    def test_ZCML_that_cannot_be_loaded_leaves_nothing(self):
        self.write('shop/ftesting.zcml', ZCML.replace(
            '</configure>', '<include package="nowhere" /></configure>'))
        output = self.check({'error': 1, 'passed': 1}, '''
            def test(background_site):
                pass
            ''', '''
            def test_other():
                assert not queryUtility(IWorkerType, 'greet')
            ''')
        self.assertIn('nowhere', output)

    def test_pytest_loads_nothing_of_it_before_it_is_used(self):
        self.write('test_0.py', textwrap.dedent('''
            import sys

            def test():
                found = [name for name in sys.modules
                         if name.startswith('cipher.background.')]
                assert found == ['cipher.background.pytestplugin'], found
                assert 'ZODB' not in sys.modules
            '''))
        found, output = self.run_pytest(loads_all=True)
        self.assertEqual({'passed': 1}, found, output)

    def test_the_fixtures_are_listed_with_what_they_do(self):
        _found, output = self.run_pytest('--fixtures')
        for name in ('background_clock', 'background_layer',
                     'background_site', 'run_pending'):
            self.assertRegex(output, r'(?m)^%s\b.*\n    \w+' % name)
