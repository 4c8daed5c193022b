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
"""Maskers: keep the secrets of an input out of all that a run shows.

Each text of a run is masked once, when it is written, and shown as stored.
The fields with a password in the worker type's schema hold the secrets.
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


# Characters: the shortest secret, and the shortest line of a secret of several
# lines, that is masked.  Shorter ones occur by chance in most texts.
_SHORTEST = 3
_SHORTEST_LINE = 8

# Levels of a schema and of a value that are searched for passwords.  A schema
# may contain itself.  A field below the last level counts as a password.
_DEEPEST = 5
_DEEPEST_VALUE = 50

#: Limits of a masker: forms of secrets, characters in all forms together, and
#: characters of secrets that need escaping and so have many forms.  The time
#: of a search grows with the number of forms, the time to make them with the
#: characters.  Beyond a limit all texts of the run are hidden.
FORMS_LIMIT = 4000
FORMS_SIZE = 1000000
ODD_SIZE = 8000


class Masker(ShowsAll):
    """Hides *forms*: the secrets in the fields *names* in all their forms.

    *forms* is None if they are too many or not known: then every text is
    hidden.  Masking takes time in proportion to the text.
    """

    def __init__(self, forms, names=()):
        self.forms = forms
        self.names = names
        self.hides_all = forms is None
        self._longest = _LONGEST_SIGN * max(
            map(len, forms or ()), default=0)

    def text(self, text):
        if self.hides_all:
            return text and MASK
        spans = self._find(text)
        return _cover(text, spans, 0, len(text)) if spans else text

    def head(self, text, size):
        if self.hides_all:
            return MASK[:size]
        text = text[:size + self._longest]
        return _cover(text, self._find(text), 0, size)[:size]

    def tail(self, text, size):
        if self.hides_all:
            return MASK[:size]
        text = text[-size - self._longest:]
        return _cover(text, self._find(text), max(0, len(text) - size),
                      len(text))[-size:]

    def data(self, value):
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self._data_of_dict(value)
        if isinstance(value, (list, tuple, set, frozenset)):
            return type(value)(self.data(item) for item in value)
        # A number, a date or bytes: masked as a whole or not at all.
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
            while unique in masked:   # two masked keys look alike
                number += 1
                unique = '%s %d' % (key, number)
            masked[unique] = self.data(item)
        return masked

    def _find(self, text):
        """Return the spans of *text* to hide: [(begin, end)], sorted.

        A secret may be encoded twice, as in a query within a query.
        """
        spans = self._search(text)
        for once, locate in _read(text):
            found = self._search(once)
            for twice, locate_once in _read(once):
                found += itertools.starmap(locate_once, self._search(twice))
            spans += itertools.starmap(locate, found)
        spans.sort()
        return spans

    def _search(self, text):
        """Return the span of each form in *text*: [(begin, end)]."""
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

    Spans that overlap share a mask.  A span that lies only partly within the
    range is masked as well.
    """
    parts = []
    at = begin
    covered = None   # end of the last masked span
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
    """Return the masker for the secrets of *input*.

    The secrets are the texts in fields of *schema* with a password, at any
    depth: all texts of a list, dict or object that holds a password.
    *schema* and *input* may be None.  *input* need not fit *schema*.
    """
    names = secretNames(schema)
    if not names:
        return SHOWS_ALL
    return Masker(_forms_of(
        text for name in names
        for text in _texts(_get(input, name), schema[name])), names)


def secretNames(schema):
    """Return the names of the fields of *schema* that hold a password.

    *schema* may be None.
    """
    if schema is None:
        return ()
    return tuple(name for name, field in getFieldsInOrder(schema)
                 if _has_password(field))


