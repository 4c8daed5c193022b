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
"""The page of a site that leads to its registry or offers to add one."""
from functools import cached_property

from zope.browserpage import ViewPageTemplateFile

from cipher.background.browser import csrf
from cipher.background.browser.addresses import getURL
from cipher.background.browser.administration import REASON_LIMIT
from cipher.background.browser.administration import getReason
from cipher.background.browser.formatting import Formatter
from cipher.background.browser.page import ACTION
from cipher.background.browser.page import FORM
from cipher.background.browser.page import Page
from cipher.background.browser.page import Refused
from cipher.background.browser.page import getParameter
from cipher.background.browser.traversing import markRequest
from cipher.background.browser.traversing import queryRegistry
from cipher.background.i18n import _
from cipher.background.interfaces import REFUSE
from cipher.background.interfaces import InvalidSite
from cipher.background.interfaces import IRegistryInstaller
from cipher.background.interfaces import IVerbs
from cipher.background.util.host import getHost


class SitePage(Page):
    """Base of the pages of a site with or without a registry."""

    tabs = ()
    breadcrumbs = ()
    title = _('Background workers')

    def __call__(self):
        markRequest(self.request)
        return super().__call__()

    @property
    def registry(self):
        return None

    @property
    def registry_url(self):
        return None

    @property
    def tokens(self):
        return csrf.CookieTokens(self.request)

    @property
    def home(self):
        return self._describe_site(self.context)


class BackgroundPage(SitePage):
    """Leads to the site's own registry, or says that there is none."""

    template = ViewPageTemplateFile('templates/background.pt')

    def update(self):
        self.inherited = None
        registry = queryRegistry(self.context)
        if registry is not None:
            checked = IVerbs(registry)
            site = checked.getSite()
            url = getURL(registry, self.request)
            unwrap = getHost().unwrap
            if unwrap(site) is unwrap(self.context):
                self.request.response.redirect(url + '/index.html', 303)
                return
            if checked.may('listRuns'):
                self.inherited = {'url': url + '/index.html',
                                  'site': self._describe_site(site)['title']}
        self.can_add = IRegistryInstaller(self.context).mayInstall()
        self.add_url = '%s/@@addBackground' % getURL(
            self.context, self.request)


class RemoveRegistry(SitePage):
    """Asks for confirmation, then removes the site's own registry."""

    template = ViewPageTemplateFile('templates/uninstall.pt')
    title = _('Remove the registry')
    methods = FORM
    reason_limit = REASON_LIMIT
    problem = None

    @cached_property
    def installer(self):
        return IRegistryInstaller(self.context)

    @cached_property
    def own_registry(self):
        """The registry of the site itself; refuse if there is none."""
        registry = self.installer.queryRegistry()
        if registry is None:
            raise Refused(404, _('This site has no registry of its own.'))
        if not self.installer.mayUninstall():
            raise Refused(403, _('You are not allowed to see this page or to '
                                 'do this.'))
        return registry

    @property
    def tokens(self):
        return csrf.RegistryTokens(self.own_registry, self.request)

    def update(self):
        self.registry_page = getURL(
            getHost().protect(self.own_registry), self.request) + '/index.html'
        self.site_url = getURL(self.context, self.request)
        self.action_url = self.site_url + '/@@removeBackground.html'
        self.reason = getReason(self.request) or ''
        self.working, self.waiting = self.installer.countUnfinished()
        if self.request.method == 'POST':
            self._remove()

    def _remove(self):
        chosen = getParameter(self.request, 'unfinished') or REFUSE
        try:
            left = self.installer.uninstall(chosen, self.reason or None)
        except ValueError:
            self.request.response.setStatus(409)
            self.problem = self.say(_(
                'Some runs wait or are running.  Choose what happens to '
                'them.'))
            return
        if not left:
            getHost().currentTransaction().note(
                'Remove the registry of background workers')
        self.request.response.redirect(
            self.action_url if left else self.site_url + '/@@background.html',
            status=303)

    @property
    def numbers(self):
        """The numbers of running and waiting runs, as texts."""
        format = Formatter(self.request)
        return self.say(
            _('Running: ${working}.  Waiting: ${waiting}.'),
            working=format.number(self.working),
            waiting=format.number(self.waiting))


class AddRegistry(SitePage):
    """Adds a registry to the site: POST only."""

    methods = ACTION

    def update(self):
        try:
            registry = IRegistryInstaller(self.context).install()
        except InvalidSite:
            raise Refused(409, _('This site cannot hold a registry.'))
        getHost().currentTransaction().note(
            'Add the registry of background workers')
        self.request.response.redirect(
            getURL(getHost().protect(registry), self.request)
            + '/index.html', status=303)
