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
import json
import re
import unicodedata
from urllib.parse import quote
from urllib.parse import quote_plus

from zope.schema import getFieldsInOrder
from zope.schema.interfaces import IObject
from zope.schema.interfaces import IPassword
from zope.security.proxy import removeSecurityProxy

from cipher.background.text import MASK
from cipher.background.text import SHOWS_ALL
from cipher.background.text import ShowsAll
from cipher.background.text import clean
from cipher.background.text import cleanLine
from cipher.background.text import safeStr


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

_QUOTES = '\'"'
_HEX = re.compile('%[0-9A-F]{2}')
_ENTITIES = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;',
             "'": '&#39;'}


class Masker(ShowsAll):
    """Hides *forms* of texts that the fields *names* of an input hold.

    Takes time in proportion to the text, whatever the text and the secrets.
    """

    def __init__(self, forms, names=()):
        self.forms = forms   # None: too many, or not known
        self.names = names
        self.hides_all = forms is None
        self._longest = max(map(len, forms or ()), default=0)

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
        spans = []
        for form in self.forms:
            begin = text.find(form)
            while begin >= 0:
                end = begin + len(form)
                spans.append((begin, end))
                begin = text.find(form, end)
        spans.sort()
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
    """Return whether nothing ever quotes or escapes *text*."""
    return text.isascii() and text.isalnum()


def _forms(text):
    """Yield the forms in which *text* comes into other texts."""
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
        yield from _in_addresses(variant)
        quoted = _quoted(variant)
        yield from quoted
        for once in quoted:
            yield from _escape_quotes(once.replace('\\', '\\\\'))
        for marked in _marked_up(variant):
            yield marked
            yield from _quoted(marked)


def _quoted(text):
    """Return *text* as it is when clean, and as Python and JSON quote it."""
    quoted = {clean(text, len(text)), cleanLine(text, len(text)),
              json.dumps(text)[1:-1],
              json.dumps(text, ensure_ascii=False)[1:-1]}
    for body in (repr(_QUOTES + text), ascii(_QUOTES + text),
                 *(repr(_QUOTES.encode() + data)[1:]
                   for data in _bytes(text))):
        # Where there are quotes of both kinds, these are escaped.
        quoted.update(_escape_quotes(body[4:-1].replace("\\'", "'")))
    return quoted


def _escape_quotes(text):
    """Return *text* as it stands between quotes of one kind or the other."""
    return text, text.replace("'", "\\'"), text.replace('"', '\\"')


def _in_addresses(text):
    """Yield *text* as it stands in addresses."""
    for safe in '', '/', "!*'()", '/:@':
        for make in quote, quote_plus:
            quoted = make(text, safe=safe, errors='surrogatepass')
            yield quoted
            yield _lower_hex(quoted)


def _lower_hex(quoted):
    return _HEX.sub(lambda match: match[0].lower(), quoted)


def _marked_up(text):
    """Yield *text* as it stands in markup, and in quotes of SQL and CSV."""
    for escaped in (html.escape(text), html.escape(text, quote=False),
                    ''.join(_ENTITIES.get(sign, sign) for sign in text),
                    html.escape(text).replace('&#x27;', '&apos;')):
        yield escaped
        yield escaped.encode('ascii', 'xmlcharrefreplace').decode('ascii')
        yield ''.join(sign if sign.isascii() else '&#x%x;' % ord(sign)
                      for sign in escaped)
    yield text.replace("'", "''")
    yield text.replace('"', '""')
    yield text.replace("'", "'\"'\"'")   # of a shell


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
