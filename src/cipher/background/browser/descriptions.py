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
"""Plain data for pages of processes, worker types, problems and actions.

The first argument of each function is the `Presenter` of the request.
"""
from collections import Counter
from urllib.parse import urlencode

from zope.component import queryUtility

from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import cleanText
from cipher.background.i18n import _
from cipher.background.i18n import plural
from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import BUSY_THREADS
from cipher.background.interfaces import CLOCK_JUMP
from cipher.background.interfaces import COPIED_DATABASE
from cipher.background.interfaces import DRAINED
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import FAILING_SUBSCRIBER
from cipher.background.interfaces import FAILING_TYPE
from cipher.background.interfaces import GONE
from cipher.background.interfaces import ID_PART
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import KEPT_RUNS
from cipher.background.interfaces import LATE_SCHEDULE
from cipher.background.interfaces import NEWER_DATABASE
from cipher.background.interfaces import NO_RUNTIME
from cipher.background.interfaces import NUMBER_PART
from cipher.background.interfaces import OLDER_PROCESS
from cipher.background.interfaces import PAUSED_TYPE
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import SCHEDULE_ELSEWHERE
from cipher.background.interfaces import SHUT_DOWN
from cipher.background.interfaces import SILENT
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import STALLED_RUN
from cipher.background.interfaces import STATES
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import STUCK_PROCESS
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import TEXT_PART
from cipher.background.interfaces import UNDECLARED_TYPE
from cipher.background.interfaces import UNRESPONSIVE_RUN
from cipher.background.interfaces import IWorkerType


#: {verb of an action: message about its subject}
VERBS = {
    'begin': _('run now'),
    'stop': _('stop requested'),
    'retry': _('retried'),
    'remove': _('removed'),
    'pause type': _('type paused'),
    'resume type': _('type resumed'),
    'pause schedule': _('schedule paused'),
    'resume schedule': _('schedule resumed'),
    'run schedule': _('schedule run now'),
    'quiet process': _('process: stop taking new runs'),
    'unquiet process': _('process: resume'),
    'drain process': _('process: finish and stop'),
    'change thresholds': _('problem thresholds changed'),
    'remove registry': _('registry removed'),
    'adopt database': _('copy of a database activated'),
    'begin kept': _('released from a copy'),
    'remove kept': _('removed from a copy'),
}


def describeProcess(presenter, process):
    """Return an `IProcessStatus` as a dict."""
    format, say = presenter.format, presenter.say
    # Zero before the first heartbeat.
    beat_at = process.beat_at or None
    return {
        'id': cleanLine(process.id),
        'name': cleanLine('%s:%s' % (process.host, process.pid)),
        'host': cleanLine(process.host),
        'pid': process.pid,
        'threads': process.threads,
        'busy': process.busy,
        'is_all_seen': process.is_all_seen,
        'started_at': format.iso(process.started_at),
        'beat_at': format.iso(beat_at),
        'is_here': process.is_here,
        'is_silent': process.is_silent,
        'is_quiet': process.is_quiet,
        'is_draining': process.is_draining,
        'is_copy': process.is_copy,
        'types': process.types and [
            cleanLine(name) for name in process.types],
        'asked_by': process.asked_by and cleanLine(process.asked_by),
        'health': 'silent' if process.is_silent else 'alive',
        'text': {
            'health': say(_('silent') if process.is_silent else _('alive')),
            'wish': _say_wish(presenter, process),
            'threads': _say_threads(presenter, process),
            'started': format.dateTime(process.started_at),
            'started_short': presenter.sayShort(process.started_at),
            'beat': format.dateTime(beat_at) or say(_('not yet')),
            'beat_short': presenter.sayShort(beat_at) or say(_('not yet')),
            'here': say(_('this process')) if process.is_here else '',
        },
    }


#: {how a process ended: message}
ENDS = {
    SHUT_DOWN: _('shut down'),
    DRAINED: _('finished and stopped'),
    GONE: _('died'),
    SILENT: _('died: no heartbeat'),
}


