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
"""One run: its page, its JSON and its log."""
import hashlib
import re
from collections.abc import Sequence
from typing import Any
from typing import NoReturn
from urllib.parse import urlencode

from zope.browserpage import ViewPageTemplateFile
from zope.component import queryMultiAdapter
from zope.component import queryUtility
from zope.interface import implementer
from zope.publisher.browser import BrowserView
from zope.publisher.interfaces import NotFound
from zope.publisher.interfaces.browser import IBrowserPublisher
from zope.schema import getFieldsInOrder

from cipher.background.browser.condition import describeFamily
from cipher.background.browser.condition import describeFigures
from cipher.background.browser.condition import describeTrouble
from cipher.background.browser.condition import sayUnmoved
from cipher.background.browser.contextlinks import describeContext
from cipher.background.browser.formatting import plainValue
from cipher.background.browser.interfaces import IInputView
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.loglines import listLines
from cipher.background.browser.page import Page
from cipher.background.browser.page import Published
from cipher.background.browser.page import Refused
from cipher.background.browser.page import RunView
from cipher.background.browser.page import getParameter
from cipher.background.browser.stack import sortFrames
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import cleanText
from cipher.background.browser.timeline import describeAttempts
from cipher.background.browser.timeline import describeTimeline
from cipher.background.browser.types import mayStart
from cipher.background.browser.verbs import POSSIBLE_IF
from cipher.background.browser.verbs import TITLES
from cipher.background.browser.verbs import mayDo
from cipher.background.i18n import _
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import RunNotFound


#: Characters.  A page shows the end of a log, this much of it.
LOG_LIMIT = 100000
#: Characters of a log in a download, at most.
DOWNLOAD_LIMIT = 10000000

GONE = _('This run no longer exists.')


class Run(RunView):
    """Collects the data of the page and the JSON of a run."""

    data: dict[str, Any] = {}

    def getStatus(self):
        """Return the plain data of the run; refuse if it is gone."""
        try:
            status = self.checked.getStatus(self.run_id)
        except RunNotFound:
            raise Refused(404, GONE)
        return self.presenter.describeRun(status)

    def collect(self):
        """Return the data of the run that the reader may see."""
        data = self.getStatus()
        data['context'] = describeContext(
            self.checked, self.run_id, self.presenter, self.request)
        for verb, is_possible in POSSIBLE_IF.items():
            data['can_' + verb] = data[is_possible] and (
                self.checked.mayRetry(self.run_id) if verb == 'retry'
                else self.checked.mayStop(self.run_id) if verb == 'stop'
                else mayDo(self.checked, verb))
        health = self.checked.getHealth(self.run_id)
        status = self.checked.getStatus(self.run_id)
        data['asked_at'] = status.stop and status.stop.asked_at
        data['last_progress'] = status.progressed_at
        data['figures'] = describeFigures(self.presenter, data, health)
        data['trouble'] = describeTrouble(self.presenter, data, health)
        del data['asked_at'], data['last_progress']
        data['usual'], data['left'] = health.usual, health.left
        data['text']['usual'] = self.presenter.format.duration(health.usual)
        data['family'] = describeFamily(
            self.presenter, self.checked.getFamily(self.run_id))
        data['details'] = attempts = None
        if self.can_see_details:
            details = self.checked.getDetails(self.run_id)
            data['details'] = self._get_details(data, details)
            stack = self._get_stack(data)
            data['details'].update(
                stack=stack, **self._sort_stack(stack),
                unmoved=stack and sayUnmoved(self.presenter, health))
            attempts = data['details']['attempts']
        data['timeline'] = describeTimeline(self.presenter, data, attempts)
        return data

    def _sort_stack(self, stack):
        frames, groups = sortFrames(stack)
        for frame in frames:
            frame['id'] = '%s %s' % (frame['place'], frame['name'])
        say = self.presenter.say
        return {'frames': frames, 'folded': [
            {'id': str(number), 'code': group['code'], 'title': say(
                group['message'], names=', '.join(group['sources']))}
            for number, group in enumerate(groups)]}

    def _get_stack(self, data):
        if data['is_finished']:
            return None
        try:
            stack = self.checked.getStack(self.run_id)
        except RunNotFound:
            return None
        return cleanText(stack) or None

    def _get_details(self, data, details):
        schema = _get_schema(data['type'])
        log = cleanText(_end_of(details.log or ''))
        return {
            'input': [
                {'id': cleanLine(name), 'title': self._get_title(name, schema),
                 'value': cleanText(plainValue(value), 10000)}
                for name, value in details.input.items()],
            'traceback': cleanText(details.traceback) or None,
            'log': log or None,
            'log_end': log and _mark(log),
            'attempts': describeAttempts(self.presenter, details),
            'attempts_left_out': details.left_out,
            'log_url': self.run_url + '/log.txt',
        }

    def listLines(self, log):
        """Return *log*, a part of the log, as lines for the list."""
        return listLines(log or '', self.presenter.say,
                         self.data['details']['traceback'])

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
        details = self.data['details']
        self.log_lines = self.listLines(details['log']) if details else []
        self.processes_url = self.registry_url + '/processes.html'
        self.poll_url = self.run_url + '/index.json'
        self.type_url = '%s/type.html?%s' % (self.registry_url, urlencode(
            {'name': self.data['type']}, errors='replace'))
        context = self.data['context']
        self.context_runs_url = (
            context and context['path']
            and self._get_runs_url(context=context['path']))

    @property
    def verbs(self):
        """The acts that the principal may do to the run, with URLs."""
        return [{'title': self.say(title), 'shown_if': 'can_' + name,
                 'url': '%s/%s.html' % (self.run_url, name)}
                for name, title in TITLES.items()
                if mayDo(self.checked, name)
                or name == 'stop' and self.checked.mayStop(self.run_id)]

    @property
    def relatives(self):
        """The lists of the runs that belong to the run."""
        family = self.data['family']
        return [{'title': self.say(title), 'runs': family[name],
                 'list': 'family.' + name, 'number': name == 'children',
                 'show': 'family.%s.length' % name}
                for name, title in (
                    ('children', _('Runs that it started')),
                    ('retries', _('Chain of retries')))]

    @property
    def again_url(self):
        """URL of a form with the input of the run; None if there is none."""
        details, context = self.data['details'], self.data['context']
        path = context and context['path']
        name = self.data['type']
        if not details or not details['input'] or not mayStart(
                self.checked, name, path):
            return None
        query = {'type': name, 'like': self.run_id}
        if path:
            query['context.path'] = path
        return '%s/start.html?%s' % (
            self.registry_url, urlencode(query, errors='replace'))

    def _get_runs_url(self, **query):
        return '%s/runs.html?%s' % (
            self.registry_url, urlencode(query, errors='replace'))

    @property
    def input_view(self):
        """The view of the input: the view of the type, or ours."""
        for name in (self.data['type'], ''):
            view = queryMultiAdapter(
                (self.context, self.request), IInputView, name)
            if view is not None:
                view.run = self.data
                view.items = self.data['details']['input']
                return view

    @property
    def title(self):
        return _('Run ${id}', mapping={'id': self.run_id})

    @property
    def breadcrumbs(self):
        return super().breadcrumbs + [
            {'title': _('Runs'), 'url': self.registry_url + '/runs.html'}]


