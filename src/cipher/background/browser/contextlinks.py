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
"""The link to the context of a run, if the reader may see that."""
from zope.security.interfaces import Forbidden
from zope.security.interfaces import Unauthorized

from cipher.background.browser.addresses import getPath
from cipher.background.browser.addresses import getRelativePath
from cipher.background.browser.addresses import isWithin
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _
from cipher.background.interfaces import RunNotFound
from cipher.background.util.host import getHost


def describeContext(checked, run_id, presenter, request):
    """Return {'title', 'url', 'path'} of the context, or None.

    Without permission to see the object, the title says only that.
    """
    try:
        ob = checked.getContext(run_id)
    except RunNotFound:
        return None
    if ob is None:
        return None
    unknown = {'title': presenter.say(
        _('An object that has no address or that you may not see')),
        'url': None, 'path': None}
    host = getHost()
    try:
        url = host.getURL(ob, request)
        # If the reader may not see the title, the name and the URL stay hidden
        # as well: they may reveal as much.
        title = getattr(ob, 'title', None) or ob.__name__ or url
    except (AttributeError, Unauthorized, Forbidden, LookupError, TypeError):
        return unknown
    if not isWithin(url, host.getRootURL(request)):
        return unknown
    return {'title': cleanLine(title, 200), 'url': getPath(url) or '/',
            'path': getRelativePath(
                url, host.getURL(checked.getSite(), request)) or None}
