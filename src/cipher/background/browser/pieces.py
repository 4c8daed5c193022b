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
"""Name what the pages lack, when a process starts: see `IStartCheck`.

A piece that is missing would otherwise be met as a page that is not found, as
an error, or as a login that never succeeds.
"""
from itertools import chain
from itertools import islice

from z3c.form.interfaces import IFieldWidget
from zope.authentication.interfaces import IAuthentication
from zope.browserresource.interfaces import IResource
from zope.component import getGlobalSiteManager
from zope.component import queryUtility
from zope.i18n.interfaces import IUserPreferredCharsets
from zope.interface import Interface
from zope.interface import implementer
from zope.interface.interfaces import ComponentLookupError
from zope.interface.interfaces import IComponentLookup
from zope.publisher.browser import TestRequest
from zope.schema.interfaces import ITextLine
from zope.security.management import getSecurityPolicy
from zope.security.simplepolicies import ParanoidSecurityPolicy
from zope.traversing.browser.interfaces import IAbsoluteURL
from zope.traversing.interfaces import ITraversable
from zope.traversing.interfaces import ITraverser

from cipher.background.browser.interfaces import IBackgroundLayer
from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import STOP_WORKERS
from cipher.background.interfaces import VIEW_DETAILS
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import IStartCheck
from cipher.background.interfaces import IWorkerType


#: Principals that are asked for their permissions, at most.
PRINCIPALS = 1000

PERMISSIONS = (VIEW_WORKERS, VIEW_DETAILS, START_WORKERS, STOP_WORKERS,
               MANAGE_WORKERS)

#: (package, required interfaces, provided interface, name): an adapter that
#: the configuration of the package registers and the pages need.
ADAPTERS = (
    ('zope.publisher', (IBackgroundLayer,), IUserPreferredCharsets, ''),
    ('zope.site', (Interface,), IComponentLookup, ''),
    ('zope.traversing', (Interface,), ITraverser, ''),
    ('zope.traversing', (Interface, IBackgroundLayer), ITraversable, 'view'),
    ('zope.traversing.browser', (Interface, IBackgroundLayer), IAbsoluteURL,
     ''),
    ('z3c.form', (ITextLine, IBackgroundLayer), IFieldWidget, ''),
)


def listAdapters(adapters):
    """Yield a text for each package one of whose *adapters* is missing."""
    missing = dict.fromkeys(
        package for package, *adapter in adapters if _find(*adapter) is None)
    for package in missing:
        yield describePackage(package)


def _find(required, provided, name=''):
    return getGlobalSiteManager().adapters.lookup(required, provided, name)


def describePackage(package):
    """Return the text about a package whose configuration is missing."""
    return ('expected the configuration of %s, got none; put <include '
            'package="%s" /> into the ZCML, or <include '
            'package="cipher.background" file="host.zcml" />'
            % (package, package))


@implementer(IStartCheck)
class PagesCheck:
    """The check of the pages."""

    def __call__(self, registries):
        yield from listAdapters(ADAPTERS)
        # A resource has a URL of its own kind.
        if _find((IResource, IBackgroundLayer), IAbsoluteURL) is _find(
                (Interface, IBackgroundLayer), IAbsoluteURL):
            yield describePackage('zope.browserresource')
        policy = getSecurityPolicy()
        if policy is ParanoidSecurityPolicy:
            yield ('expected a security policy that grants permissions, got '
                   'none, so everything is forbidden; declare one with '
                   '<securityPolicy component="…" />')
        for registry in registries:
            yield from _listRights(registry, policy)


def _listRights(registry, policy):
    """Yield a text for each reason why nobody, or everybody, gets in."""
    try:
        authentication = queryUtility(
            IAuthentication, context=registry)
    except ComponentLookupError:
        return   # zope.site is missing
    if authentication is None:
        yield ('expected users who can log in, got no IAuthentication; '
               'include zope.principalregistry and declare a <principal>, or '
               'add an authentication to the site')
        return
    nobody = authentication.unauthenticatedPrincipal()
    if _may(policy, nobody, MANAGE_WORKERS, registry):
        yield ('expected that visitors without a login may not manage '
               'background work, got the security policy %s, which permits '
               'it; declare another with <securityPolicy component="…" />, '
               'or grant less' % policy.__name__)
        return
    # An authentication of another kind may have any number of principals.
    listPrincipals = getattr(authentication, 'getPrincipals', None)
    if listPrincipals is None:
        return
    principals = list(islice(listPrincipals(''), PRINCIPALS))
    if not any(map(_has_login, principals)):
        yield ('expected users who can log in, got none; declare one with '
               '<principal id="…" title="…" login="…" password="…" />')
    elif policy is not ParanoidSecurityPolicy and (
            len(principals) < PRINCIPALS):
        missing = [permission for permission in _listPermissions()
                   if not any(_may(policy, principal, permission, registry)
                              for principal in (nobody, *principals))]
        if missing:
            yield ('expected somebody with each permission of the pages and '
                   'the worker types, got nobody with %s; grant them, with '
                   '<grant principal="…" permission="%s" /> for example'
                   % (', '.join(missing), missing[0]))


def _has_login(principal):
    """Return whether *principal* is a user rather than a group."""
    getLogin = getattr(principal, 'getLogin', None)
    return getLogin is None or bool(getLogin())


def _listPermissions():
    """Return the permissions for the pages and for the worker types."""
    types = getGlobalSiteManager().getUtilitiesFor(IWorkerType)
    return [permission for permission in dict.fromkeys(chain(
        PERMISSIONS, *sorted((worker_type.permission or START_WORKERS,
                              worker_type.view_permission or VIEW_WORKERS)
                             for _, worker_type in types)))
            if isinstance(permission, str) and permission != 'zope.Public']


def _may(policy, principal, permission, ob):
    """Return whether *principal* has *permission* on *ob*."""
    if principal is None:
        return False
    request = TestRequest()
    request.setPrincipal(principal)
    return bool(policy(request).checkPermission(permission, ob))


pages = PagesCheck()
