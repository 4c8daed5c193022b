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
"""Secrets of an input: kept out of all that a run shows.

Whatever a run keeps is masked once, as it is written, and shown as it is kept.
It is masked before it is cut, so no part of a secret is left where a text of
ours ends.
"""
import base64
import html
import itertools
import re
import sys
import unicodedata
from bisect import bisect_left
from bisect import bisect_right
from typing import Callable
from typing import NamedTuple

from zope.schema import getFieldsInOrder
from zope.schema.interfaces import IObject
from zope.schema.interfaces import IPassword
from zope.security.proxy import removeSecurityProxy

from cipher.background.util.text import MASK
from cipher.background.util.text import SHOWS_ALL
from cipher.background.util.text import ShowsAll
from cipher.background.util.text import clean
from cipher.background.util.text import cleanLine
from cipher.background.util.text import safeStr


# Shorter ones would mask half of each text, and shorter lines of a long one.
_SHORTEST = 3
_SHORTEST_LINE = 8

# A schema that holds itself is looked into so far, and so are values.
_DEEPEST = 5
_DEEPEST_VALUE = 50

#: Forms of secrets, and their characters in all, that texts are searched for,
#: and characters of secrets that have many forms.  The search takes time for
#: each of the first, to make them takes time for the others: beyond them all
#: texts of the run are hidden.
FORMS_LIMIT = 4000
FORMS_SIZE = 1000000
ODD_SIZE = 8000