def describeEnded(presenter, process):
    """Return an `IEndedProcess` as a dict."""
    format, say = presenter.format, presenter.say
    who = presenter.getPrincipal(process.asked_by)
    note = who and say(_('by ${who}'), who=who)
    if process.reason:
        note = ': '.join(filter(None, (note, cleanLine(process.reason))))
    return {
        'id': cleanLine(process.id),
        'name': cleanLine('%s:%s' % (process.host, process.pid)),
        'host': cleanLine(process.host),
        'pid': process.pid,
        'started_at': format.iso(process.started_at),
        'beat_at': format.iso(process.beat_at or None),
        'ended_at': format.iso(process.ended_at),
        'how': cleanLine(process.how),
        'asked_by': process.asked_by and cleanLine(process.asked_by),
        'reason': process.reason and cleanLine(process.reason),
        'taken_over': process.taken_over,
        'runs': [{'id': run_id,
                  'url': '%s/%s/index.html' % (presenter.registry_url, run_id)}
                 for run_id in process.run_ids],
        'health': 'silent' if process.how in (GONE, SILENT) else 'ended',
        'text': {
            'how': say(ENDS[process.how]) if process.how in ENDS else '',
            'note': note,
            'started': format.dateTime(process.started_at),
            'started_short': presenter.sayShort(process.started_at),
            'beat': format.dateTime(process.beat_at or None),
            'beat_short': presenter.sayShort(process.beat_at or None),
            'ended': format.dateTime(process.ended_at),
            'ended_short': presenter.sayShort(process.ended_at),
            'taken_over': format.number(process.taken_over) if (
                process.taken_over) else '',
        },
    }


def _say_wish(presenter, process):
    who = presenter.getPrincipal(process.asked_by) or presenter.say(
        _('the system'))
    if process.is_draining:
        return presenter.say(
            _('finishes and stops; requested by ${who}'), who=who)
    if process.is_copy:
        return presenter.say(_('takes no new runs: the database is a copy'))
    if process.is_quiet:
        return presenter.say(
            _('takes no new runs; requested by ${who}'), who=who)
    if process.types is not None:
        return presenter.say(
            _('takes only runs of: ${types}'),
            types=', '.join(map(cleanLine, process.types)) or '–')
    return ''


def _say_threads(presenter, process):
    number = presenter.format.number
    if not process.is_all_seen:
        # Hidden runs may be busy, so the number of free threads is unknown.
        return presenter.say(
            _('${threads} in total, ${busy} busy with runs that you may see'),
            threads=number(process.threads), busy=number(process.busy))
    # Loops have threads of their own, so more runs may be busy than there are
    # threads for jobs.
    return presenter.say(_('${busy} busy, ${free} free'),
                         busy=number(process.busy),
                         free=number(max(0, process.threads - process.busy)))


def describeProblem(presenter, problem, with_stack=False, can_adopt=False,
                    can_manage=False):
    """Return an `IProblem` as a dict with an id, a text and links.

    *with_stack*: whether to include the stack of a thread.  *can_adopt* and
    *can_manage*: which buttons the reader may use.
    """
    text, page, label = _PROBLEMS[problem.kind](presenter, problem)
    return {
        'id': cleanLine(' '.join(filter(None, (
            problem.kind, problem.subject, problem.process)))),
        'kind': problem.kind,
        'subject': problem.subject and cleanLine(problem.subject),
        'since': presenter.format.iso(problem.since),
        'number': problem.number,
        'process': problem.process and cleanLine(problem.process),
        'error': problem.error and cleanLine(problem.error),
        'total': problem.total,
        'usual': problem.usual,
        'stack': cleanText(problem.stack or '') if with_stack else '',
        'text': text,
        'can_adopt': can_adopt and problem.kind == COPIED_DATABASE,
        'can_decide': can_manage and problem.kind == KEPT_RUNS,
        'url': '%s/%s' % (presenter.registry_url, page),
        'label': presenter.say(label),
    }


def _ago(presenter, problem):
    if problem.since is None:
        return ''
    return presenter.format.duration(presenter.now - problem.since)


def _say_no_runtime(presenter, problem):
    return (presenter.say(plural(
        '${number} run waits, but no process takes it.  Start a process '
        'with <background:runtime />, or resume one that takes no new runs.',
        '${number} runs wait, but no process takes them.  Start a process '
        'with <background:runtime />, or resume one that takes no new runs.',
        problem.number)),
        'runs.html?state=' + PENDING, _('Show the runs'))


