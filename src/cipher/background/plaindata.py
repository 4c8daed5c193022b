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
"""Plain data: what may be stored in a run, free of proxies and references."""
import cmath
import datetime
import decimal
import fractions
import uuid

from zope.security.proxy import removeSecurityProxy

from cipher.background.text import RESULT_LIMIT
from cipher.background.text import SHOWS_ALL
from cipher.background.text import clean
from cipher.background.text import safeStr
from cipher.background.text import shortRepr


_ATOMS = (
    type(None), bool, int, float, complex, str, bytes,
    datetime.date, datetime.time, datetime.datetime, datetime.timedelta,
    decimal.Decimal, fractions.Fraction, uuid.UUID,
)
# Of a subclass (an enum, a text with extras): just the value.  Not by its
# own __str__ and the like, which may tell something else.
_VALUES = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes(memoryview(value)),
}
_MAX_DEPTH = 50


def plainCopy(value, path='value', depth=0):
    """Return *value* as a deep copy of plain data.

    Atoms (numbers, texts, bytes, dates, UUIDs) and lists, tuples, sets and
    dicts of them, taken out of their security proxies at every depth.  Raise
    ``ValueError`` for anything else, saying where it is.
    """
    value = removeSecurityProxy(value)
    if type(value) in _ATOMS:
        return value
    if depth >= _MAX_DEPTH:
        raise ValueError('%s: expected at most %d levels' % (path, _MAX_DEPTH))
    if isinstance(value, dict):
        copy = {}
        for key, item in value.items():
            key = plainCopy(key, path + ' key', depth + 1)
            copy[key] = plainCopy(
                item, '%s[%s]' % (path, shortRepr(key)), depth + 1)
        return copy
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return kind(plainCopy(item, '%s[%d]' % (path, n), depth + 1)
                        for n, item in enumerate(value))
    for atom, value_of in _VALUES.items():
        if isinstance(value, atom):
            return value_of(value)
    raise ValueError(
        '%s: expected plain data (numbers, texts, dates, lists, dicts), '
        'got %s' % (path, type(value).__name__))


def checkFinite(value, path='value'):
    """Raise ``ValueError`` where *value* holds a number without a place.

    Infinities and all that is not a number, at any depth of plain data: no
    minimum and no maximum of a field refuses NaN.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            checkFinite(key, path + ' key')
            checkFinite(item, '%s[%s]' % (path, shortRepr(key)))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for n, item in enumerate(value):
            checkFinite(item, '%s[%d]' % (path, n))
    elif not (value.is_finite() if isinstance(value, decimal.Decimal)
              else cmath.isfinite(value) if isinstance(value, (float, complex))
              else True):
        raise ValueError(
            '%s: expected a finite number, got %s' % (path, value))


def shortResult(value, masker=SHOWS_ALL):
    """Return what is kept of the result of some work: short plain data.

    Without the secrets that *masker* hides.
    """
    value = removeSecurityProxy(value)
    if isinstance(value, str):
        return clean(str.__str__(value), RESULT_LIMIT, masker)
    try:
        copy = plainCopy(value, 'result')
        if len(str(copy)) <= RESULT_LIMIT:
            return masker.data(copy)
    except ValueError:
        pass   # no plain data, or a number that is too big for a text
    return clean(safeStr(value), RESULT_LIMIT, masker)


def canonical(value):
    """Return a text that is the same for equal plain data."""
    if isinstance(value, dict):
        return '{%s}' % ','.join(sorted(
            '%s:%s' % (canonical(key), canonical(item))
            for key, item in value.items()))
    if isinstance(value, (set, frozenset)):
        return '<%s>' % ','.join(sorted(canonical(item) for item in value))
    if isinstance(value, (list, tuple)):
        return '[%s]' % ','.join(canonical(item) for item in value)
    return '%s %r' % (type(value).__name__, value)
