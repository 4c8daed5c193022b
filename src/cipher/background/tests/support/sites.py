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
"""A database with a site, ZCML and principals, for tests of the core."""
import inspect
import unittest

import transaction
import zope.component.event  # noqa: F401  (it dispatches the events)
from persistent import Persistent
from ZODB.DB import DB
from zope.component import hooks
from zope.component import testing
from zope.configuration import xmlconfig
from zope.container.btree import BTreeContainer
from zope.container.contained import Contained
from zope.interface import implementer
from zope.schema import getFieldsInOrder
from zope.security.interfaces import IParticipation
from zope.security.interfaces import IPrincipal
from zope.security.management import endInteraction
from zope.security.management import newInteraction
from zope.security.management import setSecurityPolicy
from zope.security.management import system_user
from zope.security.proxy import removeSecurityProxy
from zope.security.simplepolicies import ParanoidSecurityPolicy
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

from cipher.background.registry.installation import addRegistry
from cipher.background.testing import SetClock
from cipher.background.util.host import getHost


#: Seconds that a test waits for another thread before it fails.
LIMIT = 30

_ZCML = '''
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:background="http://namespaces.zope.org/background"
    i18n_domain="test">
  <include package="zope.component" file="meta.zcml" />
  <include package="zope.security" file="meta.zcml" />
  <include package="cipher.background" file="meta.zcml" />
  %s
</configure>
'''

SECURITY = '<include package="cipher.background" file="security.zcml" />'


def declare(directives, execute=True):
    """Carry out ZCML with the prefix ``background:``; return its context."""
    return xmlconfig.string(_ZCML % directives, execute=execute)


def makeSite(db, name='Application', manager=None):
    """Make a committed site with a registry in the root of *db*.

    Return (connection, site, registry).  *manager* is the connection's
    transaction manager, by default the thread's.
    """
    manager = manager or transaction.manager
    manager.begin()
    connection = db.open(transaction_manager=manager)
    site = rootFolder()
    connection.root()[name] = site
    site.setSiteManager(LocalSiteManager(site))
    manager.commit()
    registry = addRegistry(site)
    manager.commit()
    return connection, site, registry


class Document(Contained, Persistent):
    """An object that work is about."""

    def __init__(self, title=''):
        self.title = title


class Folder(BTreeContainer):
    """A container of documents."""


@implementer(IPrincipal)
class Principal:
    """A principal."""

    title = description = ''

    def __init__(self, id):
        self.id = id


@implementer(IParticipation)
class Participation:
    """The participation of a principal in an interaction."""

    interaction = None

    def __init__(self, principal):
        self.principal = principal


def login(principal_id):
    """Begin an interaction of *principal_id*; end any other first."""
    endInteraction()
    newInteraction(Participation(Principal(principal_id)))


class Grants:
    """A security policy: a grant on an object holds for all objects below.

    *granted* is a set of (principal id, permission, object).
    """

    def __init__(self, test):
        self.granted = granted = []

        class Policy(ParanoidSecurityPolicy):

            def checkPermission(self, permission, ob):
                # By oid: the objects may be of different connections.
                places = getHost().lineage(removeSecurityProxy(ob))
                oids = [getattr(place, '_p_oid', None) for place in places]
                return all(
                    one.principal is system_user or any(
                        (one.principal.id, permission) == grant[:2]
                        and grant[2]._p_oid in oids for grant in granted)
                    for one in self.participations)

        test.addCleanup(setSecurityPolicy, setSecurityPolicy(Policy))

    def __call__(self, principal_id, ob, *permissions):
        """Grant *permissions* on *ob* and below."""
        self.granted.extend(
            (principal_id, permission, ob) for permission in permissions)

    def clear(self):
        """Revoke all grants."""
        self.granted.clear()


class ComponentTests(unittest.TestCase):
    """Tests with a component architecture of their own, with sites."""

    def setUp(self):
        testing.setUp()
        hooks.setHooks()
        self.addCleanup(self._clean_up)

    def setClock(self, now=None):
        """Replace the clock of the package by one set by hand; return it."""
        clock = SetClock(now)
        clock.__enter__()
        self.addCleanup(clock.__exit__)
        return clock

    def _clean_up(self):
        transaction.abort()
        endInteraction()
        hooks.setSite()
        testing.tearDown()


class SiteTests(ComponentTests):
    """Tests with a database in memory and a site with a registry.

    The connection joins the transaction of the thread.
    """

    def setUp(self):
        super().setUp()
        self.db = self.makeDatabase()
        self.addCleanup(self.db.close)
        self.connection, self.site, self.registry = makeSite(self.db)
        self.addCleanup(self._close)

    def makeDatabase(self):
        return DB(None)

    def _close(self):
        transaction.abort()
        self.connection.close()

    def addDocument(self, name='document', container=None):
        """Commit a new document; return it."""
        document = Document(name)
        (self.site if container is None else container)[name] = document
        transaction.commit()
        return document


def checkDefaults(test, schema, handler):
    """Assert that a directive's schema and handler have equal defaults."""
    parameters = list(inspect.signature(handler).parameters.values())[1:]
    fields = dict(getFieldsInOrder(schema))
    test.assertEqual(
        sorted(fields), sorted(parameter.name for parameter in parameters))
    for parameter in parameters:
        field = fields[parameter.name]
        with test.subTest(schema=schema.__name__, field=parameter.name):
            test.assertEqual(
                field.required, parameter.default is parameter.empty)
            if not field.required:
                test.assertEqual(field.default, parameter.default)
            test.assertTrue(field.description)
