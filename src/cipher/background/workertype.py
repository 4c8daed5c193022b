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
"""Worker types: what ZCML declared."""
from dataclasses import dataclass
from typing import Callable

from zope.component import getUtility
from zope.component import queryUtility
from zope.interface import implementer
from zope.interface.interface import InterfaceClass
from zope.interface.interfaces import ComponentLookupError
from zope.security.proxy import removeSecurityProxy

from cipher.background.fitting import Unfit
from cipher.background.fitting import fit
from cipher.background.fitting import fitAgain
from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import NOT_UNIQUE
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import InputOutdated
from cipher.background.interfaces import InvalidInput
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.masking import makeMasker
from cipher.background.plaindata import readInput
from cipher.background.text import safeRepr


@implementer(IWorkerType)
@dataclass(frozen=True, eq=False, repr=False)
class WorkerType:
    """See `~cipher.background.interfaces.IWorkerType`."""

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

    def __post_init__(self):
        if not self.title:
            object.__setattr__(self, 'title', self.name)

    def __repr__(self):
        return '<WorkerType %r>' % self.name

    def cleanInput(self, input, site=None):
        """See `~cipher.background.interfaces.IWorkerType`."""
        input = removeSecurityProxy(input)
        try:
            return fit(self.schema, input, site)
        except Unfit as unfit:
            raise self._refusal(
                InvalidInput, unfit, unfit.errors, input) from None

    def fitInput(self, input, site=None):
        """See `~cipher.background.interfaces.IWorkerType`."""
        try:
            return fitAgain(self.schema, readInput(input), site)
        except Unfit as unfit:
            # Its reader may not be the one who gave the input.
            raise self._refusal(
                InputOutdated, unfit, unfit.public, {}) from None

    def hide(self, text, input):
        """See `~cipher.background.interfaces.IWorkerType`."""
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
    """Return the worker type of that name; raise `UnknownWorkerType`.

    For a former name, that of today.
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
    """Return the worker type of that name, or None.

    For a former name, what its runs go on as.
    """
    return queryUtility(IWorkerType, name)


def currentName(name):
    """Return the name of today of the worker type *name*.

    Of one that is not declared it is the same.
    """
    worker_type = queryWorkerType(name)
    current = None if worker_type is None else worker_type.current
    return name if current is None else current


def maskerOf(run):
    """Return what hides the secrets of the input of *run*."""
    worker_type = queryWorkerType(run.type)
    return makeMasker(worker_type and worker_type.schema, run.input)
