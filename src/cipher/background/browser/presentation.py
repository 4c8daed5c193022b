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
"""The data of the registry as plain data for templates and for JSON.

Every text is cleaned here.  All texts for people are made here, in the
language of the request, below the key ``text``.  The script on the page only
inserts these texts.
"""
import time
from urllib.parse import urlencode

from zope.i18nmessageid import Message

from cipher.background.browser.formatting import Formatter
from cipher.background.browser.formatting import plainValue
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import cleanText
from cipher.background.i18n import _
from cipher.background.i18n import plural
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import WAITS_FOR_LIMIT
from cipher.background.interfaces import WAITS_FOR_RESCUE
from cipher.background.interfaces import WAITS_FOR_RUNTIME
from cipher.background.interfaces import WAITS_FOR_THREAD
from cipher.background.interfaces import WAITS_FOR_TIME
from cipher.background.interfaces import WAITS_FOR_TURN
from cipher.background.interfaces import WAITS_WHILE_KEPT
from cipher.background.interfaces import WAITS_WHILE_PAUSED
from cipher.background.interfaces import WAITS_WHILE_QUIET
from cipher.background.interfaces import WAITS_WHILE_UNDECLARED
from cipher.background.util.principal import getTitle


STATE_TITLES = {
    PENDING: _('pending'),
    RUNNING: _('running'),
    SUCCEEDED: _('succeeded'),
    FAILED: _('failed'),
    STOPPED: _('stopped'),
    INTERRUPTED: _('interrupted'),
}

_WAITS = {
    WAITS_FOR_TIME: _('Waits until ${when}.'),
    WAITS_WHILE_PAUSED: _('Waits: its worker type is paused.'),
    WAITS_FOR_RUNTIME: _('Waits: no process carries out runs.'),
    WAITS_WHILE_QUIET: _('Waits: no process takes new runs.'),
    WAITS_WHILE_UNDECLARED: _('Waits: no process takes runs of its worker '
                              'type.'),
    WAITS_FOR_THREAD: _('Waits: all threads are busy.'),
    WAITS_FOR_RESCUE: _('Its process died; another one will rescue the run.'),
    WAITS_FOR_TURN: _('Waits for its turn.'),
    WAITS_WHILE_KEPT: _('Held: it came with a copy of the registry.  '
                        'Release or remove it on the overview.'),
}

#: Characters of the title and of the id of a principal.
TITLE_LIMIT = 200


