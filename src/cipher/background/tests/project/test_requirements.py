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
"""Each extra names what its part of the package imports, and no more."""
import ast
import re
import sys
import unittest
from functools import lru_cache
from importlib.metadata import distributions
from importlib.metadata import requires
from pathlib import Path
from xml.etree import ElementTree

import cipher.background
from cipher.background.tests.support.extras import CORE
from cipher.background.tests.support.extras import HOSTS
from cipher.background.tests.support.extras import PARTS
from cipher.background.tests.support.extras import getExtra


PACKAGE = Path(cipher.background.__file__).parent

#: What an extra brings beside its own.
BASES = {CORE: (), 'ui': (CORE,), 'host': (CORE, 'ui'),
         'demo': (CORE, 'ui', 'host'), 'celery': (CORE,), 'cli': (CORE,),
         'metrics': (CORE,), 'pyramid': (CORE, 'ui'),
         'pytest': (CORE,), 'zope': (CORE, 'ui'),
         'plone': (CORE, 'ui', 'zope'),
         'test': (CORE, 'ui', 'host', 'demo', 'celery', 'cli', 'metrics',
                  'pyramid', 'pytest')}

#: ZCML that an extra is for, other than that of its part of the package.
ZCML = {'host.zcml': 'host'}

_REQUIREMENT = re.compile(
    r'([\w.-]+)(?:\[[\w,]+\])?(>=[\d.]+)?(?:; extra == "(\w+)")?$')

#: Not imported by the package: why it is required all the same.
UNSEEN = {
    'tzdata': 'zoneinfo reads it',
    'zope.traversing': 'the command line needs it, by browser.paths',
    'psycopg2-binary': 'RelStorage imports it',
    'redis': 'kombu imports it',
    'zope.testing': 'the layer of cipher.background.testing imports it',
    'coverage': 'a command',
    'flake8': 'a command',
    'isort': 'a command',
    'mypy': 'a command',
    'zope.testrunner': 'a command',
    'gunicorn': 'a command',
    'webob': 'the benchmarks import it',
    'pyramid-tm': 'config.include names it',
    'pyramid-zodbconn': 'config.include names it',
    'zope.app.rotterdam': 'documented for hosts that have it',
}

#: Roots of names of modules that no requirement brings.  Python 3.10 has no
#: tomllib yet.
OWN = {'cipher', 'tomllib', *sys.stdlib_module_names}

#: Attributes of ZCML with names that look like those of modules.
IDS = ('id', 'name', 'permission', 'permissions', 'principal', 'role')
#: What has this attribute is only carried out where a module is there.
CONDITION = '{http://namespaces.zope.org/zcml}condition'

#: Not required, though it is mentioned.
OPTIONAL = {
    # Only its layer imports it.
    ('testing.py', 'zope.testing'),
    # Only for zeo://.
    ('cli/uris.py', 'zeo'),
    # RelStorage has it where the database is PostgreSQL.
    ('util/notices.py', 'psycopg2.binary'),
    # For a host that has it, see browser/configure.zcml.
    ('browser/rotterdam.zcml', 'zope.app.rotterdam'),
    # Its ZCML is carried out where it is there.
    ('hosts/plone/restapi.py', 'plone.restapi'),
    # For tests of applications that have it.
    ('hosts/plone/testing.py', 'plone.app.testing'),
}


def normalize(name):
    """Return the one spelling of a distribution's name."""
    return re.sub(r'[-_.]+', '-', name).lower()


def read_requirements():
    """Return {extra: {name: lower bound}} of the metadata."""
    found = {extra: {} for extra in (CORE, *PARTS)}
    for text in requires('cipher.background'):
        name, bound, extra = _REQUIREMENT.match(
            text.replace(' >=', '>=').replace("'", '"')).groups()
        if extra != 'docs':
            found[extra or CORE][normalize(name)] = bound
    return found


#: {package: distribution} of those that the extra ``test`` does not bring.
NOT_INSTALLED = {
    'AccessControl': 'accesscontrol', 'Acquisition': 'acquisition',
    'App': 'zope', 'OFS': 'zope', 'Products': 'zope', 'Testing': 'zope',
    'ZPublisher': 'zope', 'Zope2': 'zope', 'five': 'five-localsitemanager',
    'plone.app.testing': 'plone-app-testing',
    'plone.restapi': 'plone-restapi', 'zExceptions': 'zexceptions'}


