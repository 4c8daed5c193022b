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
"""The registry nearest to an object."""
from zope.component.hooks import getSite
from zope.interface.interfaces import ComponentLookupError

from cipher.background.interfaces import IWorkerRegistry
from cipher.background.reference import lineage


def nearestRegistry(context=None):
    """Return the registry at or next above *context*, or None.

    By default that of the current site.
    """
    for obj in lineage(getSite() if context is None else context):
        try:
            return obj.getSiteManager().queryUtility(IWorkerRegistry)
        except (AttributeError, ComponentLookupError):
            continue   # no site; the next one above
    return None