class Presenter:
    """Makes plain data of the registry's snapshots for one request.

    *registry_url* is the path of the registry.
    """

    def __init__(self, registry_url, request):
        self.registry_url = registry_url
        self.format = Formatter(request)
        self.now = time.time()
        self._principals = {}

    def say(self, message, **mapping):
        """Return *message* in the language of the request."""
        return self.format.say(message, **mapping)

    def sayTitle(self, title):
        """Return the title of a run or of a worker type as one clean line.

        A title from ZCML is a message and is translated.  A title that code
        gave to a run is not.
        """
        return cleanLine(self.say(title) if isinstance(title, Message)
                         else title)

    def sayShort(self, at):
        """Return a time in the short form of lists."""
        return self.format.shortTime(at, self.now)

    def getState(self, state):
        """Return the name of a state."""
        return self.say(STATE_TITLES.get(state, cleanLine(state)))

    def getPrincipal(self, principal_id):
        """Return the title and the id of a principal; '' for None.

        Titles are not unique, so the id is always included.  It stands alone
        if there is no other title or if the principal is gone.
        """
        if principal_id is None:
            return ''
        if principal_id not in self._principals:
            self._principals[principal_id] = _get_title(principal_id)
        return self._principals[principal_id]

    def describeRun(self, status):
        """Return an `IRunStatus` as a dict."""
        url = '%s/%s' % (self.registry_url, status.id)
        return {
            'id': status.id,
            'url': url + '/index.html',
            'stop_url': url + '/stop.html',
            'retry_url': url + '/retry.html',
            'type': cleanLine(status.type),
            'title': self.sayTitle(status.title),
            'state': status.state,
            'type_url': self._get_list_url('type', status.type),
            'starter': _line_or_none(status.starter),
            'starter_url': self._get_list_url('user', status.starter),
            'asker': _line_or_none(status.asker),
            'created_at': self.format.iso(status.created_at),
            'started_at': self.format.iso(status.started_at),
            'finished_at': self.format.iso(status.finished_at),
            'due_at': self.format.iso(_due(status)),
            'waited': status.waited,
            'took': status.took,
            'attempts': status.attempts,
            'interruptions': status.interruptions,
            'progress_done': status.progress_done,
            'progress_total': status.progress_total,
            'progress_percent': _get_percent(status),
            'message': _line_or_none(status.message),
            'owner': _line_or_none(status.owner),
            'result': _text_or_none(plainValue(status.result)),
            'error_type': _line_or_none(status.error_type),
            'error_text': _text_or_none(status.error_text),
            'is_declared': status.is_declared,
            'is_stoppable': status.is_stoppable,
            'is_retryable': status.is_retryable,
            'is_beginnable': status.is_beginnable,
            'begin_obstacle': status.begin_obstacle,
            'is_removable': status.is_removable,
            # A list offers it where it is likely to be wanted.
            'is_retry_offered': (status.is_retryable
                                 and status.state != SUCCEEDED),
            'is_unresponsive': status.is_unresponsive,
            'is_paused': status.is_paused,
            'wait': self._describe_wait(status.wait),
            # A key of its own: the script cannot read an attribute of None.
            'wait_run': status.wait and status.wait.run_id,
            'wait_url': status.wait and status.wait.run_id and (
                '%s/%s/index.html' % (
                    self.registry_url, status.wait.run_id)),
            'progressed_at': self.format.iso(status.progressed_at),
            'is_finished': status.state in FINISHED_STATES,
            'is_stopping': (status.stop is not None
                            and status.state not in FINISHED_STATES),
            'has_bar': _get_percent(status) is not None,
            'has_progress': bool(status.message
                                 or status.progress_done is not None),
            'stop': self._describe_stop(status.stop),
            'retry': self._describe_retry(status.retry),
            'retry_obstacle': status.retry_obstacle,
            'retried_as': status.retried_as,
            'retried_url': status.retried_as and '%s/%s/index.html' % (
                self.registry_url, status.retried_as),
            'text': self._get_texts(status),
        }

    def _get_list_url(self, name, value):
        """Return the URL of the runs with that value of a filter."""
        return '%s/runs.html?%s' % (self.registry_url, urlencode(
            {name: value or ''}, errors='replace'))

    def _describe_wait(self, wait):
        if wait is None:
            return None
        return {'kind': wait.kind, 'until': self.format.iso(wait.until),
                'number': wait.number, 'run_id': wait.run_id}

    def _say_wait(self, wait):
        """Return the reason why a run waits; '' if it does not wait."""
        if wait is None:
            return ''
        if wait.kind == WAITS_FOR_LIMIT:
            return self.say(plural(
                'Waits: at most ${number} run of its type at once.',
                'Waits: at most ${number} runs of its type at once.',
                wait.number))
        return self.say(_WAITS[wait.kind],
                        when=self.format.dateTime(wait.until) or '')

    def _describe_stop(self, stop):
        if stop is None:
            return None
        return {
            'principal': _line_or_none(stop.principal),
            'asked_at': self.format.iso(stop.asked_at),
            'reason': _line_or_none(stop.reason),
        }

    def _describe_retry(self, retry):
        if retry is None:
            return None
        return {
            'run_id': retry.run_id,
            'url': '%s/%s/index.html' % (self.registry_url, retry.run_id),
            'principal': _line_or_none(retry.principal),
            'asked_at': self.format.iso(retry.asked_at),
            'reason': _line_or_none(retry.reason),
        }

    def _get_texts(self, status):
        say_time = self.format.dateTime
        waited = status.waited
        if waited is None and status.state == PENDING:
            waited = max(0.0, self.now - (status.due_at or status.created_at))
        return {
            'state': self.getState(status.state),
            'starter': self.getPrincipal(status.starter),
            'asker': self.getPrincipal(status.asker),
            'created': say_time(status.created_at),
            'created_short': self.sayShort(status.created_at),
            'started': say_time(status.started_at),
            'finished': say_time(status.finished_at),
            'finished_short': self.sayShort(status.finished_at),
            # What a button or a box is about.
            'subject': '%s %s' % (self.sayTitle(status.title), status.id),
            'due': say_time(_due(status)),
            'waited': self.format.duration(waited),
            'took': self.format.duration(status.took),
            'progress': self._get_progress(status),
            'stop': self._get_stop(status),
            'stop_asked': say_time(status.stop and status.stop.asked_at),
            'retry': self._get_retry(status.retry),
            'retried': (self.say(_('Retried as')) if status.retried_as
                        else ''),
            'retry_asked': say_time(status.retry and status.retry.asked_at),
            'wait': self._say_wait(status.wait),
            'wait_run': (self.say(_('Ahead of it:')) if status.wait
                         and status.wait.run_id else ''),
            'error': self._get_error(status),
            'note': (self._get_error(status) or self._get_stop(status)
                     or cleanLine(status.message)),
        }

    def _get_error(self, status):
        return cleanLine(': '.join(filter(None, (
            status.error_type, status.error_text))))

    def _get_progress(self, status):
        done = status.progress_done
        if done is None:
            return ''
        if not status.progress_total:
            return self.format.number(done)
        return self.say(_('${done} of ${total}'),
                        done=self.format.number(done),
                        total=self.format.number(status.progress_total))

    def _get_retry(self, retry):
        if retry is None:
            return ''
        said = self.say(_('Retried by ${who}'), who=self.getPrincipal(
            retry.principal) or self.say(_('the system')))
        reason = cleanLine(retry.reason or '')
        return '%s: %s' % (said, reason) if reason else said

    def _get_stop(self, status):
        stop = status.stop
        if stop is None:
            return ''
        who = self.getPrincipal(stop.principal) or self.say(_('the system'))
        if status.state in FINISHED_STATES:
            return self.say(_('stop requested by ${who}'), who=who)
        since = max(0.0, self.now - stop.asked_at)
        ago = self.format.duration(since)
        if status.is_unresponsive:
            return self.say(_('stop requested ${ago} ago by ${who}, '
                              'not responding'), ago=ago, who=who)
        return self.say(_('stop requested ${ago} ago by ${who}'),
                        ago=ago, who=who)


def _get_title(principal_id):
    title = getTitle(principal_id)
    if title and title != principal_id:
        return '%s (%s)' % (cleanLine(title, TITLE_LIMIT),
                            cleanLine(principal_id, TITLE_LIMIT))
    return cleanLine(principal_id, TITLE_LIMIT)


def _due(status):
    # After the begin of a run its due time does not matter any more.
    return status.due_at if status.state == PENDING else None


def _get_percent(status):
    if status.progress_done is None or not status.progress_total:
        return None
    percent = 100.0 * status.progress_done / status.progress_total
    return round(min(100.0, max(0.0, percent)), 1)


def _line_or_none(text):
    return None if text is None else cleanLine(text)


def _text_or_none(text):
    return cleanText(text, 10000) or None