def _say_copied(presenter, problem):
    name = _say_process(problem)
    if problem.subject:
        text = presenter.say(
            _('This database is a copy: it belongs to the deployment '
              '"${original}".  Process ${name} begins no runs, schedules '
              'or services.  New runs wait.'),
            original=cleanLine(problem.subject), name=name)
    else:
        text = presenter.say(
            _('This database is a copy or was moved: its file was at '
              'another place.  Process ${name} begins no runs, schedules '
              'or services.  New runs wait.'), name=name)
    return text, 'processes.html', _('Processes')


def _say_kept(presenter, problem):
    return (presenter.say(plural(
        '${number} run came with the copy of this registry and is held.  '
        'Release it, or remove it.',
        '${number} runs came with the copy of this registry and are held.  '
        'Release them, or remove them.', problem.number)),
        'runs.html?state=' + PENDING, _('Show the runs'))


def _say_silent(presenter, problem):
    return (presenter.say(
        _('Process ${name} is silent: its last heartbeat was ${ago} ago.'),
        name=cleanLine(problem.subject.rpartition(':')[0]),
        ago=_ago(presenter, problem)),
        'processes.html', _('Processes'))


def _say_unresponsive(presenter, problem):
    return (presenter.say(
        _('Run ${id} was asked to stop ${ago} ago and does not respond.'),
        id=cleanLine(problem.subject), ago=_ago(presenter, problem)),
        cleanLine(problem.subject) + '/index.html', _('Show the run'))


def _say_late(presenter, problem):
    return (presenter.say(
        _('Schedule "${name}" is late by ${ago}.'),
        name=cleanLine(problem.subject), ago=_ago(presenter, problem)),
        'schedules.html', _('Schedules'))


def _say_process(problem):
    return cleanLine(problem.process.rpartition(':')[0])


def _say_step(problem):
    # Names of steps and schedules come from code: they are not translated.
    return cleanLine(problem.subject)


def _say_stuck(presenter, problem):
    return (presenter.say(
        _('Process ${name} has been stuck in the step "${step}" for '
          '${ago}.  Its runs continue; it takes no new ones.'),
        name=_say_process(problem), step=_say_step(problem),
        ago=_ago(presenter, problem)),
        'processes.html', _('Processes'))


def _say_failing_step(presenter, problem):
    return (presenter.say(
        _('In process ${name}, the step "${step}" has been failing for '
          '${ago} with ${error}.  Everything else continues; the log has '
          'the details.'),
        name=_say_process(problem), step=_say_step(problem),
        ago=_ago(presenter, problem), error=cleanLine(problem.error)),
        'processes.html', _('Processes'))


def _say_broken(presenter, problem):
    return (presenter.say(
        _('The record of run ${id} has been failing to load for ${ago}: '
          '${error}.  All other runs continue; the log has the details.'),
        id=cleanLine(problem.subject), ago=_ago(presenter, problem),
        error=cleanLine(problem.error)),
        cleanLine(problem.subject) + '/index.html', _('Show the run'))


def _say_rescue(presenter, problem):
    return (presenter.say(
        _('The rescue or the stop of run ${id} has been failing for '
          '${ago}: ${error}.  All other runs continue; the log has the '
          'details.'),
        id=cleanLine(problem.subject), ago=_ago(presenter, problem),
        error=cleanLine(problem.error)),
        cleanLine(problem.subject) + '/index.html', _('Show the run'))


def _say_subscriber(presenter, problem):
    return (presenter.say(
        _('An event subscriber of run ${id} failed ${ago} ago with '
          '${error}.  Its changes were undone; the log has the details.'),
        id=cleanLine(problem.subject), ago=_ago(presenter, problem),
        error=cleanLine(problem.error)),
        cleanLine(problem.subject) + '/index.html', _('Show the run'))


def _say_jump(presenter, problem):
    return (presenter.say(
        _('The clock of process ${name} jumped by ${seconds} seconds '
          '${ago} ago.  Old runs are not pruned for an hour.'),
        name=_say_process(problem), seconds=cleanLine(problem.subject),
        ago=_ago(presenter, problem)),
        'processes.html', _('Processes'))


