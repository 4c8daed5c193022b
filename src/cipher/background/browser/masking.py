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
"""What a form took as a password is shown to nobody."""
from collections.abc import Mapping

from zope.schema import getFieldsInOrder
from zope.schema.interfaces import ICollection
from zope.schema.interfaces import IMapping
from zope.schema.interfaces import IObject
from zope.schema.interfaces import IPassword


MASK = '••••••••'
#: Shorter ones stand in a text by chance.
SECRET_LENGTH = 4


def mask(input, schema):
    """Yield (name, value) of *input* as it may be shown, in form order.

    Without a schema nothing says what is secret, so everything is.  That
    nothing was given is no secret.
    """
    fields = dict(getFieldsInOrder(schema)) if schema is not None else {}
    names = [name for name in fields if name in input]
    names += sorted(name for name in input if name not in fields)
    for name in names:
        field = fields.get(name)
        if input[name] and (field is None or _has_secrets(field)):
            yield name, MASK
        else:
            yield name, input[name]


def findSecrets(input, schema):
    """Return the texts in *input* that no log may show."""
    fields = dict(getFieldsInOrder(schema)) if schema is not None else {}
    return sorted({text for name, value in input.items()
                   if name in fields and _has_secrets(fields[name])
                   for text in _texts(value)
                   if len(text) >= SECRET_LENGTH}, key=len, reverse=True)


def scrub(text, secrets):
    """Return *text* with the *secrets* masked."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def _has_secrets(field, depth=0):
    if IPassword.providedBy(field):
        return True
    if depth > 5:
        return True
    if IObject.providedBy(field):
        return any(_has_secrets(inner, depth + 1)
                   for _name, inner in getFieldsInOrder(field.schema))
    inner = []
    if ICollection.providedBy(field):
        inner = [field.value_type]
    elif IMapping.providedBy(field):
        inner = [field.key_type, field.value_type]
    return any(_has_secrets(one, depth + 1)
               for one in inner if one is not None)


def _texts(value, depth=0):
    if isinstance(value, str):
        yield value
    elif depth > 5:
        return
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner, depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from _texts(inner, depth + 1)
