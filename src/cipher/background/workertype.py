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
import pickle
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Callable

from zope.component import getUtility
from zope.component import queryUtility
from zope.interface import Invalid
from zope.interface import implementer
from zope.interface.interface import InterfaceClass
from zope.interface.interfaces import ComponentLookupError
from zope.schema import getFieldsInOrder
from zope.schema.interfaces import IPassword
from zope.schema.interfaces import ValidationError

from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import NOT_UNIQUE
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import InvalidInput
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.plaindata import checkFinite
from cipher.background.plaindata import plainCopy
from cipher.background.secrets import mask
from cipher.background.secrets import secretsOf
from cipher.background.text import safeStr


#: Bytes, pickled.  What is larger belongs into an object of the application.
INPUT_LIMIT = 65536

# What fields and invariants raise for values that they did not think of: a
# moment with a time zone beside one without, None beside a number.
_NOT_COMPARED = (TypeError, ArithmeticError)


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

    def __post_init__(self):
        if not self.title:
            object.__setattr__(self, 'title', self.name)

    def __repr__(self):
        return '<WorkerType %r>' % self.name

    def cleanInput(self, input):
        """See `~cipher.background.interfaces.IWorkerType`."""
        fields = dict(getFieldsInOrder(self.schema)) if self.schema else {}
        unknown = sorted(set(input) - set(fields), key=repr)
        if unknown:
            raise InvalidInput(
                'worker %r: expected input %s, got %s; leave that out or add '
                'it to the schema' % (self.name, _names(fields) or 'without '
                                      'any field', _names(unknown)))
        cleaned = {name: self._clean_field(field, name, input)
                   for name, field in fields.items()}
        if fields:
            self._check_invariants(cleaned)
        return self._limited(cleaned)

    def _clean_field(self, field, name, input):
        given = name in input
        try:
            value = plainCopy(input[name] if given else field.default, name)
            checkFinite(value, name)
            field.bind(None).validate(value)
        except (ValidationError, *_NOT_COMPARED) as error:
            got = 'got none'
            if given:
                got = ('got one that is not shown'
                       if IPassword.providedBy(field)
                       else 'got %.200r' % (value,))
            raise InvalidInput(
                'worker %r: input %r: expected a %s, %s (%s)' % (
                    self.name, name, type(field).__name__, got,
                    _explain(error)))
        except ValueError as error:
            raise InvalidInput(
                'worker %r: input %s' % (self.name, safeStr(error)))
        return value

    def _check_invariants(self, input):
        try:
            self.schema.validateInvariants(SimpleNamespace(**input))
        except (Invalid, ValueError, *_NOT_COMPARED) as error:
            raise InvalidInput(
                'worker %r: input: expected what the invariants of %s ask '
                'for, got %.200r (%s)' % (
                    self.name, self.schema.__name__,
                    mask(input, secretsOf(self.schema, input)),
                    safeStr(error)))

    def _limited(self, input):
        size = len(pickle.dumps(input, 3))
        if size > INPUT_LIMIT:
            raise InvalidInput(
                'worker %r: expected an input of at most %d bytes, got %d; '
                'store it in an object and pass that as context'
                % (self.name, INPUT_LIMIT, size))
        return input


def getWorkerType(name):
    """Return the worker type of that name; raise `UnknownWorkerType`."""
    try:
        return getUtility(IWorkerType, name)
    except (ComponentLookupError, TypeError, ValueError):
        raise UnknownWorkerType(
            'worker %r: expected the name of a declared worker type; declare '
            'it with <background:worker name=… />' % (name,)) from None


def queryWorkerType(name):
    """Return the worker type of that name, or None."""
    return queryUtility(IWorkerType, name)


def _names(names):
    shown = ['%.60r' % name for name in list(names)[:10]]
    return ', '.join(shown + ['…'] * (len(names) > 10))


def _explain(error):
    text = safeStr(error.doc() if hasattr(error, 'doc') else error)
    return '%s: %s' % (type(error).__name__, ' '.join(text.split()))
