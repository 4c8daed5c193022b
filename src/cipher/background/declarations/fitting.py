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
"""Check the input of a run against its schema, and convert it.

Every input comes through here, from a form, JSON, `IWorkerRegistry.start`, a
trigger, a schedule or a retry.  Stored input is checked once more when the
run begins: the schema may have changed.
"""
import cmath
import datetime
import decimal
import fractions
import pickle
import re
from types import SimpleNamespace

from zope.schema import getFieldsInOrder
from zope.schema.interfaces import IBool
from zope.schema.interfaces import IBytes
from zope.schema.interfaces import IChoice
from zope.schema.interfaces import ICollection
from zope.schema.interfaces import IDate
from zope.schema.interfaces import IDatetime
from zope.schema.interfaces import IDecimal
from zope.schema.interfaces import IFloat
from zope.schema.interfaces import IIntegral
from zope.schema.interfaces import IMapping
from zope.schema.interfaces import INumber
from zope.schema.interfaces import IRational
from zope.schema.interfaces import ITime
from zope.schema.interfaces import ITimedelta
from zope.schema.interfaces import IVocabularyTokenized
from zope.schema.interfaces import ValidationError
from zope.security.proxy import removeSecurityProxy

from cipher.background.util.plaindata import plainCopy
from cipher.background.util.text import safeRepr
from cipher.background.util.text import safeStr
from cipher.background.util.text import shortRepr
from cipher.background.util.transient import isTransient


#: Bytes of a pickled input.  It is stored in the run, and lists of runs load
#: it.  Larger data belong in an object of the application.
INPUT_LIMIT = 65536

_ISO = ((IDatetime, datetime.datetime), (IDate, datetime.date),
        (ITime, datetime.time))
_KINDS = (list, tuple, set, frozenset)

# A timedelta as str() writes it.
_SPAN = re.compile(r'(?:(-?[0-9]{1,9}) days?, )?([0-9]{1,2}):([0-5][0-9])'
                   r':([0-5][0-9](?:[.][0-9]{1,6})?)')

# An exponent of four digits or more: computing such a fraction would not end.
_ENDLESS = re.compile(r'[eE][+-]?[0-9_]{4}')
# Digits of a number: the limit of Python for converting an int to text.
_MOST_DIGITS = 4300


class Unfit(ValueError):
    """The values do not fit the schema.

    *errors* is {name of the field: text}; the name is None for an error of
    several fields.  These texts may quote a constraint and name keys.
    *public* is like *errors*, with texts that quote nothing of the values.
    *causes* is {name: exception}; pages translate the exceptions' messages.
    """

    def __init__(self, errors, public=None, causes=None):
        super().__init__('; '.join(errors.values()))
        self.errors = errors
        self.public = errors if public is None else public
        self.causes = causes or {}


def fit(schema, values, site=None):
    """Return *values* (a dict) as a plain deep copy that fits *schema*.

    Missing values get their defaults.  Vocabularies and defaults are bound to
    *site*, an object without a proxy, or None.  Convert, at any depth, what
    JSON cannot express: whole numbers to floats and decimals, ISO texts to
    dates and times, seconds to timedeltas, tokens to the values of their
    terms, lists to tuples and sets, keys of dicts.  Raise `Unfit` with all
    errors.
    """
    return _fit(schema, values, site, is_stored=False)


def fitAgain(schema, values, site=None):
    """Return (input, names left out) for *values* of an older schema.

    New fields get their defaults.  Values of removed fields are left out.
    Raise `Unfit` as `fit` does.
    """
    fields = dict(getFieldsInOrder(schema)) if schema is not None else {}
    kept = {name: value for name, value in values.items() if name in fields}
    return (_fit(schema, kept, site, is_stored=True),
            [name for name in values if name not in fields])


