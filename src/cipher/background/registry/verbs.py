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
"""The registry for a person: every verb checks its permission.

The methods of a registry are for trusted code and check few permissions.
Pages, the JSON and other code that acts for a person use only the object that
`of` returns.  It checks each permission itself, so the registry needs no
security proxy.  For hosts that make such proxies, security.zcml is a second
wall.
"""
from functools import wraps

from zope.component import adapter
from zope.interface import implementer
from zope.security.interfaces import NoInteraction
from zope.security.interfaces import Unauthorized
from zope.security.proxy import removeSecurityProxy

from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import STOP_WORKERS
from cipher.background.interfaces import VIEW_DETAILS
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import IVerbs
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import TooManyWaiting
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.store import structure
from cipher.background.store.process import getDirectory
from cipher.background.util.host import getHost
from cipher.background.util.reference import root


#: Waiting runs of a type at which people may start no more of it.  Application
#: code still may.
WAITING_LIMIT = 10000

#: {verb: permission} of the acts on many runs.
ON_RUNS = {'begin': MANAGE_WORKERS, 'stop': STOP_WORKERS,
           'retry': MANAGE_WORKERS, 'remove': MANAGE_WORKERS}


def of(registry):
    """Return the `IVerbs` of *registry*.

    Each call of a verb checks the principal of the interaction at that time.
    """
    return Verbs(registry)


#: Name of a verb -> (permission, the method that returns the objects to check
#: it on; None: the registry).
RIGHTS = {}


def _asks(permission, where=None):
    """Decorate a method: check *permission* first, on *where*.

    See `RIGHTS`.
    """
    def decorate(method):
        @wraps(method)
        def ask(self, /, *arguments, **options):
            for target in where(self) if where else (self._registry,):
                _check(permission, target, method.__name__)
            return method(self, *arguments, **options)

        RIGHTS[method.__name__] = permission, where
        return ask
    return decorate


def _check(permission, target, name):
    if not getHost().checkPermission(permission, target):
        raise Unauthorized(target, name, permission)


def _same(name, permission):
    """Return a verb that calls the method *name* of the registry."""
    def call(self, /, *arguments, **options):
        return getattr(self._registry, name)(*arguments, **options)

    call.__name__ = name
    call.__doc__ = IWorkerRegistry[name].__doc__
    return _asks(permission)(call)


