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
"""The management interface of Zope: a tab of sites, the frame of pages."""
import html
import re

from App.Management import Tabs
from zope.browserpage import ViewPageTemplateFile
from zope.component.interfaces import ISite

from cipher.background.browser.frame import POLICY
from cipher.background.browser.frame import BackgroundMacros
from cipher.background.browser.traversing import NAME
from cipher.background.util.host import getHost


#: The label of the tab.  Zope translates none.
LABEL = 'Background'

#: The page that the tab leads to.
PAGE = '@@background.html'

_TITLE = re.compile('(?s)<title>.*?</title>')
_RELATIVE = re.compile(r'(href=")(?![a-z]+:|[/#?"])')

_list_options = Tabs.filtered_manage_options


def _list_with_ours(self, REQUEST=None):
    options = _list_options(self, REQUEST)
    if ISite.providedBy(self) and (
            self.restrictedTraverse(PAGE, None) is not None):
        options = [*options, {'label': LABEL, 'action': PAGE}]
    return options


def initialize(context):
    """Give each site the tab.  Zope calls this once, when it starts."""
    # The classes of objects list their tabs each for itself, so this is the
    # one place for all of them.
    _list_with_ours.__doc__ = _list_options.__doc__
    Tabs.filtered_manage_options = _list_with_ours


class ZMIMacros(BackgroundMacros):
    """The macros of the frame of the management interface.

    Other people than those who may manage the site see the pages in our own
    frame.
    """

    zmi = ViewPageTemplateFile('zmi.pt')

    @property
    def index(self):
        return self.own if self.site is None else self.zmi

    @property
    def content_security_policy(self):
        if self.site is None:
            return POLICY
        # Zope has scripts and styles in its markup, pictures in its styles,
        # and shows its pages in frames of its own.
        return POLICY.replace(
            "frame-ancestors 'none'", "frame-ancestors 'self'") + (
            "; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
            "script-src 'self' 'unsafe-inline'")

    @property
    def site(self):
        """The site of the page, if its reader may manage it; or None."""
        host = getHost()
        for ob in host.lineage(self.context):
            if ISite.providedBy(ob):
                if not hasattr(ob, 'manage_page_header') or (
                        not host.mayManage(ob)):
                    return None
                return ob
        return None

    def before(self, view):
        """Return all of Zope's frame that stands before the page."""
        site, request = self.site, self.request
        path = site.absolute_url_path().rstrip('/')
        header = site.manage_page_header()
        header = _TITLE.sub(
            lambda found: '<title>%s</title>' % html.escape(
                view.say(view.title) if view.title else LABEL), header)
        header = header.replace(
            '<html lang="en">', '<html lang="%s" data-theme="light">' % (
                html.escape(view.language)))
        url = html.escape(site.absolute_url())
        steps = request._steps
        try:
            # The path that Zope shows ends at the site.
            if NAME in steps:
                request._steps = [*steps[:steps.index(NAME)], PAGE]
            tabs = site.manage_tabs(management_view=LABEL)
        finally:
            request._steps = steps
        for known in 'base_url=\'%s\'', 'href="%s"':
            tabs = tabs.replace(known % request['URL1'], known % url)
        return header + _RELATIVE.sub(
            lambda found: found[1] + html.escape(path) + '/', tabs)

    def after(self):
        """Return what stands after the page."""
        return self.site.manage_page_footer()
