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
"""The extras: the part of the package that needs each, and its tests.

Run ``python -m cipher.background.tests.support.extras EXTRA`` in an
environment with the package, this one extra and nothing else.  It imports all
modules of the part and runs the tests of the part.  So this module and those
tests need only the extra, except for the extra ``test``.
"""
import importlib
import pkgutil
import sys
import traceback
import unittest

import cipher.background


#: Name for the package without an extra.
CORE = 'core'

#: {extra: modules and packages below the package that need it}
PARTS = {
    'ui': ('browser',),
    'host': ('hosts.frontpage', 'hosts.ztk'),
    'demo': ('demo',),
    'celery': ('celery',),
    'metrics': ('monitoring.metrics',),
    'pyramid': ('hosts.pyramid',),
    'cli': ('cli.painting', 'cli.zodburis'),
    'pytest': ('pytestplugin',),
    'test': ('locales.update', 'tests'),
}

#: {extra: test modules of its part, or classes in them}
TESTS = {
    CORE: (
        'docs.test_readme', 'docs.test_directives', 'docs.test_howto',
        'docs.test_alerts_page',
        'project.test_without_extras', 'cli.test_plain'),
    'ui': ('docs.test_readme', 'browser.test_plain_publication'),
    'host': ('docs.test_hosting', 'docs.test_tutorial'),
    'demo': ('demo.test_server:ServerTests',),
    'celery': ('docs.test_celery_page',),
    'metrics': ('monitoring.test_metrics',),
    'pyramid': ('hosts.test_pyramid_alone',),
    'cli': ('cli.test_plain', 'cli.test_reading:OutputTests'),
    'pytest': ('pytestplugin.test_fixtures',),
    'test': (),
}


def getExtra(module):
    """Return the extra that *module*, a name below the package, needs."""
    for extra, parts in PARTS.items():
        if any(module == part or module.startswith(part + '.')
               for part in parts):
            return extra
    return CORE


def findModules(extra):
    """Return the names of all modules that need *extra*."""
    prefix = cipher.background.__name__ + '.'
    for info in pkgutil.walk_packages(
            cipher.background.__path__, prefix, onerror=lambda name: None):
        if getExtra(info.name[len(prefix):]) == extra:
            yield info.name


def loadTests(extra):
    """Return the tests of the part that needs *extra*."""
    suite = unittest.TestSuite()
    for name in TESTS[extra]:
        module_name, _colon, class_name = name.partition(':')
        module = importlib.import_module(
            'cipher.background.tests.' + module_name)
        if hasattr(module, 'test_suite'):
            suite.addTest(module.test_suite())
        else:
            suite.addTest(unittest.defaultTestLoader.loadTestsFromName(
                class_name or module.__name__, module if class_name else None))
    return suite


def importAll(extra):
    """Import the modules of *extra*; return (imported, failed) numbers."""
    failed = []
    names = list(findModules(extra))
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            traceback.print_exc()
            failed.append(name)
    return len(names) - len(failed), len(failed)


def main(extra):
    """Import and test the part of *extra*; return the exit code."""
    passed, failed = importAll(extra)
    print('%s: %d modules can be imported, %d cannot' % (
        extra, passed, failed), flush=True)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(
        loadTests(extra))
    # All imports together count as one test.
    failed = bool(failed) + len(result.failures) + len(result.errors)
    skipped = len(result.skipped)
    passed = 1 + result.testsRun - failed - skipped
    print('%d passed, %d failed, %d skipped' % (passed, failed, skipped))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
