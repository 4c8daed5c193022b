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
"""The processes that carry out runs: quiet, resume and drain."""
from zope.browserpage import ViewPageTemplateFile

from cipher.background.browser import descriptions
from cipher.background.browser.administration import AdministrationPage
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import Published
from cipher.background.browser.page import Refused
from cipher.background.i18n import _
from cipher.background.interfaces import ProcessNotFound


GONE = _('This process no longer exists.')


class Processes(Published):
    """Collects the data of the page and the JSON."""

    def listProcesses(self):
        """Return the plain data of each process."""
        return [descriptions.describeProcess(self.presenter, process)
                for process in self.checked.listProcesses()]

    def listEnded(self):
        """Return the plain data of each process that ended recently."""
        return [descriptions.describeEnded(self.presenter, process)
                for process in self.checked.listEndedProcesses()]


class ProcessesPage(Processes, AdministrationPage):
    """The page of the processes."""

    template = ViewPageTemplateFile('templates/processes.pt')
    title = _('Processes')
    tab = 'processes.html'
    verbs = ('quiet', 'unquiet', 'drain')
    asks = 'drainProcess'
    words = {
        'quiet': _('Stop taking new runs'),
        'about_quiet': _('Its runs continue.  Other processes take the '
                         'runs that wait in it.'),
        'unquiet': _('Resume'),
        'drain': _('Finish and stop'),
        'about_drain': _('It ends its work as at a shutdown.  Only a '
                         'restart makes it carry out runs again.'),
    }

    def collect(self):
        self.data = {'items': self.listProcesses(),
                     'ended': self.listEnded()}
        self.poll_url = self.registry_url + '/processes.json'

    def act(self, verb, name, reason):
        """Make that process quiet, resume it, or drain it."""
        try:
            if verb == 'drain':
                self.checked.drainProcess(name, reason)
            else:
                self.checked.quietProcess(name, verb == 'quiet', reason)
        except ProcessNotFound:
            raise Refused(404, GONE)


class ProcessesJSON(Processes, JSONView):
    """The data of the processes."""

    def collect(self):
        """Return the plain data."""
        return {'items': self.listProcesses(), 'ended': self.listEnded()}
