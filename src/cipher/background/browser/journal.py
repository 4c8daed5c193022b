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
"""The journal: the acts of administrators, with time and reason."""
from urllib.parse import urlencode

from zope.browserpage import ViewPageTemplateFile

from cipher.background.browser import descriptions
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Page
from cipher.background.browser.page import Published
from cipher.background.browser.page import Refused
from cipher.background.browser.page import getParameter
from cipher.background.i18n import _


PAGE_SIZE = 50


class Journal(Published):
    """Collects the data of the page and the JSON."""

    def readActions(self):
        """Return (plain data of the actions, key of the next page)."""
        before = getParameter(self.request, 'before') or None
        try:
            actions, older = self.checked.listActions(
                limit=PAGE_SIZE, before=before)
        except ValueError:
            raise Refused(400, _('The address of this page is not valid.  '
                                 'Start again from the newest entries.'))
        return [descriptions.describeAction(self.presenter, action)
                for action in actions], older


class JournalPage(Journal, Page):
    """The page of the journal."""

    template = ViewPageTemplateFile('templates/journal.pt')
    title = _('Journal')
    tab = 'journal.html'

    def update(self):
        self.actions, older = self.readActions()
        url = '%s/%s' % (self.registry_url, self.tab)
        self.older_url = older and '%s?%s' % (url, urlencode(
            {'before': older}))
        self.newest_url = url if getParameter(
            self.request, 'before') else None


class JournalJSON(Journal, JSONView):
    """The data of the journal."""

    def collect(self):
        """Return the plain data."""
        items, older = self.readActions()
        return {'items': items, 'older': older}
