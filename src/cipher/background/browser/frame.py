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
from typing import Any
from typing import NoReturn

from zope.browserpage import ViewPageTemplateFile
from zope.publisher.browser import BrowserView
from zope.publisher.interfaces import NotFound


#: The Content-Security-Policy: our pages load from their own site only, and no
#: other page may frame them.
POLICY = ("default-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
          "form-action 'self'")


class BackgroundMacros(BrowserView):
    """The view ``background_macros``: the macros of the frame.

    `~cipher.background.browser.interfaces.IFramedPage` lists the attributes
    of a page that they may use.  A host with a frame of its own registers a
    view of this name for its skin, whose template has a macro ``page``.  A
    subclass's template inherits the macros that it does not have.
    """

    index: Any
    own = index = ViewPageTemplateFile('templates/frame.pt')

    #: The Content-Security-Policy of the pages in this frame.
    content_security_policy = POLICY

    def __getitem__(self, name: str) -> Any:
        try:
            return self.index.macros[name]
        except KeyError:
            return self.own.macros[name]

    def __call__(self) -> NoReturn:
        raise NotFound(self.context, self.__name__, self.request)


class RotterdamMacros(BackgroundMacros):
    """The macros of the frame in the skin Rotterdam; see rotterdam.zcml."""

    index = ViewPageTemplateFile('templates/rotterdam.pt')

    # The frame of Rotterdam has styles and an event handler in its markup.
    content_security_policy = (
        POLICY + "; style-src 'self' 'unsafe-inline'; "
        "script-src 'self' 'unsafe-inline'")