class RunJSON(Run, JSONView):
    """The data of a run, for the script on the page.

    With ``log_after``, the ``log_end`` of an earlier answer, there is only
    ``log_added`` instead of a ``log`` that has grown.  With ``log_lines`` as
    well, that text comes as a list of lines: ``lines_added`` or ``lines``.
    """

    def collect(self):
        self.data = data = super().collect()
        details = data['details']
        if details is None:
            return data
        added = details['log'] and _added(
            details['log'], getParameter(self.request, 'log_after'))
        if getParameter(self.request, 'log_lines'):
            if added is None or not details['log']:
                details['lines'] = self.listLines(details['log'])
            else:
                details['lines_added'] = self.listLines(added.lstrip('\n'))
            del details['log']
        elif added is not None and details['log']:
            del details['log']
            details['log_added'] = added
        return data


class RunLog(Run, Published):
    """The log of a run as a text to download."""

    content_type = 'text/plain;charset=utf-8'

    def render(self):
        try:
            details = self.checked.getDetails(self.run_id)
        except RunNotFound:
            raise Refused(404, GONE)
        # The id needs no quoting: it has only digits and a hyphen.
        self.request.response.setHeader(
            'Content-Disposition',
            'attachment; filename="run-%s.log.txt"' % self.run_id)
        return cleanText(details.log or '', DOWNLOAD_LIMIT)

    def renderRefusal(self, refused):
        return self.say(refused.message)


@implementer(IInputView, IBrowserPublisher)
class InputView(BrowserView):
    """Shows the input of a run as a list of names and values.

    It is not a page of its own, so its URL is not found.
    """

    template = ViewPageTemplateFile('templates/input.pt')
    run: dict[str, Any] | None = None
    items: Sequence[dict[str, Any]] = ()

    def browserDefault(self, request: Any) -> NoReturn:
        raise NotFound(self.context, self.__name__, request)

    def publishTraverse(self, request: Any, name: str) -> NoReturn:
        raise NotFound(self.context, name, request)

    def render(self) -> str:
        """Return the list as HTML."""
        return self.template()


def _end_of(log):
    """Return the end of *log*; a first line says that it was cut."""
    return log if len(log) <= LOG_LIMIT else '…' + log[1 - LOG_LIMIT:]


def _mark(log):
    """Return a text that stands for *log*: its length and a hash."""
    return '%d-%s' % (
        len(log), hashlib.sha256(log.encode('utf-8')).hexdigest()[:16])


def _added(log, mark):
    """Return what *log* has after the text of *mark*.

    Return None if that text is not its beginning.
    """
    number = mark.partition('-')[0]
    if not re.fullmatch('[0-9]{1,7}', number):
        return None
    length = int(number)
    return log[length:] if _mark(log[:length]) == mark else None


def _get_schema(type_name):
    worker_type = queryUtility(IWorkerType, type_name)
    return worker_type and worker_type.schema