def maskInput(schema, input):
    """Return *input* with secrets masked, in the order of the form.

    A value is masked as a whole if its field holds a password or is not in
    *schema*.  So all values are masked if *schema* is None.  Empty values
    stay: that nothing was given is not a secret.
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
    """Return the item or attribute *name* of *holder*, or None."""
    holder = removeSecurityProxy(holder)
    try:
        if isinstance(holder, dict):
            return holder.get(name)
        return getattr(holder, name, None)
    except Exception:
        return None   # code of the application may raise anything


def _may_be_keys(field):
    """Return whether the keys of a dict in *field* may be secrets."""
    key_type = getattr(field, 'key_type', None)
    return _has_password(key_type) or (
        key_type is None and not IObject.providedBy(field))


def _texts(value, field, depth=0):
    """Yield all texts in *value*, the value of *field* (which may be None)."""
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
    """Return all forms of *texts* as a tuple; None if they are too many."""
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
    """Return whether *text* has only characters that are never escaped."""
    return text.isascii() and text.isalnum()


def _forms(text):
    """Yield the forms in which *text* may occur in other texts.

    Forms that a `_Code` decodes are left out.
    """
    if len(text) < _SHORTEST:
        return
    variants = {text}
    if not text.isascii():
        variants.update(unicodedata.normalize(form, text)
                        for form in ('NFC', 'NFD', 'NFKC', 'NFKD'))
    if '\n' in text or '\r' in text:
        # A key in a file, say, is often logged line by line, or indented.
        variants.update(line for line in map(str.strip, text.splitlines())
                        if len(line) >= _SHORTEST_LINE)
    for variant in variants:
        yield variant
        yield from _encoded(variant)
        if _is_plain(variant):
            continue   # the forms below are all the same
        # UTF-8 bytes that were taken for Latin-1.
        yield variant.encode('utf-8', 'surrogatepass').decode('latin-1')
        yield clean(variant, len(variant))
        yield cleanLine(variant, len(variant))
        yield variant.replace("'", "''")   # SQL
        yield variant.replace('"', '""')   # CSV
        yield variant.replace("'", "'\"'\"'")   # a shell
        # A secret that itself looks encoded is decoded with the text around
        # it.
        for decoded, _locate in _read(variant):
            yield decoded


def _encoded(text):
    """Yield the bytes of *text* in hex, and in base64 at each offset."""
    for data in _bytes(text):
        yield data.hex()
        yield data.hex().upper()
        for offset in range(3):
            # Leave out characters that depend on the bytes before or after.
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
    """A way to escape characters of a text, as ``%20`` for a blank.

    Programs differ in which characters they escape.  So a text is decoded
    and then searched, rather than searched for each escaped form.
    """

    mark: str   # a text without it has nothing to decode
    pattern: re.Pattern
    decode: Callable

    def read(self, text):
        """Return (decoded text, function).

        The function maps a span of the decoded text to one of *text*.  It is
        None if nothing was decoded.
        """
        if self.mark not in text:
            return text, None
        parts = []
        at = size = 0
        # The positions at which plain parts (even index) and decoded parts
        # (odd index) begin, in the decoded text and in *text*.
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
    """Yield the result of `_Code.read` for each code that occurs in *text*."""
    for code in _CODES:
        decoded, locate = code.read(text)
        if locate is not None:
            yield decoded, locate
    if '+' in text:   # a blank in a query string
        decoded, locate = _CODES[0].read(text.replace('+', ' '))
        yield decoded, locate or (lambda begin, end: (begin, end))


def _from_hex(digits):
    """Return the text of UTF-8 bytes; other bytes are taken for Latin-1."""
    text = bytes.fromhex(digits).decode('utf-8', 'surrogateescape')
    return _ESCAPED_BYTE.sub(lambda match: chr(ord(match[0]) - 0xdc00), text)


def _decode_percent(run):
    if run[1] == 'u':
        return _from_units(run.replace('%u', ''))
    return _from_hex(run.replace('%', ''))


def _decode_entity(run):
    if run[1] != '#':
        return html.unescape(run)
    # html.unescape would drop control characters, as HTML5 says.
    return chr(min(int(run[3:-1], 16) if run[2] in 'xX' else int(run[2:-1]),
                   sys.maxunicode))


def _decode_bytes(run):
    return _from_hex(run.replace('\\x', ''))


def _decode_escape(run):
    """Return the text that *run* escapes in Python, JSON or C."""
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
    """Return the text of UTF-16 code units, given in hex."""
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
    # Escapes in the repr of bytes.
    _Code('\\x', re.compile(
        r'(?:\\x[0-9A-Fa-f]{2})+|\\.', re.DOTALL),
        lambda run: _decode_bytes(run) if len(run) > 2
        else _decode_escape(run)),
)

#: Characters: about the longest escape of one character, even escaped twice.
#: A text that is masked and cut is read so much further for each character
#: of the longest secret.
_LONGEST_SIGN = 12
