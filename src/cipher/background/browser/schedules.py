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
"""The schedules: next and last run, pause, run now."""
from urllib.parse import urlencode

import transaction
from zope.browserpage import ViewPageTemplateFile
from zope.component import queryUtility
from zope.security import checkPermission
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser.page import ACTION
from cipher.background.browser.page import FORM
from cipher.background.browser.page import READ
from cipher.background.browser.page import Page
from cipher.background.browser.page import Refused
from cipher.background.browser.page import getParameter
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _
from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import ScheduleNotFound


ACTIONS = ('pause', 'resume', 'run')


class SchedulesPage(Page):
    """The page of the schedules."""

    template = ViewPageTemplateFile('templates/schedules.pt')
    title = _('Schedules')
    tab = 'schedules.html'
    methods = FORM

    def update(self):
        asked = [action for action in ACTIONS if action in self.request.form]
        if asked and self.request.method in READ:
            self.refuseMethod(ACTION)
        elif asked:
            self.act(asked[0], getParameter(self.request, 'name'))
        self.schedules = [
            self._describe(status) for status
            in removeSecurityProxy(self.registry.listSchedules())]

    @property
    def may_manage(self):
        """Whether the principal may pause and run schedules."""
        return checkPermission(MANAGE_WORKERS, self.registry)

    def act(self, action, name):
        """Pause or resume that schedule, or run it now; and go on there."""
        url = self.registry_url + '/schedules.html'
        try:
            if action == 'run':
                run = removeSecurityProxy(self.registry.runSchedule(name))
                if run is not None:
                    url = '%s/%s/index.html' % (self.registry_url, run.id)
            else:
                self.registry.pauseSchedule(name, action == 'pause')
        except ScheduleNotFound:
            raise Refused(404, _('This schedule does not exist any more.'))
        transaction.get().note(
            'Background schedule %s: %s' % (cleanLine(name, 100), action))
        self.request.response.redirect(url, status=303)

    def _describe(self, status):
        format = self.presenter.format
        worker_type = queryUtility(IWorkerType, status.worker)
        return {
            'name': cleanLine(status.name),
            'worker': cleanLine(worker_type.title if worker_type is not None
                                else status.worker),
            'is_declared': worker_type is not None,
            'expression': cleanLine(status.expression),
            'next_at': format.iso(status.next_at),
            'next': format.dateTime(status.next_at),
            'last_at': format.iso(status.last_at),
            'last': format.dateTime(status.last_at),
            'last_url': status.last_run and '%s/%s/index.html' % (
                self.registry_url, status.last_run),
            'runs_url': '%s/runs.html?%s' % (self.registry_url, urlencode(
                {'type': status.worker}, errors='replace')),
            'is_paused': status.is_paused,
        }
