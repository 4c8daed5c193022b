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
"""Secrets of an input: kept out of all that a run shows."""
import json

from zope.schema import getFieldsInOrder
from zope.schema.interfaces import IObject
from zope.schema.interfaces import IPassword

from cipher.background.text import CUT
from cipher.background.text import clean
from cipher.background.text import cleanLine


MASK = '•••'

# Shorter ones would mask half of each text.
_SHORTEST = 3

# A schema that holds itself is looked into so far.
_DEEPEST = 5


def secretsOf(schema, input):
    """Return the texts in *input* whose fields in *schema* are passwords.

    At whatever depth: all texts of a list, a dict or an object that holds
    a password are secrets, in each form in which they come into a text.
    *schema* may be None.  The longest first, so that none is left in part.
    """
    if schema is None:
        return ()
    texts = {text for name, field in getFieldsInOrder(schema)
             if _has_password(field)
             for secret in _texts(input.get(name)) for text in _forms(secret)
             if len(text) >= _SHORTEST}
    return tuple(sorted(texts, key=len, reverse=True))


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


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _texts(item)


def _forms(text):
    """Yield *text* as it is, cleaned, and quoted as by Python and JSON."""
    yield text
    yield clean(text, len(text))
    yield cleanLine(text, len(text))
    yield repr(text)[1:-1]
    yield repr('\'"' + text)[4:-1]   # where there are quotes of both kinds
    yield json.dumps(text)[1:-1]


def mask(value, secrets):
    """Return *value*, plain data, with the *secrets* in its texts masked."""
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return _mask_cut(value, secrets) if CUT in value else value
    if isinstance(value, dict):
        return {mask(key, secrets): mask(item, secrets)
                for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(mask(item, secrets) for item in value)
    return value


def _mask_cut(text, secrets):
    """Mask what is left of a secret where *text* was cut."""
    parts = text.split(CUT)
    for secret in secrets:
        for number, part in enumerate(parts):
            before, after = part.rstrip('\n'), part.lstrip('\n')
            for size in range(len(secret) - 1, _SHORTEST - 1, -1):
                if number < len(parts) - 1 and before.endswith(secret[:size]):
                    parts[number] = (
                        before[:-size] + MASK + part[len(before):])
                    break
                if number and after.startswith(secret[-size:]):
                    parts[number] = (
                        part[:len(part) - len(after)] + MASK + after[size:])
                    break
    return CUT.join(parts)
