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
"""The host application is asked, whatever kind it is."""
from contextlib import suppress

import transaction
from persistent import Persistent
from persistent.mapping import PersistentMapping
from zope.authentication.interfaces import IAuthentication
from zope.authentication.interfaces import PrincipalLookupError
from zope.component import provideUtility
from zope.interface import implementer
from zope.interface.interfaces import ComponentLookupError
from zope.interface.registry import Components
from zope.interface.verify import verifyObject
from zope.security.management import system_user

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import ContextGone
from cipher.background.interfaces import IHost
from cipher.background.interfaces import InvalidContext
from cipher.background.interfaces import InvalidSite
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import RegistryNotFound
from cipher.background.interfaces import StarterGone
from cipher.background.registry import verbs
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.registry.installation import removeRegistry
from cipher.background.testing import runPending
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.tests.support.sites import Principal
from cipher.background.tests.support.sites import SiteTests
from cipher.background.util.host import ToolkitHost
from cipher.background.util.host import getHost
from cipher.background.util.reference import pack
from cipher.background.util.reference import refer
from cipher.background.util.reference import resolve
from cipher.background.util.reference import unpack


class Node(Persistent):
    """An object that does not know its place."""

    def __init__(self):
        self.items = PersistentMapping()


class Wrapper:
    """A node, and how it was reached."""

    def __init__(self, node, above=None, name=''):
        self.node, self.above, self.name = node, above, name

    def get(self, name):
        node = self.node.items.get(name)
        return None if node is None else Wrapper(node, self, name)


class PathHost(ToolkitHost):
    """Objects are reached by paths only, as where acquisition is used.

    There is one site, the root.  It keeps its registry beside the objects.
    Nobody is asked who has a permission but `allowed`.
    """

    def __init__(self):
        self.names = ()      # ids of those for whom the thread acts
        self.allowed = set()   # (principal id, permission, path)
        self.entered = []    # sites, as they are entered and left

    def _root(self, connection):
        return Wrapper(connection.root()['nodes'])

    # Threads

    def getSite(self):
        return self.entered[-1] if self.entered else None

    def enterSite(self, site):
        self.entered.append(
            Wrapper(site) if isinstance(site, Node) else site)

    def leaveSite(self, previous):
        self.entered.pop()

    def beginInteraction(self, *participations):
        self.names = tuple(one.principal.id for one in participations)

    def endInteraction(self):
        self.names = ()

    # Objects

    def unwrap(self, ob):
        return ob.node if isinstance(ob, Wrapper) else ob

    def lineage(self, ob):
        if IWorkerRegistry.providedBy(ob):
            yield ob
            ob = self.siteOf(ob)
        while ob is not None:
            yield self.unwrap(ob)
            ob = getattr(ob, 'above', None)

    def placeOf(self, ob):
        names = []
        while ob is not None and ob.above is not None:
            names.append(ob.name)
            ob = ob.above
        return tuple(reversed(names))

    def pathOf(self, ob):
        return '/' + '/'.join(self.placeOf(ob))

    def isInPlace(self, ob):
        if IWorkerRegistry.providedBy(ob):
            return ob._p_jar.root()['nodes'].registry is ob
        return True

    def locate(self, ob, place):
        found = self._root(ob._p_jar)
        for name in place:
            found = found and found.get(name)
        return found if found and found.node is ob else None

    def protect(self, ob):
        return ob

    # Sites and registries

    def isSite(self, ob):
        return isinstance(ob, Wrapper) and ob.above is None

    def connectionOf(self, site):
        return site.node._p_jar

    def siteOf(self, registry):
        if registry.__parent__ is None:
            raise RegistryNotFound('registry: expected a site, got none')
        return self._root(registry._p_jar)

    def ownRegistry(self, site):
        if not self.isSite(site):
            raise LookupError(site)
        return getattr(site.node, 'registry', None)

    def nearestRegistry(self, ob):
        while ob is not None and ob.above is not None:
            ob = ob.above
        return ob and self.ownRegistry(ob)

    def putRegistry(self, site, registry):
        site.node.registry = registry
        registry.__parent__ = site.node
        registry.__name__ = 'registry'

    def takeRegistry(self, site, registry):
        del site.node.registry
        registry.__parent__ = None

    # Principals

    def hasInteraction(self):
        return bool(self.names)

    def currentPrincipals(self):
        return self.names

    def checkPermission(self, permission, ob):
        path = '/' if IWorkerRegistry.providedBy(ob) else self.pathOf(ob)
        return all((name, permission, path) in self.allowed
                   for name in self.names)

    def getPrincipal(self, principal_id):
        if principal_id == 'gone':
            raise PrincipalLookupError(principal_id)
        return Principal(principal_id)


