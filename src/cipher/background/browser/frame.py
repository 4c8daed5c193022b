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
"""The frame around all pages: one view, which a host may override."""
from zope.browserpage import ViewPageTemplateFile
from zope.publisher.browser import BrowserView
from zope.publisher.interfaces import NotFound


class BackgroundMacros(BrowserView):
    """The view ``background_macros``: the macros of the frame.

    See `~cipher.background.browser.interfaces.IFramedPage` for what they may
    ask of the page.  A host that has a frame of its own registers a view of
    this name for its skin; the template of that has a macro ``page``.
    """

    index = ViewPageTemplateFile('templates/frame.pt')

    def __getitem__(self, name):
        return self.index.macros[name]

    def __call__(self):
        raise NotFound(self.context, self.__name__, self.request)
