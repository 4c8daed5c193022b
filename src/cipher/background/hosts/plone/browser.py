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
"""The pages in the control panel of a site, in Plone's own look.

The main template of Plone cannot be the macro of our templates, because they
find names in other ways.  So the control panel is rendered first, and split
where the page belongs.
"""
import secrets
from html import escape

from plone.app.layout.viewlets.common import ViewletBase
from Products.CMFCore.utils import getToolByName
from Products.Five.browser import BrowserView
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from zope.browserpage import ViewPageTemplateFile as TrustedTemplate
from zope.component import hooks

from cipher.background.browser.frame import POLICY
from cipher.background.browser.frame import BackgroundMacros


class PloneMacros(BackgroundMacros):
    """The macros of the frame in a site that has installed the add-on."""

    index = TrustedTemplate('templates/page.pt')

    # Plone's own pages have styles and scripts in their markup.
    content_security_policy = (
        POLICY + "; style-src 'self' 'unsafe-inline'; "
        "script-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:")

    def frame(self, page):
        """Return what stands before the *page*, and what after it."""
        tool = getToolByName(hooks.getSite(), 'portal_url')
        frame = Frame(tool.getPortalObject(), self.request, page)
        before, _mark, after = frame().partition(frame.mark)
        return before, after


class Frame(BrowserView):
    """The control panel around a *page*."""

    __name__ = 'background-controlpanel'
    index = ViewPageTemplateFile('templates/frame.pt')

    def __init__(self, context, request, page):
        super().__init__(context, request)
        self.page = page
        self.mark = 'background-%s' % secrets.token_hex(16)

    def __call__(self):
        return self.index()


class Title(ViewletBase):
    """The title of a page in the head of the document."""

    def render(self):
        page = self.__parent__.page
        return '<title>%s</title>' % escape('%s — %s' % (
            page.say(page.title), self.context.title))