def _fit(schema, values, site, is_stored):
    if schema is None and values == {}:
        return {}   # most starts
    if not isinstance(values, dict):
        raise Unfit({None: 'expected the input as a dict, got %s; give one '
                     'with the names of the fields as keys'
                     % type(values).__name__})
    fields = dict(getFieldsInOrder(schema)) if schema is not None else {}
    unknown = sorted(set(values) - set(fields), key=safeRepr)
    if unknown:
        raise Unfit({None: 'expected input %s, got %s; leave that out or add '
                     'it to the schema' % (
                         _names(fields) or 'without any field',
                         _names(unknown))},
                    {None: 'expected input %s, got more; leave that out or '
                     'add it to the schema' % (
                         _names(fields) or 'without any field')})
    fitter = _Fitter(site, is_stored)
    fitted = {name: fitter.field(field, name, values)
              for name, field in fields.items()}
    fitter.check()
    if fields:
        fitter.invariants(schema, fitted)
    return fitted if is_stored else _limited(fitted)


class _Fitter:
    """Fits the values of one input, and collects the errors."""

    def __init__(self, site, is_stored):
        self._site = site
        self._is_stored = is_stored
        jar = getattr(site, '_p_jar', None)
        self._db = jar and jar.db()
        self.errors = {}
        self.public = {}
        self.causes = {}

    def field(self, field, name, values):
        """Return the value of *field*; None if there is an error."""
        given = name in values
        value = values.get(name)
        begin = 'input %r: expected a %s, %s ' % (
            name, type(field).__name__, 'got none' if not given
            else 'got a %s' % type(removeSecurityProxy(value)).__name__)
        try:
            # A vocabulary may be made from the contents of the site.
            bound = field.bind(self._site)
            if given and value is not None and value is field.missing_value:
                given = False
            value = _copy(value if given else bound.default, name)
            _check_numbers(value, name)
            if given:
                value = self._convert(value, bound)
                # Again: a text may have become any number.
                _check_numbers(value, name)
            bound.validate(value)
            return value
        except _Odd as error:
            self._note(name, error, 'input ', str(error), error.public)
        except Exception as error:
            if isTransient(error, self._db):
                raise
            # The schema, a constraint, a vocabulary or a default raised it.
            self._note(name, error, begin, *_explain(error))
        return None

    def invariants(self, schema, fitted):
        """Raise `Unfit` unless *fitted* meets the invariants of *schema*."""
        try:
            schema.validateInvariants(SimpleNamespace(**fitted))
        except Exception as error:
            if isTransient(error, self._db):
                raise
            self._note(None, error, 'input that fits the invariants of %s: '
                       'got another ' % schema.__name__, *_explain(error))
            self.check()

    def _note(self, name, error, begin, private, public):
        self.errors[name] = begin + private
        self.public[name] = begin + public
        self.causes[name] = error

    def check(self):
        """Raise `Unfit` if there was any error."""
        if self.errors:
            raise Unfit(self.errors, self.public, self.causes) from None

    # Conversion.  A value that cannot be converted stays as it is: the
    # validation reports it.

    def _convert(self, value, field):
        if field is None or value is None:
            return value
        if IChoice.providedBy(field):
            return value if self._is_stored else _value_of(value, field)
        if isinstance(value, str):
            return _from_text(value, field)
        if type(value) in (int, float):
            return _from_number(value, field)
        if isinstance(value, dict) and IMapping.providedBy(field):
            return self._convert_dict(value, field)
        if isinstance(value, _KINDS) and ICollection.providedBy(field):
            items = [self._convert(item, field.value_type) for item in value]
            kind = getattr(field, '_type', None)
            # JSON has only lists; of other kinds the validation decides.
            if kind not in _KINDS or not isinstance(value, (list, tuple)):
                kind = type(value)
            return kind(items)
        return value

    def _convert_dict(self, value, field):
        converted = {}
        for key, item in value.items():
            key = _key(key, field.key_type) if isinstance(
                key, str) else self._convert(key, field.key_type)
            if key in converted:
                raise _Odd(field.__name__ or 'a dict', 'each key once')
            converted[key] = self._convert(item, field.value_type)
        return converted


class _Odd(ValueError):
    """The value *name* is not as *expected*.

    *text* may quote the value; without it the public text is used.
    """

    def __init__(self, name, expected, text=None):
        self.public = '%r: expected %s, got another' % (name, expected)
        super().__init__(text or self.public)


def _copy(value, name):
    try:
        return plainCopy(value, name)
    except ValueError as error:
        raise _Odd(name, 'plain data', safeStr(error)) from None