class AnotherHostTests(SiteTests):
    """The whole way of a run in an application of another kind."""

    def setUp(self):
        super().setUp()
        self.host = PathHost()
        provideUtility(self.host, IHost)
        node = self.connection.root()['nodes'] = Node()
        node.items['a'] = Node()
        node.items['a'].items['b'] = Node()
        transaction.commit()
        self.root = Wrapper(node)
        self.registry = addRegistry(self.root)
        transaction.commit()
        self.found = []
        declareWorker('work', self.work)

    def work(self, worker):
        site = getHost().getSite()
        context = worker.context
        self.found.append((
            site.node._p_oid == self.root.node._p_oid,
            getHost().currentPrincipals(),
            context and getHost().pathOf(context)))

    def carryOut(self):
        transaction.commit()
        with suppress(ContextGone, StarterGone):   # it raises what it records
            runPending(self.root)
        transaction.begin()
        return self.found

    def errorOf(self, run):
        return self.registry.getStatus(run.id).error_type

    def test_host_keeps_its_promise(self):
        verifyObject(IHost, self.host)

    def test_registry_is_put_found_and_taken_by_the_host(self):
        self.assertIs(self.registry, self.root.node.registry)
        self.assertIs(addRegistry(self.root), self.registry)
        below = self.root.get('a').get('b')
        self.assertIs(getRegistry(below), self.registry)
        with self.assertRaisesRegex(InvalidSite, 'got a Node without'):
            addRegistry(below)
        self.assertEqual(0, removeRegistry(self.root))
        with self.assertRaises(RegistryNotFound):
            getRegistry(below)

    def test_work_has_the_site_and_the_context_as_the_host_gives_them(self):
        self.registry.start('work', self.root.get('a').get('b'))
        self.assertEqual(self.carryOut(), [(True, (None,), '/a/b')])
        self.assertEqual(self.host.entered, [])
        self.assertEqual(self.host.names, ())

    def test_context_that_the_host_does_not_find_is_gone(self):
        run = self.registry.start('work', self.root.get('a').get('b'))
        transaction.commit()
        del self.root.node.items['a'].items['b']
        self.assertEqual(self.carryOut(), [])
        self.assertEqual(
            (run.state, self.errorOf(run)),
            (FAILED, 'ContextGone'))

    def test_context_that_the_host_cannot_unwrap_is_refused(self):
        with self.assertRaises(InvalidContext):
            self.registry.start('work', Wrapper(object(), self.root, 'x'))

    def test_starter_is_whom_the_host_names(self):
        self.host.names = ('path:bob',)
        run = self.registry.start('work')
        self.host.names = ()
        self.assertEqual(run.starter, 'path:bob')
        self.assertEqual(self.carryOut(), [(True, ('path:bob',), None)])

    def test_permission_is_what_the_host_says_at_the_start_and_later(self):
        declareWorker('asked', self.work, permission='the.Permission')
        context = self.root.get('a')
        right = 'bob', 'the.Permission', '/a'
        self.host.allowed = {right, ('bob',
                                     'cipher.background.StartWorkers', '/')}
        for states in (SUCCEEDED, 1), (FAILED, 0):
            with self.subTest(states=states):
                self.host.names = ('bob',)
                self.host.allowed.add(right)
                run = verbs.of(self.registry).startByPrincipal(
                    'asked', context)
                self.host.names = ()
                if states[0] == FAILED:
                    self.host.allowed.remove(right)
                del self.found[:]
                self.carryOut()
                self.assertEqual((run.state, len(self.found)), states)
        self.assertEqual(self.errorOf(run), 'StarterGone')

    def test_starter_whom_the_host_does_not_know_any_more(self):
        self.host.names = ('gone',)
        run = self.registry.start('work')
        self.host.names = ()
        self.assertEqual(self.carryOut(), [])
        self.assertEqual(self.errorOf(run), 'StarterGone')

    def test_place_is_stored_as_plain_data(self):
        reference = refer(self.root.get('a'), self.connection)
        packed = pack(reference)
        self.assertEqual(packed[2:], (True, ('a',)))
        found = resolve(unpack(packed), self.connection)
        self.assertIs(found.node, self.root.node.items['a'])


@implementer(IAuthentication)
class Authentication:

    def getPrincipal(self, id):
        if id != 'bob':
            raise PrincipalLookupError(id)
        return Principal(id)


class ToolkitHostTests(SiteTests):

    def test_it_keeps_its_promise(self):
        verifyObject(IHost, getHost())
        self.assertIs(type(getHost()), ToolkitHost)

    def test_a_utility_replaces_it(self):
        host = PathHost()
        provideUtility(host, IHost)
        self.assertIs(getHost(), host)

    def test_principals(self):
        host = getHost()
        self.assertIs(host.getPrincipal(None), system_user)
        with self.assertRaises(ComponentLookupError):
            host.getPrincipal('bob')
        provideUtility(Authentication(), IAuthentication)
        self.assertEqual(host.getPrincipal('bob').id, 'bob')
        with self.assertRaises(PrincipalLookupError):
            host.getPrincipal('eve')

    def test_place_costs_nothing_in_the_record(self):
        self.assertEqual(len(pack(
            refer(self.addDocument(), self.connection))), 3)

    def test_path(self):
        document = self.addDocument()
        self.assertEqual(getHost().pathOf(document), '/document')
        self.assertEqual(getHost().pathOf(self.site), '/')


class SiteOfHostTests(ComponentTests):

    def test_registry_that_nothing_holds(self):
        registry = type('Registry', (), {'__parent__': None})()
        with self.assertRaisesRegex(RegistryNotFound, 'addRegistry'):
            getHost().siteOf(registry)

    def test_site_whose_manager_is_not_a_folder(self):
        site = type('Site', (), {
            '__parent__': None, 'manager': Components(),
            'getSiteManager': lambda self: self.manager})()
        registry = type('Registry', (), {})()
        getHost().putRegistry(site, registry)
        self.assertIs(getHost().siteOf(registry), site)
        self.assertIs(getHost().ownRegistry(site), registry)
        getHost().takeRegistry(site, registry)
        self.assertIsNone(getHost().ownRegistry(site))
