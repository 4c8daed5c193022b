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
"""The attempts and the timeline of a run as plain data."""
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _
from cipher.background.i18n import plural
from cipher.background.interfaces import DRAINED
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import GONE
from cipher.background.interfaces import PUT_OFF
from cipher.background.interfaces import SHUT_DOWN
from cipher.background.interfaces import SILENT
from cipher.background.interfaces import UNRECORDED


#: {outcome of an attempt: message}.  An attempt that ended its run normally
#: needs no message.
OUTCOMES = {
    FAILED: _('An attempt failed'),
    PUT_OFF: _('Snoozed by its worker'),
    UNRECORDED: _('Its end could not be recorded'),
    SHUT_DOWN: _('Interrupted: its process was shut down'),
    DRAINED: _('Interrupted: its process finished and stopped'),
    GONE: _('Its process died'),
    SILENT: _('Its process sent no more heartbeats'),
}


def describeAttempts(presenter, details):
    """Return each `IAttempt` of an `IRunDetails` as a dict."""
    return [_describe(presenter, attempt,
                      number + (details.left_out if number > 1 else 0))
            for number, attempt in enumerate(details.attempts, 1)]


def _describe(presenter, attempt, number):
    format = presenter.format
    reason = attempt.error_text and cleanLine(attempt.error_text)
    who = presenter.getPrincipal(attempt.principal)
    by = who and presenter.say(_('by ${who}'), who=who)
    return {
        'number': number,
        'began_at': format.iso(attempt.began_at),
        'ended_at': format.iso(attempt.ended_at),
        'process': attempt.process and cleanLine(attempt.process),
        'outcome': attempt.outcome and cleanLine(attempt.outcome),
        'error_type': attempt.error_type and cleanLine(attempt.error_type),
        'error_text': reason or None,
        'principal': attempt.principal and cleanLine(attempt.principal),
        'text': {
            'began': format.dateTime(attempt.began_at),
            'ended': format.dateTime(attempt.ended_at),
            'outcome': presenter.say(OUTCOMES[attempt.outcome]) if (
                attempt.outcome in OUTCOMES) else '',
            'error': cleanLine(': '.join(filter(None, (
                attempt.error_type or by, reason)))),
        },
    }


def describeTimeline(presenter, data, attempts):
    """Return the entries of the timeline of a run, in order.

    *data* is the result of `Presenter.describeRun`.  *attempts* is the result
    of `describeAttempts`, or None without the permission to see them.
    """
    say, text = presenter.say, data['text']
    entries = [_entry('created', say(_('Created')), data['created_at'],
                      text['created'], text['starter'] and say(
                          _('by ${who}'), who=text['starter']))]
    if attempts is None and data['started_at']:
        entries.append(_entry('started', say(_('Began')), data['started_at'],
                              text['started'], data['attempts'] < 2
                              and _say_wait(presenter, data) or ''))
    before = 0
    for attempt in attempts or ():
        left_out = attempt['number'] - before - 1
        if left_out:
            entries.append(_entry('left-out', say(plural(
                '${number} execution is no longer kept',
                '${number} executions are no longer kept', left_out)),
                None, ''))
        entries += _list_entries(presenter, data, attempt)
        before = attempt['number']
    if data['due_at']:
        entries.append(_entry('due', say(_('Due')), data['due_at'],
                              text['due']))
    if data['finished_at']:
        entries.append(_entry(
            'finished', say(_('Finished')), data['finished_at'],
            text['finished'], text['took'] and say(
                _('took ${span}'), span=text['took'])))
    if data['stop']:
        _insert_stop(presenter, data, entries)
    return entries


def _list_entries(presenter, data, attempt):
    """Yield the entries of one attempt."""
    say, text, number = presenter.say, attempt['text'], attempt['number']
    notes = [attempt['process']]
    if number > 1:
        notes.insert(0, say(_('execution ${number}'),
                            number=presenter.format.number(number)))
    elif data['text']['waited']:
        notes.insert(0, _say_wait(presenter, data))
    if attempt['began_at']:
        yield _entry('began-%d' % number, say(_('Began')),
                     attempt['began_at'], text['began'],
                     '; '.join(filter(None, notes)))
    if text['outcome']:
        yield _entry('attempt-%d' % number, text['outcome'],
                     attempt['ended_at'], text['ended'],
                     text['error'] or attempt['process'] or '')


def _say_wait(presenter, data):
    return presenter.say(_('waited ${span}'), span=data['text']['waited'])


def _insert_stop(presenter, data, entries):
    stop = data['stop']
    who = presenter.getPrincipal(stop['principal'])
    note = who and presenter.say(_('by ${who}'), who=who)
    if stop['reason']:
        note = '%s: %s' % (note, stop['reason'])
    place = next((index for index, entry in enumerate(entries)
                  if (entry['at'] or '') > (stop['asked_at'] or '')
                  or entry['id'] == 'finished'), len(entries))
    entries.insert(place, _entry(
        'stop', presenter.say(_('Stop requested')), stop['asked_at'],
        data['text']['stop_asked'], note))


def _entry(id, title, at, shown, note=''):
    return {'id': id, 'title': title, 'at': at, 'shown': shown, 'note': note}
