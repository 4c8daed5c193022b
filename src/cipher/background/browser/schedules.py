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

from zope.browserpage import ViewPageTemplateFile
from zope.component import queryUtility

from cipher.background.browser import descriptions
from cipher.background.browser.administration import AdministrationPage
from cipher.background.browser.page import Refused
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import cleanText
from cipher.background.i18n import _
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import ScheduleNotFound


class SchedulesPage(AdministrationPage):
    """The page of the schedules."""

    template = ViewPageTemplateFile('templates/schedules.pt')
    title = _('Schedules')
    tab = 'schedules.html'
    verbs = ('pause', 'resume', 'run')
    asks = 'pauseSchedule'
    words = {
        'run': _('Run now'),
        'pause': _('Pause'),
        'about_pause': _('It starts no runs until it is resumed.'),
        'resume': _('Resume'),
    }

    def collect(self):
        self.schedules = [
            self._describe(status) for status
            in self.checked.listSchedules()]

    def act(self, verb, name, reason):
        """Pause or resume the schedule, or run it now."""
        try:
            if verb != 'run':
                self.checked.pauseSchedule(name, verb == 'pause', reason)
                return None
            run = self.checked.runSchedule(name)
        except ScheduleNotFound:
            raise Refused(404, _('This schedule no longer exists.'))
        return run and '%s/index.html' % run.id

    def _describe(self, status):
        format = self.presenter.format
        worker_type = queryUtility(IWorkerType, status.worker)
        return {
            'name': cleanLine(status.name),
            'worker': self.presenter.sayTitle(
                worker_type.title if worker_type is not None
                else status.worker),
            'is_declared': worker_type is not None,
            'expression': cleanLine(status.expression),
            'description': cleanText(self.say(status.description)),
            'next_at': format.iso(status.next_at),
            'next': format.dateTime(status.next_at),
            'next_short': self.presenter.sayShort(status.next_at),
            'last_at': format.iso(status.last_at),
            'last': format.dateTime(status.last_at),
            'last_short': self.presenter.sayShort(status.last_at),
            'last_url': status.last_run and '%s/%s/index.html' % (
                self.registry_url, status.last_run),
            'runs_url': '%s/runs.html?%s' % (self.registry_url, urlencode(
                {'type': status.worker}, errors='replace')),
            'history': descriptions.describeTicks(
                self.presenter, status.recent),
            'is_paused': status.is_paused,
            'may_run': self.checked.mayRunSchedule(status.name),
            'is_late': status.is_late,
            'pause': descriptions.sayPause(self.presenter, status),
        }
