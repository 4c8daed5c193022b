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
from zope.schema import getFieldsInOrder
from zope.schema.interfaces import IPassword


MASK = '•••'

# Shorter ones would mask half of each text.
_SHORTEST = 3


def secretsOf(schema, input):
    """Return the texts in *input* whose fields in *schema* are passwords.

    *schema* may be None.  The longest first, so that none is left in part.
    """
    if schema is None:
        return ()
    values = (str(input.get(name)) for name, field
              in getFieldsInOrder(schema) if IPassword.providedBy(field)
              and input.get(name) is not None)
    return tuple(sorted((value for value in values
                         if len(value) >= _SHORTEST), key=len, reverse=True))


def mask(value, secrets):
    """Return *value*, plain data, with the *secrets* in its texts masked."""
    if not secrets:
        return value
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {mask(key, secrets): mask(item, secrets)
                for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(mask(item, secrets) for item in value)
    return value
