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
from zope.schema import getFields

from cipher.background.interfaces import IRuntimeSettings


@implementer(IRuntimeSettings)
class RuntimeSettings:
    """See `~cipher.background.interfaces.IRuntimeSettings`."""

    def __init__(self, **settings):
        for name, field in getFields(IRuntimeSettings).items():
            value = settings.pop(name, field.default)
            field.validate(value)
            setattr(self, name, value)
        if settings:
            raise TypeError('runtime: expected the settings of '
                            'IRuntimeSettings, got %s' % sorted(settings))
