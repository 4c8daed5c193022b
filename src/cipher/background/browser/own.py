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
"""The progress of a run for its starter, who may have no rights here.

A page of the application shows it: "your import is at 40 %".  ZCML makes the
view public, so it checks its reader itself: only the starter of the run gets
an answer.  An unknown run, the run of another and no id at all are refused
alike.  A reader who may see runs gets 404 then, anybody else is unauthorized.
"""
from zope.security.interfaces import Unauthorized
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.monitoring import Watched
from cipher.background.browser.page import Refused
from cipher.background.browser.page import getParameter
from cipher.background.i18n import _
from cipher.background.interfaces import VIEW_WORKERS


#: What a starter may know of a run.
KEYS = ('id', 'title', 'state', 'is_finished', 'is_stopping', 'has_bar',
        'has_progress', 'progress_done', 'progress_total',
        'progress_percent', 'message')
TEXTS = ('state', 'progress', 'error', 'wait')


class OwnRunJSON(Watched, JSONView):
    """The progress of a run: ``own.json?run=7-41``."""

    def checkReader(self):
        run_id = getParameter(self.request, 'run')
        self.status = self.checked.getOwnStatus(run_id)
        if self.status is None and not self.checked.may('getStatus'):
            raise Unauthorized(
                removeSecurityProxy(self.context), 'own.json', VIEW_WORKERS)

    def update(self):
        if self.status is None:
            raise Refused(404, _('You have not started such a run.'))

    def collect(self):
        """Return the plain data."""
        data = self.presenter.describeRun(self.status)
        found = {key: data[key] for key in KEYS}
        found['text'] = {key: data['text'][key] for key in TEXTS}
        return found
