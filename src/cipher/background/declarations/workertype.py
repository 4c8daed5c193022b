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
"""Worker types, which ZCML or Python declares, and their names."""
from dataclasses import dataclass
from typing import Callable

from zope.component import getUtilitiesFor
from zope.component import getUtility
from zope.component import queryUtility
from zope.interface import implementer
from zope.interface.interface import InterfaceClass
from zope.interface.interfaces import ComponentLookupError
from zope.security.proxy import removeSecurityProxy

from cipher.background.declarations.fitting import Unfit
from cipher.background.declarations.fitting import fit
from cipher.background.declarations.fitting import fitAgain
from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import NOT_UNIQUE
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import InputOutdated
from cipher.background.interfaces import InvalidInput
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.util.masking import makeMasker
from cipher.background.util.plaindata import readInput
from cipher.background.util.text import safeRepr


@implementer(IWorkerType)
@dataclass(frozen=True, eq=False, repr=False)
class WorkerType:
    """A declared worker type, registered as a named utility."""

    name: str
    factory: type = None
    handler: Callable = None
    title: str = None
    description: str = ''
    schema: InterfaceClass = None
    permission: str = START_WORKERS
    view_permission: str = None
    on_interrupt: str = RERUN
    is_loop: bool = False
    max_attempts: int = 1
    retry_delay: float = 10.0
    max_running: int = None
    unique: str = NOT_UNIQUE
    priority: int = 0
    run_as: str = AS_STARTER
    stop_timeout: float = 60.0
    autostart: bool = False
    keep_days: float = None
    keep: int = None
    current: str = None
    share: bool = None

    def __post_init__(self):
        if not self.title:
            object.__setattr__(self, 'title', self.name)

    def __repr__(self):
        return '<WorkerType %r>' % self.name

    def cleanInput(self, input, site=None):
        input = removeSecurityProxy(input)
        try:
            return fit(self.schema, input, site)
        except Unfit as unfit:
            raise self._refusal(
                InvalidInput, unfit, unfit.errors, input) from None

    def fitInput(self, input, site=None):
        try:
            return fitAgain(self.schema, readInput(input), site)
        except Unfit as unfit:
            # Only the public text: its reader may not know the input.
            raise self._refusal(
                InputOutdated, unfit, unfit.public, {}) from None

    def hide(self, text, input):
        return makeMasker(self.schema, input).text(text)

    def _refusal(self, kind, unfit, errors, input):
        masker = makeMasker(self.schema, input)
        errors = {name: masker.text(text) for name, text in errors.items()}
        refusal = kind(self._say(errors), self._say(unfit.public))
        refusal.errors = errors
        refusal.causes = unfit.causes
        return refusal

    def _say(self, errors):
        return 'worker %r: %s' % (self.name, '; '.join(errors.values()))


def getWorkerType(name):
    """Return the worker type called *name*, now or formerly.

    Raise `UnknownWorkerType` if there is none.  For a former name return the
    type of today.
    """
    try:
        worker_type = getUtility(IWorkerType, name)
        if worker_type.current is not None:
            worker_type = getUtility(IWorkerType, worker_type.current)
        return worker_type
    except (ComponentLookupError, TypeError, ValueError):
        raise UnknownWorkerType(
            'worker %s: expected the name of a declared worker type; declare '
            'it with <background:worker name=… />' % safeRepr(name, 100)
        ) from None


def queryWorkerType(name):
    """Return the worker type registered under *name*, or None.

    For a former name return the type that carries out runs of that name.
    """
    return queryUtility(IWorkerType, name)


def nameToday(name):
    """Return the name of today of the type called *name*, now or formerly.

    Return *name* itself if no such type is declared.
    """
    worker_type = queryWorkerType(name)
    return name if worker_type is None else nameOf(worker_type)


def nameOf(worker_type):
    """Return the name of today of *worker_type*, an `IWorkerType`."""
    return worker_type.current or worker_type.name


def allNames(name):
    """Return all names of the type *name*: the one of today first."""
    today = nameToday(name)
    return [today, *sorted(
        other for other, worker_type in getUtilitiesFor(IWorkerType)
        if worker_type.current == today)]


def findPause(registry, name):
    """Return the pause of the type *name* in *registry*, or None.

    A pause is (principal, asked_at, reason).  A type that was paused under
    one of its names is paused under all of them.
    """
    if not registry.pauses:
        return None
    return next((registry.pauses[one] or () for one in allNames(name)
                 if one in registry.pauses), None)


def maskerOf(run):
    """Return the masker for the secrets in the input of *run*."""
    worker_type = queryWorkerType(run.type)
    return makeMasker(worker_type and worker_type.schema, run.input)
