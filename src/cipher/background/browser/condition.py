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
"""How a run does and what belongs to it, as plain data for its page.

*presenter* is the `Presenter` of the request.  *data* is the result of its
`describeRun`.
"""
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _
from cipher.background.i18n import plural
from cipher.background.interfaces import BY_SCHEDULE
from cipher.background.interfaces import BY_SERVICE
from cipher.background.interfaces import BY_TRIGGER
from cipher.background.interfaces import ELSEWHERE
from cipher.background.interfaces import RUNNING


#: Seconds.  Only a run that has been at one place for longer is said to be.
UNMOVED_AFTER = 5.0


def describeFigures(presenter, data, health):
    """Return the figures of a running run: label, value, what is usual."""
    if data['state'] != RUNNING:
        return []
    say, span = presenter.say, presenter.format.duration
    now = presenter.now
    found = []

    def add(id, title, value, more='', is_bad=False):
        found.append({'id': id, 'title': say(title), 'value': value,
                      'more': more, 'health': 'bad' if is_bad else ''})

    def ago(at):
        return say(_('${span} ago'), span=span(max(0.0, now - at)))

    if data['last_progress'] is not None:
        rate = presenter.format.number(60 * (health.rate or 0))
        add('progress', _('Last progress'), ago(data['last_progress']),
            say(_('${number} a minute'), number=rate) if health.rate else '',
            health.stalled_since is not None)
    usual = health.usual and say(_('usually ${span}'), span=span(health.usual))
    add('took', _('Running for'), data['text']['took'], usual or '',
        health.usual_most is not None and data['took'] is not None
        and data['took'] > health.usual_most)
    if data['progress_total']:
        add('left', _('Time left'), span(health.left) if (
            health.left is not None) else say(_('not known')))
    if data['stop'] and data['asked_at'] is not None:
        who = presenter.getPrincipal(data['stop']['principal']) or say(
            _('the system'))
        add('stop', _('Stop requested'), ago(data['asked_at']),
            say(_('by ${who}'), who=who), data['is_unresponsive'])
    if health.beat_at is not None:
        add('beat', _('Last heartbeat'), ago(health.beat_at),
            data['owner'] or '')
    return found


def describeTrouble(presenter, data, health):
    """Return what stands still, since when and what can be done, or None."""
    say, span = presenter.say, presenter.format.duration
    is_stalled = health.stalled_since is not None
    if data['is_finished'] or not (is_stalled or data['is_unresponsive']):
        return None
    if data['is_unresponsive']:
        title = say(_('No reaction to the stop that was requested ${span} '
                      'ago.'), span=span(presenter.now - data['asked_at']))
        wait = say(_('Wait: it stops as soon as its code looks whether it '
                     'should.'))
    else:
        title = say(_('No progress for ${span}.'), span=span(
            presenter.now - health.stalled_since))
        wait = say(_('Wait, or ask it to stop: it may still go on.'))
    others = [
        {'id': other.id, 'url': _url(presenter, other.id),
         'title': '%s %s' % (presenter.sayTitle(other.title), other.id)}
        for other in health.neighbours]
    return {
        'title': title,
        'about': say(_('Its process is alive, so the run is not lost.  A '
                       'thread cannot be ended alone.')),
        'wait': wait,
        'drain': say(_('Or finish and stop its process, ${process}.  At the '
                       'end of the drain this run cannot commit any more; '
                       'it is put back or interrupted, as its worker type '
                       'says.'), process=data['owner'] or '?'),
        'beside': say(plural(
            '${number} other run is in this process:',
            '${number} other runs are in this process:', len(others)))
        if others else say(_('You see no other run in this process.')),
        'others': others,
    }


def sayUnmoved(presenter, health):
    """Return for how long the run is at one place in the code, or ''."""
    since = health.unmoved_since
    span = since is not None and presenter.now - since
    if not span or span < UNMOVED_AFTER:
        return ''
    return presenter.say(_('Position unchanged for ${span}'),
                         span=presenter.format.duration(span))


def describeFamily(presenter, family):
    """Return the cause of a run, what it caused and its chain of retries."""
    started = [_relative(presenter, one) for one in family.children]
    return {
        'cause': _describe_cause(presenter, family.cause),
        'children': started,
        'started': presenter.say(plural(
            '${number} run in all', '${number} runs in all',
            family.started)) if family.started > len(started) else '',
        'retries': [_relative(presenter, one) for one in family.retries],
    }


def _relative(presenter, status):
    data = presenter.describeRun(status)
    return {key: data[key] for key in (
        'id', 'url', 'title', 'state', 'created_at', 'text')}


def _describe_cause(presenter, cause):
    if cause is None:
        return None
    kind, name = cause.kind, cleanLine(cause.name or '')
    url = None
    if kind == BY_SCHEDULE:
        text = presenter.say(_('Schedule ${name}'), name=name)
        url = '%s/schedules.html' % presenter.registry_url
    elif kind == BY_TRIGGER:
        text = presenter.say(_('Trigger, at the event ${name}'), name=name)
    elif kind == BY_SERVICE:
        text = presenter.say(_('Service: it is kept running'))
    elif kind == ELSEWHERE:
        text = presenter.say(_('A run of another registry'))
    else:
        text = presenter.say(_('The work of a run')) if cause.run_id else (
            presenter.say(_('A run that is no longer shown')))
    return {'text': text, 'url': url, 'run_id': cause.run_id,
            'run_url': cause.run_id and _url(presenter, cause.run_id)}


def _url(presenter, run_id):
    return '%s/%s/index.html' % (presenter.registry_url, run_id)
