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
"""Thresholds of a registry: the values from which something is a problem."""
import math

from zope.interface import implementer
from zope.schema import getFieldsInOrder
from zope.schema.interfaces import ValidationError

from cipher.background.interfaces import InvalidThreshold
from cipher.background.interfaces import IThresholds


@implementer(IThresholds)
class Thresholds:
    """The thresholds in force; *stored* is a dict of those not the default.
    """

    stalled_after: float | None
    stalled_factor: float
    busy_after: float | None
    failing_number: int | None
    failing_percent: float
    failing_factor: float
    paused_waiting: int | None
    late_after: float | None
    elsewhere_after: float | None
    jump_above: float | None

    def __init__(self, stored=()):
        stored = stored if type(stored) is dict else {}
        for name, field in FIELDS.items():
            value = stored.get(name, field.default)
            setattr(self, name, value if _fits(field, value)
                    else field.default)


FIELDS = dict(getFieldsInOrder(IThresholds))


def change(stored, values):
    """Return (dict to store instead of *stored*, dict of changed values).

    *values* are the new values by name.  Defaults are not stored.  Raise
    `InvalidThreshold` for an unknown name or a value that does not fit.
    """
    for name in values:
        if name not in FIELDS:
            raise InvalidThreshold(name, (
                'thresholds: expected some of %s, got %.100r; leave it out'
                % (', '.join(FIELDS), name)))
    now = vars(Thresholds(stored))
    news = {}
    for name, value in values.items():
        field = FIELDS[name]
        if type(value) is int and field._type is float:
            value = float(value)
        if not _fits(field, value):
            raise InvalidThreshold(name, (
                'threshold %s: expected %s, got %.100r; it says: %s' % (
                    name, _expected(field), value, field.description)))
        if value != now[name]:
            now[name] = news[name] = value
    return {name: value for name, value in now.items()
            if value != FIELDS[name].default}, news


def _fits(field, value):
    if value is None:
        return not field.required
    try:
        field.validate(value)
    except (ValidationError, TypeError):
        return False
    return type(value) is field._type and math.isfinite(value)


def _expected(field):
    said = 'a number from %s to %s' % (field.min, field.max)
    return said if field.required else said + ' or None'