def _say_newer(presenter, problem):
    return (presenter.say(
        _('Process ${name} has an older release than the database, which '
          'now has structure ${number}.  It takes no new runs; restart it '
          'with the newer release.'),
        name=_say_process(problem), number=cleanLine(problem.subject)),
        'processes.html', _('Processes'))


def _say_older(presenter, problem):
    return (presenter.say(
        _('The database has been waiting for its upgrade for ${ago}: '
          'process ${name} has an older release.  End it, or restart it '
          'with the newer release.'),
        name=cleanLine(problem.subject.rpartition(':')[0]),
        ago=_ago(presenter, problem)),
        'processes.html', _('Processes'))


def _say_undeclared(presenter, problem):
    query = urlencode({'state': PENDING, 'type': problem.subject},
                      errors='replace')
    return (presenter.say(plural(
        '${number} run of "${type}" waits, but no process takes runs of '
        'that worker type.',
        '${number} runs of "${type}" wait, but no process takes runs of '
        'that worker type.', problem.number, type=cleanLine(problem.subject))),
        'runs.html?' + query, _('Show the runs'))


def _say_stalled(presenter, problem):
    ago = _ago(presenter, problem)
    run_id = cleanLine(problem.subject)
    if problem.usual is None:
        said = presenter.say(_('Run ${id} has made no progress for ${ago}.'),
                             id=run_id, ago=ago)
    else:
        said = presenter.say(
            _('Run ${id} has made no progress for ${ago}.  The longest run '
              'of its type took ${usual}.'), id=run_id, ago=ago,
            usual=presenter.format.duration(problem.usual))
    return said, run_id + '/index.html', _('Show the run')


def _say_busy(presenter, problem):
    return (presenter.say(
        _('All threads are busy: run ${id} has waited ${ago} for a free '
          'one.'),
        id=cleanLine(problem.subject), ago=_ago(presenter, problem)),
        'runs.html?state=' + RUNNING, _('Show the running ones'))


def _say_failing(presenter, problem):
    query = urlencode({'state': FAILED, 'type': problem.subject},
                      errors='replace')
    percent = presenter.format.percent
    said = presenter.say(plural(
        '${number} run of "${type}" failed in the last hour: ${percent} of '
        'all that finished.',
        '${number} runs of "${type}" failed in the last hour: ${percent} '
        'of all that finished.', problem.number,
        type=cleanLine(problem.subject),
        percent=percent(problem.number / max(1, problem.total))))
    if problem.usual is not None:
        said += '  ' + presenter.say(
            _('In the 23 hours before: ${percent}.'),
            percent=percent(problem.usual))
    return said, 'runs.html?' + query, _('Show the runs')


def _say_elsewhere(presenter, problem):
    return (presenter.say(
        _('Schedule "${name}" does not run here.  Schedules run in the '
          'site nearest to the root of the database, and only if a process '
          'with threads declares them.'), name=cleanLine(problem.subject)),
        'schedules.html', _('Schedules'))


def _say_paused(presenter, problem):
    name = cleanLine(problem.subject)
    if not problem.number:
        said = presenter.say(
            _('"${type}" has been paused for ${ago}, but a schedule keeps '
              'starting it.'), type=name, ago=_ago(presenter, problem))
    else:
        said = presenter.say(plural(
            '"${type}" has been paused for ${ago}: ${number} run waits.',
            '"${type}" has been paused for ${ago}: ${number} runs wait.',
            problem.number, type=name, ago=_ago(presenter, problem)))
    return said, 'types.html', _('Worker types')


_PROBLEMS = {
    COPIED_DATABASE: _say_copied,
    KEPT_RUNS: _say_kept,
    NO_RUNTIME: _say_no_runtime,
    SILENT_PROCESS: _say_silent,
    STUCK_PROCESS: _say_stuck,
    FAILING_STEP: _say_failing_step,
    BROKEN_RUN: _say_broken,
    FAILING_RESCUE: _say_rescue,
    FAILING_SUBSCRIBER: _say_subscriber,
    NEWER_DATABASE: _say_newer,
    OLDER_PROCESS: _say_older,
    CLOCK_JUMP: _say_jump,
    UNRESPONSIVE_RUN: _say_unresponsive,
    STALLED_RUN: _say_stalled,
    BUSY_THREADS: _say_busy,
    FAILING_TYPE: _say_failing,
    LATE_SCHEDULE: _say_late,
    SCHEDULE_ELSEWHERE: _say_elsewhere,
    PAUSED_TYPE: _say_paused,
    UNDECLARED_TYPE: _say_undeclared,
}


