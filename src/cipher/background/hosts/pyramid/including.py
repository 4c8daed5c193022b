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
"""What ``config.include`` does, and the start of the application."""
import os
import threading
from contextlib import contextmanager

import pyramid.registry
from pyramid.events import ApplicationCreated
from pyramid.exceptions import ConfigurationError
from pyramid.httpexceptions import HTTPServiceUnavailable
from pyramid.interfaces import IRequestFactory
from pyramid.interfaces import IRootFactory
from pyramid.interfaces import ISecurityPolicy
from pyramid.interfaces import ITweens
from pyramid.path import DottedNameResolver
from pyramid.request import Request
from pyramid.request import apply_request_extensions
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.settings import asbool
from pyramid.threadlocal import RequestContext
from pyramid.threadlocal import manager as threadlocals
from pyramid.traversal import DefaultRootFactory
from pyramid.tweens import EXCVIEW
from transaction.interfaces import TransientError
from zope.component import getGlobalSiteManager
from zope.component import queryUtility
from zope.configuration import xmlconfig
from zope.interface import implementer
from zope.processlifetime import DatabaseOpenedWithRoot
from zope.schema import getFieldNames
from zope.security.management import setSecurityPolicy

import cipher.background.hosts.pyramid
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.hosts.pyramid.host import USERID
from cipher.background.hosts.pyramid.host import Anonymous
from cipher.background.hosts.pyramid.host import PyramidHost
from cipher.background.hosts.pyramid.host import PyramidPolicy
from cipher.background.hosts.pyramid.publishing import serve
from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import IHost
from cipher.background.interfaces import InvalidSite
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IStartCheck
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import getRegistry
from cipher.background.runtime.startcheck import checkStart
from cipher.background.subscribers import startRuntimeOfDatabase
from cipher.background.util.host import getHost
from cipher.background.util.logs import getLogger
from cipher.background.util.text import safeRepr


log = getLogger(__name__)


#: The settings of the application.
THREADS = 'background.threads'
SITE = 'background.site'
ADD_REGISTRY = 'background.add_registry'
SETTINGS = (THREADS, SITE, ADD_REGISTRY)
_PREFIX = 'background.'

#: Threads that a runtime may have.
_MOST_THREADS = 1000

#: Tries to add the registry while other processes begin, too.
_TRIES = 10

_TM = 'pyramid_tm.tm_tween_factory'
_TWEEN = 'cipher.background.hosts.pyramid.including.makeTween'
_GUARD = 'cipher.background.hosts.pyramid.including.makeGuard'

_mode = threading.local()   # without_runtime: the start begins no runtime


def includeme(config):
    """Let an application of Pyramid have background work and its pages.

    The prefix of the routes in *config* is where the pages are.  Raise
    ``ConfigurationError`` for settings that cannot work.
    """
    registry = config.registry
    settings = registry.settings
    _check_settings(settings)
    config.include('pyramid_tm')
    if getattr(registry, '_zodb_databases', None) is None:
        config.include('pyramid_zodbconn')
    if not registry._zodb_databases.get(''):
        raise ConfigurationError(
            'zodbconn.uri: expected the URI of the database, got none; put '
            'zodbconn.uri = file://%(here)s/Data.fs into the settings')
    _use_global_components(registry)
    _load()
    getHost().registries.append(registry)
    config.add_request_method(_background_site, 'background_site', reify=True)
    config.add_request_method(
        _background_registry, 'background_registry', property=True)
    config.add_request_method(
        lambda request: request.environ.get(USERID), 'background_userid',
        property=True)
    config.add_tween(_GUARD, over=_TM)
    config.add_tween(_TWEEN, under=_TM, over=EXCVIEW)
    config.add_subscriber(_created, ApplicationCreated)
    for name, pattern in (('', '/++background++'),
                          ('.pages', '/++background++/*background_path'),
                          ('.resources', '/@@/{background_resource}')):
        name = 'cipher.background' + name
        config.add_route(name, pattern)
        # Our pages check the permissions and their own tokens.
        config.add_view(serve, route_name=name, require_csrf=False,
                        permission=NO_PERMISSION_REQUIRED)


def _check_settings(settings):
    for name in settings:
        if name.startswith(_PREFIX) and name not in SETTINGS:
            raise ConfigurationError(
                '%s: expected one of the settings %s, got this; correct it'
                % (name, ', '.join(SETTINGS)))
    threads = settings.get(THREADS)
    if threads is not None and not (
            str(threads).isascii() and str(threads).isdigit()
            and int(threads) <= _MOST_THREADS):
        raise ConfigurationError(
            '%s: expected a number of threads from 0 to %d, got %s; give 0 '
            'if this process carries out no runs' % (
                THREADS, _MOST_THREADS, safeRepr(threads, 100)))
    if SITE in settings:
        try:
            factory = DottedNameResolver().maybe_resolve(settings[SITE])
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigurationError(
                '%s: expected the dotted name of a function of a request, '
                'got %s (%s); correct it' % (
                    SITE, safeRepr(settings[SITE], 200), error)) from None
        if not callable(factory):
            raise ConfigurationError(
                '%s: expected a function of a request, got %s; correct it'
                % (SITE, safeRepr(factory, 200)))
        settings[SITE] = factory


