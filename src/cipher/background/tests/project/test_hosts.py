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
"""Only the host uses the interfaces by which applications differ.

The exceptions below may only become fewer: the test fails if one of them is
not needed any more.
"""
import ast
import unittest
from pathlib import Path

import cipher.background


PACKAGE = Path(cipher.background.__file__).parent

#: The default host, and the packages of other hosts.
HOSTS = 'util/host.py', 'hosts/'

#: Packages and modules that place, find, permit and enter.
MODULES = (
    'AccessControl', 'Acquisition', 'OFS', 'Products', 'ZPublisher',
    'pyramid', 'zope.authentication', 'zope.component.hooks',
    'zope.copypastemove', 'zope.keyreference', 'zope.location',
    'zope.security.checker', 'zope.security.management', 'zope.site',
    'zope.traversing')

#: Names that packages of the Zope Toolkit offer in several modules.
NAMES = {
    'ISite', 'ProxyFactory', 'absoluteURL', 'canAccess', 'canWrite',
    'checkPermission', 'endInteraction', 'getSite', 'getSiteManager',
    'hooks', 'newInteraction', 'queryInteraction', 'queryNextUtility',
    'setSite'}

#: Attributes of objects and requests of one kind of host.
ATTRIBUTES = {
    '__parent__', 'canonicalPath', 'getApplicationURL', 'getPhysicalPath',
    'getSiteManager', 'principal of a request', 'unauthorized'}

EXCEPTIONS = {
    # The parent of a run is its registry, in each host.
    'browser/page.py': {'__parent__'},
    'queries/status.py': {'__parent__'},
    'store/run.py': {'__parent__'},

    # The publication of the Zope Toolkit: the steps of a URL, and the check
    # that all its pieces are there.
    'browser/traversing.py': {
        '__parent__', 'zope.component.getSiteManager',
        'zope.component.interfaces.ISite',
        'zope.location.interfaces.LocationError',
        'zope.traversing.browser.interfaces.IAbsoluteURL',
        'zope.traversing.interfaces.IBeforeTraverseEvent',
        'zope.traversing.interfaces.ITraversable',
        'zope.traversing.namespace.nsParse'},
    'browser/pieces.py': {
        'zope.authentication.interfaces.IAuthentication',
        'zope.security.management.getSecurityPolicy',
        'zope.traversing.browser.interfaces.IAbsoluteURL',
        'zope.traversing.interfaces.ITraversable',
        'zope.traversing.interfaces.ITraverser'},
    'browser/wsgi.py': {'zope.traversing.interfaces.IEtcNamespace'},

    # An interface that is implemented or adapted by sites of all hosts.
    'registry/installation.py': {'zope.component.interfaces.ISite'},
    # Which objects events of the life cycle are about.
    'declaring.py': {'zope.location.interfaces.ILocation'},

    # The check that the field of a directive asks for, and the components that
    # hear of an event.
    'python/directives.py': {
        'zope.component.getSiteManager',
        'zope.security.permission.checkPermission'},

    # A process of its own: it lets components be looked up in sites.
    'cli/database.py': {
        'zope.authentication.interfaces.PrincipalLookupError',
        'zope.component.hooks'},
    'cli/worker.py': {'zope.component.hooks'},

    # It makes a site of the Zope Toolkit for tests.
    'testing.py': {
        'zope.component.hooks',
        'zope.security.management.endInteraction',
        'zope.site.folder.rootFolder', 'zope.site.site.LocalSiteManager'},
}


def findDirectUses(source):
    """Return the names that *source* uses past the host."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = '%s.%s' % (node.module, alias.name)
                if _is_within(name) or (
                        name.startswith('zope.') and alias.name in NAMES):
                    found.add(name)
        elif isinstance(node, ast.Import):
            found.update(
                alias.name for alias in node.names if _is_within(alias.name))
        elif isinstance(node, ast.Attribute):
            if node.attr in ATTRIBUTES:
                found.add(node.attr)
            owner = node.value
            if node.attr == 'principal' and 'request' == getattr(
                    owner, 'id', getattr(owner, 'attr', None)):
                found.add('principal of a request')
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # It may be the name that getattr is given.
            found.update(ATTRIBUTES & {node.value})
    return found


def _is_within(name):
    return any((name + '.').startswith(module + '.') for module in MODULES)


class HostTests(unittest.TestCase):

    maxDiff = None

    def test_only_the_host_uses_what_differs_between_hosts(self):
        found = {}
        for path in sorted(PACKAGE.rglob('*.py')):
            name = path.relative_to(PACKAGE).as_posix()
            if not name.startswith((*HOSTS, 'tests/', 'demo/')):
                uses = findDirectUses(path.read_text('utf-8'))
                if uses:
                    found[name] = uses
        self.assertEqual(found, EXCEPTIONS)

    def test_walk_finds_each_kind(self):
        for source, expected in {
            'from zope.component import hooks': 'zope.component.hooks',
            'from zope.component.hooks import setSite':
                'zope.component.hooks.setSite',
            'from zope.security import checkPermission':
                'zope.security.checkPermission',
            'import zope.traversing.api': 'zope.traversing.api',
            'def f(ob):\n from zope.keyreference import persistent':
                'zope.keyreference.persistent',
            'site.getSiteManager()': 'getSiteManager',
            'getattr(ob, "__parent__", None)': '__parent__',
            'self.request.principal.id': 'principal of a request',
            'request.principal': 'principal of a request',
        }.items():
            with self.subTest(source=source):
                self.assertEqual(findDirectUses(source), {expected})
        for source in ('from zope.component import getUtility',
                       'from zope.locationplus import x', 'stop.principal'):
            with self.subTest(source=source):
                self.assertEqual(findDirectUses(source), set())

    def test_the_default_host_is_one_that_is_walked(self):
        self.assertGreater(
            len(findDirectUses((PACKAGE / HOSTS[0]).read_text('utf-8'))), 10)