class Masker(ShowsAll):
    """Hides *forms* of texts that the fields *names* of an input hold.

    Takes time in proportion to the text, whatever the text and the secrets.
    """

    def __init__(self, forms, names=()):
        self.forms = forms   # None: too many, or not known
        self.names = names
        self.hides_all = forms is None
        self._longest = _LONGEST_SIGN * max(
            map(len, forms or ()), default=0)

    def text(self, text):
        """See `text.ShowsAll`."""
        if self.hides_all:
            return text and MASK
        spans = self._find(text)
        return _cover(text, spans, 0, len(text)) if spans else text

    def head(self, text, size):
        """See `text.ShowsAll`."""
        if self.hides_all:
            return MASK[:size]
        text = text[:size + self._longest]
        return _cover(text, self._find(text), 0, size)[:size]

    def tail(self, text, size):
        """See `text.ShowsAll`."""
        if self.hides_all:
            return MASK[:size]
        text = text[-size - self._longest:]
        return _cover(text, self._find(text), max(0, len(text) - size),
                      len(text))[-size:]

    def data(self, value):
        """See `text.ShowsAll`."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self._data_of_dict(value)
        if isinstance(value, (list, tuple, set, frozenset)):
            return type(value)(self.data(item) for item in value)
        # A number, a date or bytes: all of it, if anything.
        shown = [safeStr(value)]
        if isinstance(value, bytes):
            shown += value.decode('utf-8', 'replace'), value.decode('latin-1')
        return value if all(
            self.text(text) == text for text in shown) else MASK

    def _data_of_dict(self, value):
        masked = {}
        for key, item in value.items():
            key = self.data(key)
            number = 1
            unique = key
            while unique in masked:   # two secrets look alike
                number += 1
                unique = '%s %d' % (key, number)
            masked[unique] = self.data(item)
        return masked

    def _find(self, text):
        """Return [(begin, end)] of all that is to be hidden, sorted."""
        spans = self._search(text)
        for once, locate in _read(text):
            found = self._search(once)
            for twice, locate_once in _read(once):
                found += itertools.starmap(locate_once, self._search(twice))
            spans += itertools.starmap(locate, found)
        spans.sort()
        return spans

    def _search(self, text):
        """Return [(begin, end)] of all forms in *text*."""
        spans = []
        for form in self.forms:
            begin = text.find(form)
            while begin >= 0:
                end = begin + len(form)
                spans.append((begin, end))
                begin = text.find(form, end)
        return spans


def _cover(text, spans, begin, end):
    """Return *text* from *begin* to *end*, with one mask for each span.

    For what overlaps there is one.  A span that lies only partly between is
    masked as well.
    """
    parts = []
    at = begin
    covered = None   # end of the last mask
    for first, last in spans:
        if last <= begin or first >= end:
            continue
        if covered is not None and first < covered:
            covered = max(covered, last)
        else:
            parts += text[at:max(at, first)], MASK
            covered = last
        at = max(at, covered)
    parts.append(text[at:end])
    return ''.join(parts)


def makeMasker(schema, input):
    """Return what hides the secrets of *input*: texts of passwords.

    At whatever depth: all texts of a list, a dict or an object that holds a
    password are secrets, in each form in which they come into a text.
    *schema* and *input* may be None; *input* need not fit.
    """
    names = secretNames(schema)
    if not names:
        return SHOWS_ALL
    return Masker(_forms_of(
        text for name in names
        for text in _texts(_get(input, name), schema[name])), names)


def secretNames(schema):
    """Return the names of the fields of *schema* that hold a password."""
    if schema is None:
        return ()
    return tuple(name for name, field in getFieldsInOrder(schema)
                 if _has_password(field))


def maskInput(schema, input):
    """Return *input* as it may be shown, in the order of the form.

    Masked is all of a field that holds a password, and what *schema* does not
    know; so all where it is None.  That nothing was given is no secret.
    """
    fields = dict(getFieldsInOrder(schema)) if schema is not None else {}
    names = [name for name in fields if name in input]
    names += sorted(name for name in input if name not in fields)
    return {name: MASK if input[name] and (
                name not in fields or _has_password(fields[name]))
            else input[name] for name in names}


def _has_password(field, depth=0):
    if field is None:
        return False
    if IPassword.providedBy(field) or depth > _DEEPEST:
        return True
    if IObject.providedBy(field):
        return any(_has_password(inner, depth + 1)
                   for _name, inner in getFieldsInOrder(field.schema))
    return any(_has_password(getattr(field, name, None), depth + 1)
               for name in ('value_type', 'key_type'))


def _get(holder, name):
    """Return that item or attribute of *holder*, None without one."""
    holder = removeSecurityProxy(holder)
    try:
        if isinstance(holder, dict):
            return holder.get(name)
        return getattr(holder, name, None)
    except Exception:
        return None   # an object of the application


def _may_be_keys(field):
    """Return whether the keys of a dict given for *field* may be secrets."""
    key_type = getattr(field, 'key_type', None)
    return _has_password(key_type) or (
        key_type is None and not IObject.providedBy(field))


def _texts(value, field, depth=0):
    """Yield all texts in *value*, which was given for *field* (or None)."""
    value = removeSecurityProxy(value)
    if isinstance(value, str):
        yield str.__str__(value)
    elif isinstance(value, (bytes, bytearray)):
        yield bytes(value).decode('utf-8', 'replace')
        yield bytes(value).decode('latin-1')
    elif depth > _DEEPEST_VALUE:
        return
    elif isinstance(value, dict):
        if _may_be_keys(field):
            for key in value:
                yield from _texts(key, None, depth + 1)
        for item in value.values():
            yield from _texts(
                item, getattr(field, 'value_type', None), depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _texts(
                item, getattr(field, 'value_type', None), depth + 1)
    elif IObject.providedBy(field) and value is not None:
        for name, inner in getFieldsInOrder(field.schema):
            yield from _texts(_get(value, name), inner, depth + 1)


# Forms

def _forms_of(texts):
    """Return all forms of *texts*, None where they are too many."""
    forms = set()
    size = odd_size = 0
    for text in set(texts):
        if not _is_plain(text):
            odd_size += len(text)
        if odd_size > ODD_SIZE:
            return None
        for form in _forms(text):
            if len(form) >= _SHORTEST and form not in forms:
                forms.add(form)
                size += len(form)
                if len(forms) > FORMS_LIMIT or size > FORMS_SIZE:
                    return None
    return tuple(forms)


def _is_plain(text):
    """Return whether nothing quotes or escapes *text*."""
    return text.isascii() and text.isalnum()


def _forms(text):
    """Yield the forms in which *text* comes into other texts.

    But for those that a `_Code` reads.
    """
    if len(text) < _SHORTEST:
        return
    variants = {text}
    if not text.isascii():
        variants.update(unicodedata.normalize(form, text)
                        for form in ('NFC', 'NFD', 'NFKC', 'NFKD'))
    if '\n' in text or '\r' in text:
        # What is logged line by line, or indented, as a key in a file.
        variants.update(line for line in map(str.strip, text.splitlines())
                        if len(line) >= _SHORTEST_LINE)
    for variant in variants:
        yield variant
        yield from _encoded(variant)
        if _is_plain(variant):
            continue   # the same in all others
        # Bytes in UTF-8 that were taken for Latin-1.
        yield variant.encode('utf-8', 'surrogatepass').decode('latin-1')
        yield clean(variant, len(variant))
        yield cleanLine(variant, len(variant))
        yield variant.replace("'", "''")   # of SQL
        yield variant.replace('"', '""')   # of CSV
        yield variant.replace("'", "'\"'\"'")   # of a shell
        # Of what looks encoded, where only other signs of it are.
        for decoded, _locate in _read(variant):
            yield decoded


def _encoded(text):
    """Yield the bytes of *text* in hex and, wherever they begin, in base64."""
    for data in _bytes(text):
        yield data.hex()
        yield data.hex().upper()
        for offset in range(3):
            # Signs that depend on what stands before and behind are left out.
            encoded = base64.b64encode(bytes(offset) + data + bytes(2))
            begin = -(-offset * 8 // 6)
            end = (offset + len(data)) * 8 // 6
            found = encoded.decode('ascii')[begin:end]
            if len(found) > _SHORTEST:
                yield found
                yield found.replace('+', '-').replace('/', '_')


def _bytes(text):
    """Yield the bytes of *text* in the usual encodings."""
    yield text.encode('utf-8', 'surrogatepass')
    if not text.isascii():
        try:
            yield text.encode('latin-1')
        except UnicodeEncodeError:
            pass


# Codes

class _Code(NamedTuple):
    """A way to write some signs of a text by others, as ``%20`` for a blank.

    Which signs those are differs from one program to the next, so a text is
    decoded to be searched.
    """

    mark: str   # without it there is nothing to decode
    pattern: re.Pattern
    decode: Callable

    def read(self, text):
        """Return (decoded text, function from a span in it to one in *text*).

        The function is None where nothing was decoded.
        """
        if self.mark not in text:
            return text, None
        parts = []
        at = size = 0
        # Where what is taken as it is begins, and what is decoded, in turns.
        decoded_at, text_at = [0], [0]
        for match in self.pattern.finditer(text):
            first, last = match.span()
            decoded = self.decode(match[0])
            size += first - at
            decoded_at += size, size + len(decoded)
            text_at += first, last
            parts += text[at:first], decoded
            size += len(decoded)
            at = last
        if not at:
            return text, None
        parts.append(text[at:])

        def locate(begin, end):
            index = bisect_right(decoded_at, begin) - 1
            first = text_at[index]
            if index % 2 == 0:
                first += begin - decoded_at[index]
            index = bisect_left(decoded_at, end) - 1
            last = text_at[index + 1] if index % 2 else (
                text_at[index] + end - decoded_at[index])
            return first, last

        return ''.join(parts), locate


def _read(text):
    """Yield what `_Code.read` gives of *text*, for each code that is in it.
    """
    for code in _CODES:
        decoded, locate = code.read(text)
        if locate is not None:
            yield decoded, locate
    if '+' in text:   # of a query
        decoded, locate = _CODES[0].read(text.replace('+', ' '))
        yield decoded, locate or (lambda begin, end: (begin, end))


def _from_hex(digits):
    """Return the text of bytes in UTF-8; what is none is taken for Latin-1."""
    text = bytes.fromhex(digits).decode('utf-8', 'surrogateescape')
    return _ESCAPED_BYTE.sub(lambda match: chr(ord(match[0]) - 0xdc00), text)


def _decode_percent(run):
    if run[1] == 'u':
        return _from_units(run.replace('%u', ''))
    return _from_hex(run.replace('%', ''))


def _decode_entity(run):
    if run[1] != '#':
        return html.unescape(run)
    # Not by the rules of HTML5, which drop control characters.
    return chr(min(int(run[3:-1], 16) if run[2] in 'xX' else int(run[2:-1]),
                   sys.maxunicode))


def _decode_bytes(run):
    return _from_hex(run.replace('\\x', ''))


def _decode_escape(run):
    """Return what *run* stands for in a text of Python, JSON or C."""
    kind = run[1]
    if kind == 'x' and len(run) > 2:
        return chr(int(run[2:], 16))
    if kind == 'u' and len(run) > 2:
        return _from_units(run.replace('\\u', ''))
    if kind == 'U' and len(run) > 2:
        return chr(min(int(run[2:], 16), sys.maxunicode))
    if kind == 'N' and len(run) > 2:
        try:
            return unicodedata.lookup(run[3:-1])
        except KeyError:
            return run
    if kind in '01234567':
        return chr(int(run[1:], 8))
    return _ESCAPES.get(kind, kind)


def _from_units(digits):
    """Return the text of units of UTF-16."""
    return bytes.fromhex(digits).decode('utf-16-be', 'surrogatepass')


_ESCAPED_BYTE = re.compile('[\udc80-\udcff]')
_ESCAPES = {'n': '\n', 't': '\t', 'r': '\r', 'f': '\f', 'v': '\v', 'b': '\b',
            'a': '\a'}

_CODES = (
    _Code('%', re.compile('(?:%[0-9A-Fa-f]{2})+|(?:%u[0-9A-Fa-f]{4})+'),
          _decode_percent),
    _Code('&', re.compile('&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|'
                          '[A-Za-z][A-Za-z0-9]{0,31});'), _decode_entity),
    _Code('\\', re.compile(
        r'\\x[0-9A-Fa-f]{2}|(?:\\u[0-9A-Fa-f]{4})+|\\U[0-9A-Fa-f]{8}|'
        r'\\N\{[A-Za-z0-9 -]{1,100}\}|\\[0-7]{1,3}|\\.', re.DOTALL),
        _decode_escape),
    # The same of bytes.
    _Code('\\x', re.compile(
        r'(?:\\x[0-9A-Fa-f]{2})+|\\.', re.DOTALL),
        lambda run: _decode_bytes(run) if len(run) > 2
        else _decode_escape(run)),
)

#: A sign that is encoded, even twice, takes about so many others at most.
_LONGEST_SIGN = 12
