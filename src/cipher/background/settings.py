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
"""The settings of a runtime."""
from zope.interface import implementer
from zope.schema import Choice
from zope.schema import Float
from zope.schema import Int
from zope.schema import getFields
from zope.schema.interfaces import ValidationError

from cipher.background.interfaces import IRuntimeSettings


_KINDS = {Int: 'number', Float: 'number of seconds'}


@implementer(IRuntimeSettings)
class RuntimeSettings:
    """See `~cipher.background.interfaces.IRuntimeSettings`."""

    def __init__(self, **settings):
        for name, field in getFields(IRuntimeSettings).items():
            value = settings.pop(name, field.default)
            _check(field, value)
            setattr(self, name, value)
        if settings:
            raise TypeError('runtime: expected the settings of '
                            'IRuntimeSettings, got %s' % sorted(settings))


def _check(field, value):
    try:
        field.validate(value)
    except ValidationError as error:
        raise ValueError(
            'runtime: expected %s to be %s, got %r (%s); it says: %s' % (
                field.__name__, _expected(field), value,
                type(error).__name__, field.description)) from None


def _expected(field):
    if isinstance(field, Choice):
        return 'one of %s' % ', '.join(
            repr(term.value) for term in field.vocabulary)
    return 'a %s from %s on' % (_KINDS[type(field)], field.min)
