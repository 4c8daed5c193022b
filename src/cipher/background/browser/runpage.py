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
"""One run: its page, its JSON, and the page that stops it."""
from operator import itemgetter
from urllib.parse import urlencode

import transaction
from zope.browserpage import ViewPageTemplateFile
from zope.component import queryMultiAdapter
from zope.component import queryUtility
from zope.schema import getFieldsInOrder
from zope.security import canAccess
from zope.security import checkPermission
from zope.security.interfaces import Forbidden
from zope.security.interfaces import Unauthorized
from zope.security.proxy import removeSecurityProxy
from zope.traversing.browser.interfaces import IAbsoluteURL

from cipher.background.browser import masking
from cipher.background.browser.formatting import plainValue
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import ACTION
from cipher.background.browser.page import FORM
from cipher.background.browser.page import READ
from cipher.background.browser.page import Page
from cipher.background.browser.page import Refused
from cipher.background.browser.page import RunView
from cipher.background.browser.page import getParameter
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import cleanText
from cipher.background.i18n import _
from cipher.background.interfaces import STOP_WORKERS
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import RunNotFound
from cipher.background.interfaces import RunNotStoppable


#: A page shows this much of a log, the end of it.
LOG_LIMIT = 100000
REASON_LIMIT = 200


class Run(RunView):
    """Collects what the page and the JSON of a run show."""

    def getStatus(self):
        """Return the plain data of the run; refuse where it is gone."""
        try:
            status = self.registry.getStatus(self.run_id)
        except RunNotFound:
            raise Refused(404, _('This run does not exist any more.'))
        return self.presenter.describeRun(status)

    def collect(self):
        """Return what is shown of the run."""
        data = self.getStatus()
        data['context'] = self._get_context()
        data['can_stop'] = data['is_stoppable'] and self.may_stop
        data['details'] = None
        history = ()
        if self.can_see_details:
            details = removeSecurityProxy(
                self.registry.getDetails(self.run_id))
            history = details.history
            data['details'] = self._get_details(data, details)
        # As it happened; what has the same time stays in its order.
        data['timeline'] = sorted(self._get_timeline(data, history),
                                  key=itemgetter('at'))
        return data

    @property
    def may_stop(self):
        """Whether the principal may stop runs at all."""
        return checkPermission(STOP_WORKERS, self.registry)

    def _get_timeline(self, data, history):
        say, text, stop = self.presenter.say, data['text'], data['stop']
        format = self.presenter.format

        def entry(id, title, at, shown, note=''):
            return {'id': id, 'title': say(title), 'at': at, 'shown': shown,
                    'note': note}

        yield entry('created', _('Created'), data['created_at'],
                    text['created'], text['starter'] and say(
                        _('by ${who}'), who=text['starter']))
        for number, (began_at, seconds, kind, text_) in enumerate(history, 1):
            yield entry(
                'attempt-%d' % number, _('An attempt failed'),
                format.iso(began_at + seconds),
                format.dateTime(began_at + seconds),
                cleanLine('%s: %s' % (kind, text_)))
        if data['due_at']:
            yield entry('due', _('Due'), data['due_at'], text['due'])
        if data['started_at']:
            yield entry('started', _('Began'), data['started_at'],
                        text['started'], say(
                            _('waited ${span}'), span=text['waited']))
        if stop:
            who = self.presenter.getPrincipal(stop['principal'])
            note = who and say(_('by ${who}'), who=who)
            if stop['reason']:
                note = '%s: %s' % (note, stop['reason'])
            yield entry('stop', _('Stop requested'), stop['asked_at'],
                        text['stop_asked'], note)
        if data['finished_at']:
            yield entry('finished', _('Finished'), data['finished_at'],
                        text['finished'], text['took'] and say(
                            _('took ${span}'), span=text['took']))

    def _get_context(self):
        try:
            ob = self.registry.getContext(self.run_id)
        except RunNotFound:
            return None
        if ob is None:
            return None
        unknown = {'title': self.presenter.say(
            _('An object without an address, or that you may not see')),
            'url': None}
        try:
            url = str(queryMultiAdapter((ob, self.request), IAbsoluteURL))
            title = getattr(ob, 'title', None) if canAccess(
                ob, 'title') else None
            title = title or getattr(ob, '__name__', None) or url
        except (Unauthorized, Forbidden, LookupError, TypeError):
            return unknown
        if not url.startswith(self.request.getApplicationURL()):
            return unknown
        return {'title': cleanLine(title, 200), 'url': url}

    def _get_details(self, data, details):
        worker_type = queryUtility(IWorkerType, data['type'])
        schema = worker_type and worker_type.schema
        secrets = masking.findSecrets(details.input, schema)
        return {
            'input': [
                {'id': cleanLine(name), 'title': self._get_title(name, schema),
                 'value': cleanText(plainValue(value), 10000)}
                for name, value in masking.mask(details.input, schema)],
            'traceback': cleanText(
                masking.scrub(details.traceback, secrets)) or None,
            'log': cleanText(masking.scrub(
                (details.log or '')[-LOG_LIMIT:], secrets)) or None,
        }

    def _get_title(self, name, schema):
        field = dict(getFieldsInOrder(schema)).get(name) if schema else None
        if field is None or not field.title:
            return cleanLine(name)
        return cleanLine(self.presenter.say(field.title))


class RunPage(Run, Page):
    """The page of a run."""

    template = ViewPageTemplateFile('templates/run.pt')
    tab = 'runs.html'

    def update(self):
        self.data = self.collect()
        self.poll_url = self.run_url + '/index.json'
        self.type_url = '%s/runs.html?%s' % (self.registry_url, urlencode(
            {'type': self.data['type']}))

    @property
    def title(self):
        return _('Run ${id}', mapping={'id': self.run_id})

    @property
    def breadcrumbs(self):
        return super().breadcrumbs + [
            {'title': _('Runs'), 'url': self.registry_url + '/runs.html'}]


class RunJSON(Run, JSONView):
    """The data of a run, for the script on the page."""


class StopPage(Run, Page):
    """Asks whether to stop a run, and why; then does it."""

    template = ViewPageTemplateFile('templates/stop.pt')
    tab = 'runs.html'
    methods = FORM
    problem = None
    reason = ''
    reason_limit = REASON_LIMIT

    def update(self):
        self.data = self.getStatus()
        self.reason = cleanLine(
            getParameter(self.request, 'reason'), REASON_LIMIT)
        asked = 'stop' in self.request.form
        if self.request.method in READ:
            if asked:
                self.refuseMethod(ACTION)
        elif asked:
            self.stop()

    def stop(self):
        """Ask the run to stop, and go back to its page."""
        try:
            self.registry.requestStop(self.run_id, self.reason or None)
        except RunNotFound:
            raise Refused(404, _('This run does not exist any more.'))
        except RunNotStoppable:
            self.problem = _('The run is finished already: there is nothing '
                             'to stop.')
            self.request.response.setStatus(409)
            return
        transaction.get().note('Stop background run %s%s' % (
            self.run_id, self.reason and ': ' + self.reason))
        self.request.response.redirect(
            self.run_url + '/index.html', status=303)

    @property
    def title(self):
        return _('Stop run ${id}?', mapping={'id': self.run_id})

    @property
    def breadcrumbs(self):
        return super().breadcrumbs + [
            {'title': _('Runs'), 'url': self.registry_url + '/runs.html'},
            {'title': _('Run ${id}', mapping={'id': self.run_id}),
             'url': self.run_url + '/index.html'}]
