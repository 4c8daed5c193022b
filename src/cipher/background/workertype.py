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
from collections.abc import Mapping
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
from zope.schema.interfaces import ValidationError
from zope.security.proxy import removeSecurityProxy

from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import NOT_UNIQUE
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import InvalidInput
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.masking import makeMasker
from cipher.background.plaindata import checkFinite
from cipher.background.plaindata import plainCopy
from cipher.background.text import safeStr
from cipher.background.text import shortRepr


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
        input = removeSecurityProxy(input)
        if not isinstance(input, Mapping):
            raise InvalidInput('worker %r: expected input that is a dict, '
                               'got a %s' % (self.name, type(input).__name__))
        fields = dict(getFieldsInOrder(self.schema)) if self.schema else {}
        unknown = sorted(set(input) - set(fields), key=repr)
        if unknown:
            got = self.hide(_names(unknown), input)
            raise InvalidInput(
                'worker %r: expected input %s, got %s; leave that out or add '
                'it to the schema' % (self.name, _names(fields) or 'without '
                                      'any field', got))
        cleaned = {name: self._clean_field(field, name, input)
                   for name, field in fields.items()}
        if fields:
            self._check_invariants(cleaned)
        return self._limited(cleaned)

    def hide(self, text, input):
        """See `~cipher.background.interfaces.IWorkerType`."""
        return makeMasker(self.schema, input).text(text)

    def _refuse(self, input, begin, public, private):
        """Raise `InvalidInput`, with a text that begins with *begin*.

        It goes on with *public* for everybody, with *private* for the one who
        gave *input*.  Errors of the schema, which quote values, are not
        chained to it.
        """
        begin = 'worker %r: input ' % self.name + begin
        raise InvalidInput(
            begin + self.hide(private, input), begin + public) from None

    def _clean_field(self, field, name, input):
        given = name in input
        value = input[name] if given else field.default
        got = ('got a %s' % type(removeSecurityProxy(value)).__name__
               if given else 'got none')
        try:
            value = plainCopy(value, name)
            checkFinite(value, name)
        except ValueError as error:
            self._refuse(
                input, '', '%r: expected plain data, got something else'
                % name, safeStr(error))
        try:
            field.bind(None).validate(value)
        except (Invalid, ValueError, *_NOT_COMPARED) as error:
            self._refuse(input, '%r: expected a %s, %s ' % (
                name, type(field).__name__, got), *_explain(error))
        return value

    def _check_invariants(self, input):
        try:
            self.schema.validateInvariants(SimpleNamespace(**input))
        except (Invalid, ValueError, *_NOT_COMPARED) as error:
            self._refuse(
                input, 'that fits the invariants of %s: got another '
                % self.schema.__name__, *_explain(error))

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


def maskerOf(run):
    """Return what hides the secrets of the input of *run*."""
    worker_type = queryWorkerType(run.type)
    return makeMasker(worker_type and worker_type.schema, run.input)


def _names(names):
    # What cannot be the name of a field may be anything.
    shown = [shortRepr(name, 60) if str(name).isidentifier() else '…'
             for name in list(names)[:10]]
    return ', '.join(shown + ['…'] * (len(names) > 10))


def _explain(error):
    """Return what *error*, of a schema, says to everybody, and to its starter.

    Its own text may quote the value.
    """
    shown = []
    for text in ((type(error).__doc__, error.doc()) if isinstance(
            error, ValidationError) else ('', error)):
        shown.append('(%s)' % ': '.join(filter(None, (
            type(error).__name__, ' '.join(safeStr(text or '').split())))))
    return shown