#: {kind of a problem: name of the page that shows it}; others are of runs.
_TABS = {
    **dict.fromkeys((COPIED_DATABASE, SILENT_PROCESS, STUCK_PROCESS,
                     FAILING_STEP, NEWER_DATABASE, OLDER_PROCESS,
                     CLOCK_JUMP), 'processes.html'),
    **dict.fromkeys((LATE_SCHEDULE, SCHEDULE_ELSEWHERE), 'schedules.html'),
    **dict.fromkeys((PAUSED_TYPE, UNDECLARED_TYPE), 'types.html'),
    FAILING_TYPE: 'errors.html'}


def countByTab(problems):
    """Return {name of a page: number of the *problems* that it shows}."""
    return Counter(
        _TABS.get(problem.kind, 'runs.html') for problem in problems)


#: {what stands for a replaced part of a message: its name for people}
_PARTS = {NUMBER_PART: _('‹number›'), ID_PART: _('‹id›'),
          TEXT_PART: _('‹text›')}


def sayReason(presenter, group):
    """Return (name of the error, its message) of a group of failed runs."""
    message = cleanLine(group.message)
    for part, name in _PARTS.items():
        message = message.replace(part, presenter.say(name))
    return (cleanLine(group.error_type) if group.error_type
            else presenter.getState(INTERRUPTED)), message


#: Ticks that a drawing has room for, and the units of each.
_TICKS = 14
_TICK = 12
#: {state: (kind of the bar, its top, its height)}; taller is worse.
_BARS = {
    SUCCEEDED: ('good', 4, 4), STOPPED: ('stop', 2, 8),
    INTERRUPTED: ('stop', 2, 8), FAILED: ('bad', 0, 12),
    PENDING: ('wait', 4, 4), RUNNING: ('run', 4, 4)}


def describeTicks(presenter, ticks):
    """Return the drawing of some `ITick`: its bars, and a sentence."""
    bars, counts = [], {}
    for index, tick in enumerate(ticks[-_TICKS:]):
        kind, y, height = _BARS.get(tick.state, ('base', 11, 1))
        if tick.is_missed or tick.state:
            bars.append({
                'x': (_TICKS - len(ticks) + index) * _TICK,
                'y': y, 'height': height, 'kind': kind})
        name = (presenter.say(_('not started')) if tick.is_missed
                else presenter.getState(tick.state) if tick.state
                else presenter.say(_('no longer kept')))
        counts[name] = counts.get(name, 0) + 1
    number = presenter.format.number
    return {
        'bars': bars,
        'text': presenter.say(
            _('Last ${number}: ${states}'), number=number(len(ticks)),
            states=', '.join('%s %s' % (number(count), name)
                             for name, count in counts.items())),
    } if ticks else None