@implementer(IVerbs)
@adapter(IWorkerRegistry)
class Verbs:

    def __init__(self, registry):
        self._registry = removeSecurityProxy(registry)
        structure.checkRegistry(self._registry)
        directory = self._registry._p_jar and getDirectory(
            self._registry._p_jar)
        if directory:
            structure.checkVersion(directory)

    def may(self, name):
        permission, where = RIGHTS[name]
        targets = where(self) if where else (self._registry,)
        return all(getHost().checkPermission(permission, target)
                   for target in targets)

    def _get_roots(self):
        """Return the root objects of all applications in the database.

        A process serves the registries of all of them.
        """
        registries = [self._registry]
        jar = self._registry._p_jar
        directory = jar and getDirectory(jar)
        if directory:
            registries += directory.listRegistries()
        roots = map(root, registries)
        return list({id(ob): ob for ob in roots}.values())

    # Reading

    get = _same('get', VIEW_WORKERS)
    getStatus = _same('getStatus', VIEW_WORKERS)
    getFamily = _same('getFamily', VIEW_WORKERS)
    getHealth = _same('getHealth', VIEW_WORKERS)
    listRuns = _same('listRuns', VIEW_WORKERS)
    getCounts = _same('getCounts', VIEW_WORKERS)
    getWorkerTypes = _same('getWorkerTypes', VIEW_WORKERS)
    listTypes = _same('listTypes', VIEW_WORKERS)
    listProcesses = _same('listProcesses', VIEW_WORKERS)
    listEndedProcesses = _same('listEndedProcesses', VIEW_WORKERS)
    listSchedules = _same('listSchedules', VIEW_WORKERS)
    listErrors = _same('listErrors', VIEW_WORKERS)
    getHistory = _same('getHistory', VIEW_WORKERS)
    getHours = _same('getHours', VIEW_WORKERS)
    listProblems = _same('listProblems', VIEW_WORKERS)
    listActions = _same('listActions', VIEW_WORKERS)
    getDetails = _same('getDetails', VIEW_DETAILS)
    getStack = _same('getStack', VIEW_DETAILS)

    @_asks(VIEW_WORKERS)
    def getContext(self, run_id):
        return getHost().protect(self._registry.getContext(run_id))

    def getSite(self):
        return getHost().protect(self._registry.getSite())

    # Starting

    @_asks(START_WORKERS)
    def queryWorkerType(self, name):
        return self._registry.getWorkerTypes().get(name)

    def mayStart(self, name, context=None):
        return (self.may('startByPrincipal')
                and name in self._registry.getWorkerTypes()
                and self._registry.mayStart(
                    name, removeSecurityProxy(context)))

    @_asks(START_WORKERS)
    def startByPrincipal(self, name, /, context=None, **input):
        self._check_start(name)
        return self._registry.startByPrincipal(name, context, **input)

    @_asks(START_WORKERS)
    def startOnce(self, since, name, context=None, input=None):
        self._check_start(name)
        return self._registry.startOnce(since, name, context, input)

    def _check_start(self, name):
        if name not in self._registry.getWorkerTypes():
            # A hidden type is refused like one that does not exist.
            raise UnknownWorkerType(
                'worker %.100r: expected the name of a declared worker type; '
                'look at getWorkerTypes()' % (name,))
        waiting = self._registry.getCounts().get(name, {}).get(PENDING, 0)
        if waiting >= WAITING_LIMIT:
            raise TooManyWaiting(
                'worker %r: expected fewer than %d waiting runs to start '
                'another, got %d; try again later'
                % (name, WAITING_LIMIT, waiting))

    # Acting on runs

    def requestStop(self, run_id, reason=None):
        if not self._is_own(run_id):
            _check(STOP_WORKERS, self._registry, 'requestStop')
        return self._registry.requestStop(run_id, reason)

    RIGHTS['requestStop'] = STOP_WORKERS, None

    def mayStop(self, run_id):
        return self.may('requestStop') or self._is_own(run_id)

    def getOwnStatus(self, run_id):
        return (self._registry.getStatus(run_id) if self._is_own(run_id)
                else None)

    def _is_own(self, run_id):
        """Return whether the principal started the run."""
        if not getHost().hasInteraction():
            raise NoInteraction
        person = getHost().currentPerson()
        run = None if person is None else self._registry.get(run_id)
        return run is not None and run.starter == person

    beginNow = _same('beginNow', MANAGE_WORKERS)
    remove = _same('remove', MANAGE_WORKERS)

    @_asks(MANAGE_WORKERS)
    def retry(self, run_id, reason=None):
        return self._registry.retryByPrincipal(run_id, reason)

    def mayRetry(self, run_id):
        return self.may('retry') and self._registry.mayRetry(run_id)

    def actOnRuns(self, verb, run_ids, reason=None, filter=None):
        _check(ON_RUNS[verb], self._registry, verb)
        return self._registry.actOnRuns(verb, run_ids, reason, filter)

    # Administration

    pauseType = _same('pauseType', MANAGE_WORKERS)
    pauseSchedule = _same('pauseSchedule', MANAGE_WORKERS)
    getThresholds = _same('getThresholds', MANAGE_WORKERS)
    changeThresholds = _same('changeThresholds', MANAGE_WORKERS)
    beginKept = _same('beginKept', MANAGE_WORKERS)
    removeKept = _same('removeKept', MANAGE_WORKERS)

    @_asks(MANAGE_WORKERS)
    def runSchedule(self, name):
        return self._registry.runScheduleByPrincipal(name)

    def mayRunSchedule(self, name):
        return (self.may('runSchedule')
                and self._registry.mayRunSchedule(name))

    @_asks(MANAGE_WORKERS, where=_get_roots)
    def quietProcess(self, process_id, is_quiet=True, reason=None):
        self._registry.quietProcess(process_id, is_quiet, reason)

    @_asks(MANAGE_WORKERS, where=_get_roots)
    def adoptDatabase(self, process_id, reason=None, keep_back=False):
        return self._registry.adoptDatabase(process_id, reason, keep_back)

    @_asks(MANAGE_WORKERS, where=_get_roots)
    def drainProcess(self, process_id, reason=None):
        self._registry.drainProcess(process_id, reason)
