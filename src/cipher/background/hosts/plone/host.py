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
"""The host of sites of Plone.

A worker sees a site as a reader of a page does: with the browser layers, the
skin and the language of a request.
"""
import re

from AccessControl.SecurityManagement import getSecurityManager
from Acquisition import aq_base
from Acquisition import aq_chain
from Acquisition import aq_inner
from plone.app.uuid.utils import uuidToPhysicalPath
from plone.i18n.utility import setLanguageBinding
from plone.protect.interfaces import IDisableCSRFProtection
from plone.uuid.interfaces import IUUID
from zope.component import hooks
from zope.event import notify
from zope.globalrequest import getRequest
from zope.interface import alsoProvides
from zope.traversing.interfaces import BeforeTraverseEvent

from cipher.background.hosts.zope.host import Hidden
from cipher.background.hosts.zope.host import ZopeHost


_UID = re.compile('[0-9a-f]{32}')

# In a request that was made for work.
_MADE = 'cipher.background.made'


class PloneHost(ZopeHost):
    """An application of Zope with sites of Plone."""

    registry_advice = (
        'install the add-on "Background workers" in a site, or call '
        'addRegistry(site)')

    # Threads

    def enterSite(self, site):
        previous = super().enterSite(site)
        if previous[2] is not None:
            try:
                _dress(hooks.getSite(), previous[2])
            except BaseException:
                super().leaveSite(previous)
                raise
        return previous

    def beginInteraction(self, *participations):
        super().beginInteraction(*participations)
        self._speak_as_user()

    def endInteraction(self):
        super().endInteraction()
        self._speak_as_user()

    def _speak_as_user(self):
        """Let texts be in the language that the user has chosen."""
        request = getRequest()
        if request is None or _MADE not in request.other:
            return
        setLanguageBinding(request)
        get = getattr(getSecurityManager().getUser(), 'getProperty', None)
        language = get('language', '') if get is not None else ''
        binding = request.get('LANGUAGE_TOOL')
        if language and binding is not None:
            request['LANGUAGE'] = binding.LANGUAGE = language

    # Objects

    def locate(self, ob, place):
        found = super().locate(ob, place)
        if found is None and ob._p_jar is not None:
            path = self._find_by_uid(IUUID(ob, None))
            if path is not None:
                found = super().locate(ob, path)
        return found

    def traverse(self, ob, name, is_trusted=False):
        path = None if is_trusted or not _UID.fullmatch(name) else (
            self._find_by_uid(name))
        if path is None:
            return super().traverse(ob, name, is_trusted)
        if isinstance(ob, Hidden):
            ob = ob.__dict__['_hidden']
        start = self.placeOf(ob)
        if path[:len(start)] != start:
            raise LookupError(name)
        for step in path[len(start):]:
            ob = super().traverse(ob, step)
        return ob

    def _find_by_uid(self, uid):
        if not uid or hooks.getSite() is None:
            return None
        path = uuidToPhysicalPath(uid)
        return None if path is None else tuple(path.split('/'))

    # Requests

    def acceptRequest(self, request):
        # Otherwise plone.protect would abort what our page has answered.
        alsoProvides(request, IDisableCSRFProtection)


def _dress(site, request):
    """Let *request* have what a traversal of *site* gives it."""
    request.other[_MADE] = True
    for place in reversed(aq_chain(aq_inner(site))):
        if hasattr(aq_base(place), 'getPhysicalPath'):
            notify(BeforeTraverseEvent(place, request))
            set_up = getattr(aq_base(place), 'setupCurrentSkin', None)
            if set_up is not None:
                place.setupCurrentSkin(request)
    hooks.setSite(site)