def describeType(presenter, status):
    """Return an `ITypeStatus` as a dict."""
    format = presenter.format
    worker_type = queryUtility(IWorkerType, status.name)
    url = presenter.registry_url
    return {
        'id': cleanLine(status.name),
        'name': cleanLine(status.name),
        'title': presenter.sayTitle(worker_type.title if worker_type
                                    else status.name),
        'description': (cleanText(presenter.say(worker_type.description))
                        if worker_type else ''),
        'permission': worker_type and cleanLine(worker_type.permission),
        'is_declared': status.is_declared,
        'is_loop': worker_type is not None and worker_type.is_loop,
        'is_service': worker_type is not None and worker_type.autostart,
        'max_running': worker_type and worker_type.max_running,
        'max_attempts': worker_type and worker_type.max_attempts,
        'counts': dict(status.counts),
        'is_paused': status.is_paused,
        'paused_by': status.paused_by and cleanLine(status.paused_by),
        'paused_at': format.iso(status.paused_at),
        'pause_reason': (status.pause_reason
                         and cleanLine(status.pause_reason)),
        'timed': status.timed,
        'mean': status.mean,
        'maximum': status.maximum,
        'failure_rate': status.failure_rate,
        'last_run': status.last_run,
        'last_at': format.iso(status.last_at),
        'last_state': status.last_state,
        'last_url': (status.last_run
                     and '%s/%s/index.html' % (url, status.last_run)),
        'url': '%s/type.html?%s' % (url, urlencode(
            {'name': status.name}, errors='replace')),
        'runs_url': '%s/runs.html?%s' % (url, urlencode(
            {'type': status.name}, errors='replace')),
        'chips': [{
            'state': state,
            'title': presenter.getState(state),
            'count': format.number(status.counts[state]),
            'url': '%s/runs.html?%s' % (url, urlencode(
                {'state': state, 'type': status.name}, errors='replace')),
        } for state in STATES if status.counts.get(state)],
        'text': {
            'mean': format.duration(status.mean),
            'maximum': format.duration(status.maximum),
            'failure_rate': format.percent(status.failure_rate),
            'last': format.dateTime(status.last_at),
            'last_short': presenter.sayShort(status.last_at),
            'last_state': (status.last_state
                           and presenter.getState(status.last_state)),
            'pause': sayPause(presenter, status),
            'limits': _say_limits(presenter, worker_type),
        },
    }


def _say_limits(presenter, worker_type):
    if worker_type is None:
        return ''
    said = []
    if worker_type.max_running is not None:
        said.append(presenter.say(_('At most ${number} at once'),
                                  number=presenter.format.number(
                                      worker_type.max_running)))
    if worker_type.max_attempts > 1:
        said.append(presenter.say(_('Attempts: ${number}'),
                                  number=presenter.format.number(
                                      worker_type.max_attempts)))
    return '; '.join(said)


def sayPause(presenter, status):
    """Return a sentence: principal, time and reason of a pause."""
    if not status.is_paused:
        return ''
    who = presenter.getPrincipal(status.paused_by) or presenter.say(
        _('the system'))
    said = presenter.say(
        _('paused by ${who}, ${when}'), who=who,
        when=presenter.format.dateTime(status.paused_at))
    reason = cleanLine(status.pause_reason or '')
    return '%s: %s' % (said, reason) if reason else said


def describeAction(presenter, action):
    """Return an `IAction` as a dict."""
    format = presenter.format
    return {
        'at': format.iso(action.at),
        'principal': action.principal and cleanLine(action.principal),
        'verb': cleanLine(action.verb),
        'subject': action.subject and cleanLine(action.subject),
        'url': _get_subject_url(presenter, action),
        'reason': action.reason and cleanLine(action.reason),
        'times': action.times,
        'last_at': format.iso(action.last_at),
        'number': action.number,
        'filter': action.filter and cleanLine(action.filter),
        'run_ids': action.run_ids,
        'text': {
            'at': format.dateTime(action.at),
            'at_short': presenter.sayShort(action.at),
            'principal': presenter.getPrincipal(action.principal)
            or presenter.say(_('the system')),
            'verb': presenter.say(VERBS.get(action.verb,
                                            cleanLine(action.verb))),
            'times': _say_times(presenter, action),
            'subject': _say_subject(presenter, action),
            'filter': _say_filter(presenter, action),
            'run_ids': ' '.join(action.run_ids),
        },
    }


def _say_times(presenter, action):
    if action.times == 1:
        return ''
    return presenter.say(plural(
        '${number} time, last at ${when}',
        '${number} times, last at ${when}', action.times,
        when=presenter.format.dateTime(action.last_at)))


def _say_subject(presenter, action):
    if action.subject is not None:
        return cleanLine(action.subject)
    return presenter.say(plural(
        '${number} run', '${number} runs', action.number))


def _say_filter(presenter, action):
    if action.subject is not None:
        return ''
    if action.filter is None:
        return presenter.say(_('selected one by one'))
    return presenter.say(_('all that match ${filter}'),
                         filter=cleanLine(action.filter))


def _get_subject_url(presenter, action):
    if action.subject is not None and action.verb in (
            'begin', 'stop', 'retry'):
        return '%s/%s/index.html' % (presenter.registry_url, action.subject)
    return None