@lru_cache(maxsize=None)
def find_installed():
    """Return {normalized name: distribution} of all that is installed."""
    return {normalize(one.name): one for one in distributions()}


@lru_cache(maxsize=None)
def list_required():
    """Return the names of all that an extra requires."""
    return {name for names in read_requirements().values() for name in names}


@lru_cache(maxsize=None)
def find_packages():
    """Return {package or module: normalized name of its distribution}."""
    # Not packages_distributions(), which misses some on Python 3.10.
    return {file.parts[0].removesuffix('.py'): name
            for name, one in find_installed().items()
            for file in one.files or ()}


def find_distribution(module):
    """Return the normalized name of what *module* comes from, or None."""
    names = module.split('.')
    if names[0] not in ('Products', 'plone', 'zope', 'z3c', 'zc'):
        return (find_packages().get(names[0])
                or NOT_INSTALLED.get(names[0]))
    # Namespaces: a distribution has the name of its package.
    for end in range(len(names), 1, -1):
        name = normalize('.'.join(names[:end]))
        if name in find_installed() or name in list_required():
            return name
        if '.'.join(names[:end]) in NOT_INSTALLED:
            return NOT_INSTALLED['.'.join(names[:end])]
    return NOT_INSTALLED.get(names[0])


def find_imports(path):
    """Return the names of foreign modules that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        for name in names:
            if name.split('.')[0] not in OWN:
                yield name


def find_names(path):
    """Return the foreign packages and dotted names that ZCML mentions."""
    return _find_names(ElementTree.parse(path).getroot())


def _find_names(element):
    if CONDITION in element.attrib:
        return
    for name, value in element.attrib.items():
        if name not in IDS:
            yield from re.findall(
                r'(?:^|(?<=\s))(?:z3c|zope)\.[a-z]\w*(?:\.\w+)*', value)
    for child in element:
        yield from _find_names(child)


def getHost(place):
    """Return the extra of a host that a module of the tests needs, or None.
    """
    for extra in HOSTS:
        if place.startswith(('tests/hosts/test_%s' % extra,
                             'tests/support/%s' % extra)):
            return extra
    return None


@lru_cache
def find_used():
    """Return {extra: {distribution: where it is needed}}."""
    used = {extra: {} for extra in (CORE, *PARTS)}
    for path in sorted(PACKAGE.rglob('*')):
        place = path.relative_to(PACKAGE).as_posix()
        find = {'.py': find_imports, '.zcml': find_names}.get(path.suffix)
        for module in find(path) if find else ():
            extra = ZCML.get(place) or getHost(place) or getExtra(
                place.removesuffix(path.suffix).replace('/', '.'))
            name = find_distribution(module)
            if (place, name and name.replace('-', '.')) not in OPTIONAL:
                used[extra].setdefault(name, (place, module))
    return used


class RequirementTests(unittest.TestCase):

    maxDiff = None

    def setUp(self):
        self.requirements = read_requirements()
        self.used = find_used()

    def brought(self, extra):
        return {name for part in (extra, *BASES[extra])
                for name in self.requirements[part]}

    def test_all_parts_import_something(self):
        for extra in (CORE, *PARTS):
            self.assertTrue(self.used[extra], extra)

    def test_an_extra_brings_what_its_part_imports(self):
        for extra, used in self.used.items():
            brought = self.brought(extra)
            self.assertEqual({}, {
                name: where for name, where in used.items()
                if name not in brought}, extra)

    def test_an_extra_names_nothing_that_is_not_imported(self):
        for extra, names in self.requirements.items():
            used = {name for part in (extra, *BASES[extra])
                    for name in self.used[part]} | {
                normalize(name) for name in UNSEEN}
            self.assertEqual(set(), set(names) - used, extra)

    def test_an_extra_brings_the_extras_below_it(self):
        for extra in PARTS:
            for base in set(BASES[extra]) - {CORE}:
                self.assertLessEqual(
                    self.requirements[base].items(),
                    self.requirements[extra].items(), (extra, base))

    def test_each_requirement_has_a_lower_bound(self):
        for extra, names in self.requirements.items():
            self.assertEqual(
                [], [name for name, bound in names.items() if not bound],
                extra)