def _from_text(text, field):
    for kind, made in _ISO:
        if kind.providedBy(field):
            try:
                # Python 3.10 cannot read a Z at the end.
                return made.fromisoformat(
                    text[:-1] + '+00:00' if text.endswith('Z') else text)
            except ValueError:
                return text
    if ITimedelta.providedBy(field):
        return _read_span(text)
    is_read = IBytes.providedBy(field) or INumber.providedBy(field) and not (
        IIntegral.providedBy(field) or IFloat.providedBy(field))
    return _read(text, field) if is_read else text


def _read(text, field):
    if INumber.providedBy(field) and _ENDLESS.search(text):
        return text
    try:
        return field.fromUnicode(text)
    except ValidationError:
        raise
    except (ValueError, ArithmeticError):
        return text


def _read_span(text):
    """Return the timedelta that Python writes as *text*; else *text* itself.
    """
    match = _SPAN.fullmatch(text)
    if match is None:
        return text
    days, hours, minutes, seconds = match.groups()
    try:
        return datetime.timedelta(
            int(days or 0), hours=int(hours), minutes=int(minutes),
            microseconds=int(decimal.Decimal(seconds) * 1000000))
    except OverflowError:
        return text


def _key(text, field):
    """Return the key *text* of a dict converted: JSON has only texts as keys.
    """
    if INumber.providedBy(field):
        return _read(text, field)
    if IChoice.providedBy(field):
        return _value_of(text, field)
    return text if field is None else _from_text(text, field)


def _from_number(number, field):
    if IFloat.providedBy(field) and type(number) is int:
        made = float(number) if abs(number) < 2 ** 1000 else number
        return made if made == number else number
    if IBool.providedBy(field):
        if number not in (0, 1):   # zope.schema accepts any number
            raise _Odd(field.__name__ or 'an item', 'a Bool')
        return bool(number)
    if IDecimal.providedBy(field):
        return decimal.Decimal(repr(number))
    if IRational.providedBy(field) and not IIntegral.providedBy(field) and (
            type(number) is float and cmath.isfinite(number)):
        # From the decimal text, so that 0.1 is a tenth.
        return fractions.Fraction(repr(number))
    if ITimedelta.providedBy(field):
        return datetime.timedelta(seconds=number)
    return number


def _value_of(value, field):
    """Return the value of the term with the token *value*; else *value*."""
    vocabulary = field.vocabulary
    if not isinstance(value, str) or not IVocabularyTokenized.providedBy(
            vocabulary) or value in vocabulary:
        return value
    try:
        term = vocabulary.getTermByToken(value)
    except LookupError:
        return value
    return plainCopy(term.value)


def _check_numbers(value, name):
    """Raise `_Odd` unless each number in *value* is finite and short."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_numbers(key, name)
            _check_numbers(item, name)
    elif isinstance(value, _KINDS):
        for item in value:
            _check_numbers(item, name)
    elif not _is_finite(value):
        raise _Odd(name, 'a number that is finite')
    elif not _is_short(value):
        raise _Odd(name, 'a number of fewer digits')


def _is_short(value):
    if isinstance(value, decimal.Decimal):
        return abs(value.adjusted()) < _MOST_DIGITS
    try:
        repr(value)
    except ValueError:
        return False
    return True


def _is_finite(value):
    if isinstance(value, decimal.Decimal):
        return value.is_finite()
    return not isinstance(value, (float, complex)) or cmath.isfinite(value)


def _limited(input):
    size = len(pickle.dumps(input, 3))
    if size > INPUT_LIMIT:
        raise Unfit({None: 'expected an input of at most %d bytes, got %d; '
                     'store it in an object and pass that as context'
                     % (INPUT_LIMIT, size)})
    return input


def _names(names):
    # A name that cannot be the name of a field may be a secret.
    shown = [shortRepr(name, 60) if safeStr(name).isidentifier() else '…'
             for name in list(names)[:10]]
    return ', '.join(shown + ['…'] * (len(names) > 10))


def _explain(error):
    """Return (text, public text) of *error*.

    The first is for the person who gave the value and may quote it.  The
    public one quotes nothing.
    """
    docs = (error.doc(), type(error).__doc__) if isinstance(
        error, ValidationError) else (error, '')
    return ['(%s)' % ': '.join(filter(None, (
        type(error).__name__, ' '.join(safeStr(doc or '').split()))))
        for doc in docs]