def _use_global_components(registry):
    """Let Pyramid's registries find what is declared for all of them.

    With ``config.hook_zca()`` components are looked up there, in a thread of
    the runtime in that for all applications.
    """
    components = getGlobalSiteManager()
    for one in registry, pyramid.registry.global_registry:
        if one is not components:
            # Set in any case: the components may have been cleared since.
            one.__bases__ = (*(base for base in one.__bases__
                               if base is not components), components)


@contextmanager
def _current(registry):
    threadlocals.push({'registry': registry, 'request': None})
    try:
        yield
    finally:
        threadlocals.pop()


def _load():
    """Load our ZCML once in this process, whatever application comes first.
    """
    if isinstance(getHost(), PyramidHost):
        return
    other = queryUtility(IHost)
    if other is not None:
        raise ConfigurationError(
            'cipher.background: expected one kind of host in a process, got '
            '%s already; include only one' % type(other).__name__)
    # With config.hook_zca() it would go into the current registry.
    with _current(getGlobalSiteManager()):
        xmlconfig.file('configure.zcml', cipher.background.hosts.pyramid)
    setSecurityPolicy(PyramidPolicy)


# Requests

def _get_factory(registry):
    return registry.settings.get(SITE) or registry.queryUtility(
        IRootFactory, default=DefaultRootFactory)


def _background_site(request):
    """Return the object that has the registry of the application."""
    site = _get_factory(request.registry)(request)
    if not getHost().isSite(site):
        raise InvalidSite(
            'site: expected a stored object from the root factory of the '
            'application, got a %s; let it return one, or name a function '
            'in the setting %s' % (type(site).__name__, SITE))
    return site


def _background_registry(request):
    """Return the registry nearest to the context of *request*."""
    context = getattr(request, 'context', None)
    return (context is not None and getHost().nearestRegistry(context)
            or getRegistry(request.background_site))


def makeGuard(handler, registry):
    """Return a tween: only the process that made the application answers.

    A child must not use the database of its parent.
    """
    pid = os.getpid()

    def tween(request):
        if os.getpid() == pid:
            return handler(request)
        log.error(
            'Start: expected an application that is made after the fork, got '
            'one that process %d has made; give the server a PerProcess of '
            'cipher.background.hosts.pyramid, or do not preload', pid)
        return HTTPServiceUnavailable()

    return tween


def makeTween(handler, registry):
    """Return a tween: in the request somebody acts, its user."""
    def tween(request):
        with getHost().actingFor(request):
            return handler(request)

    return tween


# The start

@contextmanager
def withoutRuntime():
    """An application that is created in the block begins no runtime."""
    _mode.without_runtime = True
    try:
        yield
    finally:
        del _mode.without_runtime


def _created(event):
    """Subscriber: prepare the database, and begin the runtime."""
    registry = event.app.registry
    _check_tweens(registry)
    db = registry._zodb_databases['']
    if asbool(registry.settings.get(ADD_REGISTRY, 'true')):
        _add_registry(registry)
    if getattr(_mode, 'without_runtime', False):
        return
    threads = registry.settings.get(THREADS)
    if threads is not None:
        _declare_threads(int(threads))
    startRuntimeOfDatabase(DatabaseOpenedWithRoot(db))
    checkStart(db)


def _check_tweens(registry):
    """Raise ``ConfigurationError`` if requests would go past our tween.

    Then nobody would act in a request, which means the system.
    """
    explicit = [name for name, _factory
                in registry.queryUtility(ITweens).explicit]
    missing = [name for name in (_TM, _TWEEN) if name not in explicit]
    if explicit and missing:
        raise ConfigurationError(
            'pyramid.tweens: expected %s among the tweens, got a list '
            'without; add %s' % (
                ' and '.join(missing), 'them' if missing[1:] else 'it'))


def _declare_threads(threads):
    components = getGlobalSiteManager()
    declared = components.queryUtility(IRuntimeSettings)
    values = {} if declared is None else {
        name: getattr(declared, name)
        for name in getFieldNames(IRuntimeSettings)}
    components.registerUtility(
        RuntimeSettings(**{**values, 'threads': threads}), IRuntimeSettings)


def _add_registry(registry):
    for left in reversed(range(_TRIES)):
        try:
            return _try_to_add(registry)
        except TransientError:
            if not left:
                raise


def _try_to_add(registry):
    factory = registry.queryUtility(IRequestFactory, default=Request)
    request = factory.blank('/')
    request.registry = registry
    with RequestContext(request):
        apply_request_extensions(request)
        manager = request.tm
        manager.begin()
        try:
            site = request.background_site
            if site._p_jar is None:
                # The root factory has just made it.
                manager.savepoint(optimistic=True)
            if getHost().ownRegistry(site) is None:
                addRegistry(site)
            manager.commit()
        except BaseException:
            manager.abort()
            raise
        finally:
            request._process_finished_callbacks()


@implementer(IStartCheck)
class PolicyCheck:
    """The check of the pages: somebody must be permitted something."""

    def __call__(self, registries):
        applications = getHost().registries
        if not any(one.queryUtility(ISecurityPolicy)
                   for one in applications):
            yield ('expected a security policy, got none, so everything is '
                   'forbidden; call config.set_security_policy')
            return
        for registry in registries:
            request = getHost().makeRequest(registry.getSite())
            if request is not None and Anonymous(request).may(
                    MANAGE_WORKERS, registry):
                yield ('expected that visitors without a login may not '
                       'manage background work, got a security policy that '
                       'permits them %s; let it deny that' % MANAGE_WORKERS)
