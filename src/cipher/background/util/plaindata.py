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
"""Plain data: values that a run may store, without proxies or references.

The functions ``read…`` read what is stored.  An accident or other code may
have stored anything, and pages still show it: they raise nothing.
"""
import datetime
import decimal
import fractions
import math
import uuid

from zope.security.proxy import removeSecurityProxy

from cipher.background.util.text import RESULT_LIMIT
from cipher.background.util.text import SHOWS_ALL
from cipher.background.util.text import clean
from cipher.background.util.text import safeStr
from cipher.background.util.text import shortRepr


_ATOMS = (
    type(None), bool, int, float, complex, str, bytes,
    datetime.date, datetime.time, datetime.datetime, datetime.timedelta,
    decimal.Decimal, fractions.Fraction, uuid.UUID,
)
# A value of a subclass, such as an enum, is reduced to its base type.  Its own
# __str__ and the like are not used: they may return something else.
_VALUES = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes(memoryview(value)),
}
_MAX_DEPTH = 50


def plainCopy(value, path='value', depth=0):
    """Return a deep copy of *value* as plain data.

    Plain data are atoms (numbers, texts, bytes, dates, UUIDs) and lists,
    tuples, sets and dicts of them.  Security proxies are removed at every
    depth.  Raise ``ValueError`` for anything else; the message names *path*,
    the place of it.
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


def shortResult(value, masker=SHOWS_ALL):
    """Return *value*, the result of some work, as short plain data.

    *masker* hides its secrets.  A long result becomes a text and is cut.
    """
    value = removeSecurityProxy(value)
    if isinstance(value, str):
        return clean(str.__str__(value), RESULT_LIMIT, masker)
    try:
        copy = plainCopy(value, 'result')
        if len(str(copy)) <= RESULT_LIMIT:
            return masker.data(copy)
    except Exception:
        pass   # not plain data, or a number too big to be written as text
    return clean(safeStr(value), RESULT_LIMIT, masker)


# Readers of what is stored

def readNumber(value, default=None):
    """Return *value* if it is a finite number, else *default*."""
    if type(value) in (int, float):
        try:
            if math.isfinite(value):
                return value
        except OverflowError:
            pass
    return default


def readText(value, limit=RESULT_LIMIT):
    """Return *value* as a text of at most *limit* characters; None for None.
    """
    if value is None or type(value) is str:
        return value
    return clean(safeStr(value), limit)


def readProgress(value):
    """Return *value* as progress (done, total, message); None for None."""
    if value is None:
        return None
    if type(value) in (tuple, list) and len(value) == 3:
        done, total, message = value
        return readNumber(done), readNumber(total), readText(message)
    return readNumber(value), None, (
        None if readNumber(value) is not None else readText(value))


def readError(value):
    """Return *value* as an error (type name, text); both may be None."""
    if value is None:
        return None, None
    if type(value) in (tuple, list) and len(value) == 2:
        return readText(value[0]), readText(value[1])
    return type(value).__name__, readText(value)


def readAsked(value):
    """Return *value* as a request (principal id, asked_at, reason)."""
    if type(value) in (tuple, list) and len(value) == 3:
        principal, asked_at, reason = value
        return (readText(principal), readNumber(asked_at, 0.0),
                readText(reason))
    return None, 0.0, readText(value)


def readInput(value):
    """Return *value* as an input: a dict whose keys are texts."""
    if not value:
        return {}
    if type(value) is not dict:
        return {'input': value}
    return {readText(name) or '': item for name, item in value.items()}


def readAttempts(value):
    """Return *value* as a list of rows of `store.attempts`."""
    rows = value if type(value) in (tuple, list) else ()
    return [(readNumber(began_at), readNumber(ended_at, 0.0),
             *map(readText, texts), readText(log) or '')
            for began_at, ended_at, *texts, log in (
                row for row in rows
                if type(row) in (tuple, list) and len(row) == 8)]


def readResult(value):
    """Return *value* as the result of some work: short plain data."""
    return value if type(value) in _ATOMS else shortResult(value)


def canonical(value):
    """Return a text for *value*, plain data; equal data give equal texts."""
    if isinstance(value, dict):
        return '{%s}' % ','.join(sorted(
            '%s:%s' % (canonical(key), canonical(item))
            for key, item in value.items()))
    if isinstance(value, (set, frozenset)):
        return '<%s>' % ','.join(sorted(canonical(item) for item in value))
    if isinstance(value, (list, tuple)):
        return '[%s]' % ','.join(canonical(item) for item in value)
    if isinstance(value, int):
        # Python refuses to write an int of very many digits in decimal.
        return '%s %s' % (type(value).__name__, hex(value))
    return '%s %r' % (type(value).__name__, value)
