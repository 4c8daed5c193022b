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
"""The commands that only look: status, list, show, log and others."""
import time
from contextlib import contextmanager
from dataclasses import asdict

from cipher.background.browser import descriptions
from cipher.background.browser.filters import PARAMETERS
from cipher.background.browser.filters import InvalidFilter
from cipher.background.browser.filters import RunFilter
from cipher.background.browser.paths import NoSuchObject
from cipher.background.browser.paths import traversePath
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import cleanText
from cipher.background.cli.command import Unusable
from cipher.background.cli.command import integer
from cipher.background.cli.database import Session
from cipher.background.cli.database import walkTo
from cipher.background.cli.output import Output
from cipher.background.cli.output import answer
from cipher.background.cli.presenting import RUN_HEADERS
from cipher.background.cli.presenting import RUN_OPTIONAL
from cipher.background.cli.presenting import cutZone
from cipher.background.cli.presenting import describeDetails
from cipher.background.cli.presenting import describeRun
from cipher.background.cli.presenting import makePlain
from cipher.background.cli.presenting import makePresenter
from cipher.background.cli.presenting import tellRun
from cipher.background.interfaces import BUSY_THREADS
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import ORDERS
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STALLED_RUN
from cipher.background.interfaces import STATES
from cipher.background.interfaces import UNDECLARED_TYPE
from cipher.background.interfaces import UNRESPONSIVE_RUN
from cipher.background.monitoring.health import DOWN
from cipher.background.monitoring.health import TROUBLED
from cipher.background.monitoring.health import WELL
from cipher.background.monitoring.health import checkHealth


#: Runs that ``status`` lists in each table.
STATUS_LIMIT = 10
#: Runs, or rows of the journal, that one call prints by default and at most.
LIMIT = 50
MOST = 10000

#: Seconds between two looks of ``log --follow``.
FOLLOW_INTERVAL = 1.0
#: Characters of a log, at most; the store keeps fewer.
LOG_LIMIT = 100000000
#: Characters at the end of a log that are searched for in a later one.
OVERLAP = 200

#: Problems that are wrongly found if the worker types are not declared.
NEED_DECLARATIONS = (STALLED_RUN, BUSY_THREADS, UNRESPONSIVE_RUN,
                     UNDECLARED_TYPE)

_WITHOUT_ZCML = (
    'Without --zcml no schedules are known, and problems that need the '
    'declarations of worker types are left out.')


def addCommands(commands):
    """Add the commands that only look."""
    commands.add(
        'status', showStatus, reads=True,
        help='counts, processes, problems, running runs and recent failures',
        description='Show what the overview page shows: the number of runs '
                    'in each state, problems, processes, running runs and '
                    'recent failures.')
    _add_list(commands)
    show = commands.add(
        'show', showRun, reads=True, help='all about one run',
        description='Show a run: its state, times, error, input and '
                    'attempts.  Passwords are masked.')
    _add_run(show)
    log = commands.add(
        'log', showLog, reads=True, help='the log of a run',
        description='Print the log of a run.')
    _add_run(log)
    log.add_argument(
        '--follow', action='store_true',
        help='print what is added until the run is finished; with --json '
             'each part is a line with an object')
    commands.add(
        'types', showTypes, reads=True,
        help='the worker types, with counts and durations',
        description='Show the worker types that are declared or have runs.')
    commands.add(
        'schedules', showSchedules, reads=True,
        help='the schedules, with their next and last times',
        description='Show the schedules that the ZCML declares.')
    commands.add(
        'processes', showProcesses, reads=True,
        help='the processes that carry out runs, and those that ended',
        description='Show the processes that carry out runs, and those that '
                    'ended within a day.')
    journal = commands.add(
        'journal', showJournal, reads=True,
        help='what administrators did',
        description='Show the acts of administrators, the newest first.')
    _add_paging(journal, 'acts')
    commands.add(
        'health', showHealth, reads=True,
        help='whether all is well, as an exit code',
        description='Report whether all is well, for monitoring.  Without '
                    '--site all registries of the database count.  Exit '
                    'codes: 0 well, 1 a problem is listed, 2 no living '
                    'process with threads, or no database.')


def _add_run(parser):
    parser.add_argument('run_id', metavar='RUN',
                        help='id of the run, like 0-17')


def _add_paging(parser, what):
    parser.add_argument(
        '--limit', metavar='N', type=integer(1, MOST, 'a number of %s' % what),
        default=LIMIT, help='print at most so many (default: %(default)s)')
    parser.add_argument(
        '--before', metavar='KEY',
        help='go on where the call before ended; it printed the key')


def _add_list(commands):
    parser = commands.add(
        'list', listRuns, reads=True,
        help='runs, with the filters of the page',
        description='List runs.  The words are those of the search box: '
                    'type:NAME, state:STATE, user:ID and id:RUN filter, all '
                    'others are searched for in titles, messages and errors. '
                    'The states are %s and unresolved.' % ', '.join(STATES))
    parser.add_argument(
        'words', metavar='WORD', nargs='*',
        help='for example state:failed type:reindex "time out"')
    parser.add_argument(
        '--context', metavar='PATH',
        help='only runs about the object at this path below the site')
    parser.add_argument(
        '--since', metavar='DATE',
        help='from this time on, like 2026-01-31 or 2026-01-31T17:00')
    parser.add_argument(
        '--until', metavar='DATE', help='up to this day or time')
    parser.add_argument(
        '--order', choices=ORDERS, help='default: newest')
    _add_paging(parser, 'runs')


@contextmanager
def _looking(options):
    """Open the database; yield (`IVerbs`, `Presenter`)."""
    with Session(options) as session:
        yield session.verbs, makePresenter()


# Overview

def showStatus(options):
    """Show what the overview shows."""
    with _looking(options) as (checked, presenter):
        by_type = checked.getCounts()
        processes = checked.listProcesses()
        problems = [
            descriptions.describeProblem(presenter, problem)
            for problem in _choose(options, checked.listProblems(), processes)]
        data = {
            'counts': {state: sum(counts.get(state, 0)
                                  for counts in by_type.values())
                       for state in STATES},
            'problems': problems,
            'processes': [descriptions.describeProcess(presenter, process)
                          for process in processes],
            'running': _list_some(checked, presenter, (RUNNING,)),
            'failed': _list_some(checked, presenter, (FAILED, INTERRUPTED)),
        }
    return answer(options, makePlain(data),
                  lambda output: _show_status(options, output, data))


def _list_some(checked, presenter, states):
    return [presenter.describeRun(status) for status in checked.listRuns(
        states=states, limit=STATUS_LIMIT).items]


def _choose(options, problems, processes):
    """Return those *problems* that are right without declarations as well."""
    if options.zcml is not None:
        return list(problems)
    takes = any(process.threads and not (
        process.is_silent or process.is_quiet or process.is_draining)
        for process in processes)
    return [problem for problem in problems
            if problem.kind not in NEED_DECLARATIONS
            # The processes report which types they declare.
            or takes and problem.kind == UNDECLARED_TYPE]


def _show_status(options, output, data):
    output.table(STATES, [[str(data['counts'][state]) for state in STATES]],
                 STATES)
    _show_problems(output, data['problems'])
    if data['processes']:
        output.heading('Processes')
        _show_processes(output, data['processes'])
    else:
        output.line()
        output.line('No process carries out runs.')
    for title, runs in (('Running', data['running']),
                        ('Recent failures', data['failed'])):
        if runs:
            output.heading(title)
            _show_runs(output, runs)
    if options.zcml is None:
        output.line()
        output.line(_WITHOUT_ZCML)


def _show_runs(output, runs):
    output.table(RUN_HEADERS, map(tellRun, runs), optional=RUN_OPTIONAL)


def _show_problems(output, problems):
    if problems:
        output.heading('Problems')
    for problem in problems:
        output.line('- ' + problem['text'])


def showHealth(options):
    """Return how well the database is; print why."""
    # All registries, unless one is named.  Principals need a site.
    is_whole = options.site is None and options.user is None
    with Session(options, needs_registry=not is_whole) as session:
        if not session.may('listProblems'):
            raise Unusable(
                '--user: expected a principal who may see the problems, got '
                '%.100r; give another, or leave it out' % options.user)
        presenter = makePresenter()
        health = checkHealth(
            session.connection if is_whole else session.registry)
        found = _choose(options, health.problems, health.processes)
        problems = [
            dict(descriptions.describeProblem(presenter, problem),
                 site=problem.site) for problem in found]
    code = health.code
    if code == TROUBLED and not found and health.problems:
        code = WELL
    title = {
        WELL: 'well', TROUBLED: 'problems',
        DOWN: 'no process carries out runs' if health.error is None
        else 'the database fails: %s' % health.error}[code]
    answer(options, makePlain({
        'code': code, 'health': title, 'problems': problems,
        'processes': [descriptions.describeProcess(presenter, process)
                      for process in health.processes],
    }), lambda output: (
        output.line(title), _show_problems(output, problems)))
    return code


# Runs

class _Filter(RunFilter):
    """The filter of a command; see `findRuns`."""

    def __init__(self, options, site):
        self._is_trusted = options.user is None
        values = {name: getattr(options, name, None) for name in PARAMETERS
                  if name not in ('q', 'user')}
        super().__init__({
            'q': [' '.join(options.words)],
            **{name: [value] for name, value in values.items() if value}},
            site)

    def findContext(self, path):
        if not self._is_trusted:
            return traversePath(self._site, path)
        ob = walkTo(self._site, path)
        if ob is None:
            raise NoSuchObject(path)
        return ob


def listRuns(options):
    """List the runs of a filter."""
    with _looking(options) as (checked, presenter):
        try:
            query = _Filter(options, checked.getSite())
            query.findTypes(checked, checked.getCounts())
            page = query.findRuns(checked, options.limit)
        except InvalidFilter as error:
            raise Unusable('expected a filter, got one that is not valid: %s; '
                           'correct it' % presenter.say(error.message)
                           ) from None
        data = {
            'items': [describeRun(presenter, checked, status.id, status)
                      for status in page.items],
            'older': page.older,
            'looked_at': page.looked_at,
            'is_cut': page.is_cut,
        }

    def show(output):
        if not data['items']:
            output.line('No run matches.')
        else:
            _show_runs(output, data['items'])
        if data['is_cut']:
            output.line('The search stopped after %d runs.'
                        % data['looked_at'])
        _show_older(output, data['older'])

    return answer(options, makePlain(data), show)


def _show_older(output, key):
    if key:
        output.line()
        output.line('There are more: --before %s' % key)


def showRun(options):
    """Show all about one run."""
    with Session(options) as session:
        checked, presenter = session.verbs, makePresenter()
        data = describeRun(presenter, checked, options.run_id,
                           checked.getStatus(options.run_id))
        data['details'] = describeDetails(
            presenter, checked, data) if session.may('getDetails') else None
    return answer(options, makePlain(data),
                  lambda output: _show_run(output, data))


def _show_run(output, data):
    text, context = data['text'], data['context'] or {}
    output.pairs([
        ('Run', data['id']),
        ('State', text['state']),
        ('Why it waits', ' '.join(filter(None, (
            text['wait'], text['wait_run'], data['wait_run'])))),
        ('Type', data['type'] + (
            '' if data['is_declared'] else ' (not declared here)')),
        ('Title', data['title']),
        ('About', ' '.join(filter(None, (
            context.get('path'), context.get('title'))))),
        ('Started by', text['starter']),
        ('Limited to', text['asker']),
        ('Created', text['created']),
        ('Due', text['due']),
        ('Began', text['started']),
        ('Finished', text['finished']),
        ('Queue wait', text['waited']),
        ('Took', text['took']),
        ('Attempts', str(data['attempts'] or '')),
        ('Process', data['owner']),
        ('Progress', ' '.join(filter(None, (
            text['progress'], data['message'])))),
        ('Result', data['result']),
        ('Error', text['error']),
        ('Stop', ': '.join(filter(None, (
            text['stop'], (data['stop'] or {}).get('reason'))))),
        ('Retry', ' '.join(filter(None, (
            (data['retry'] or {}).get('run_id'), text['retry'])))),
        ('Retried as', data['retried_as']),
    ])
    details = data['details']
    if details is not None:
        _show_details(output, details)


def _show_details(output, details):
    if details['input']:
        output.heading('Input')
        output.pairs(list(details['input'].items()))
    if len(details['attempts']) > 1:
        output.heading('Attempts')
        output.table(('No', 'Began', 'Ended', 'Process', 'Outcome', 'Error'), [
            (str(one['number']), cutZone(one['text']['began']),
             cutZone(one['text']['ended']),
             one['process'], one['outcome'], one['text']['error'])
            for one in details['attempts']], ('No',), ('Process', 'Ended'))
    for title, name in (('Traceback', 'traceback'), ('Stack', 'stack')):
        if details[name]:
            output.heading(title)
            output.write(details[name].rstrip('\n') + '\n')


def showLog(options):
    """Print the log of a run."""
    output = Output()
    with Session(options) as session:
        shown = ''
        while True:
            status = session.verbs.getStatus(options.run_id)
            log = cleanText(session.verbs.getDetails(options.run_id).log or '',
                            LOG_LIMIT).rstrip('\n')
            log += '\n' if log else ''
            added = findAdded(shown, log)
            is_last = not options.follow or status.state in FINISHED_STATES
            if added or is_last:
                _print_log(options, output, status, added)
            if is_last:
                return
            shown = log
            time.sleep(FOLLOW_INTERVAL)
            session.refresh()


def _print_log(options, output, status, added):
    if not options.json:
        output.write(added)
    elif options.follow:
        output.jsonLine({'state': status.state, 'log': added})
    else:
        output.json({'id': status.id, 'state': status.state, 'log': added})
    output.stream.flush()


def findAdded(shown, log):
    """Return the part of *log* that is not in *shown*, an earlier state.

    A live log may lack its beginning in later states.
    """
    if log.startswith(shown):
        return log[len(shown):]
    end = shown[-OVERLAP:]
    place = log.rfind(end)
    return log if place < 0 else log[place + len(end):]


# Administration

def showTypes(options):
    """Show the worker types."""
    with _looking(options) as (checked, presenter):
        items = [descriptions.describeType(presenter, status)
                 for status in checked.listTypes()]

    def show(output):
        if not items:
            output.line('There are no worker types.')
            return
        output.table(
            ('Type', 'Title', *STATES, 'Mean', 'Longest', 'Failed', 'Last',
             'Note'),
            [(one['name'], '' if one['title'] == one['name'] else one['title'],
              *(str(one['counts'].get(state, '')) for state in STATES),
              one['text']['mean'], one['text']['maximum'],
              one['text']['failure_rate'], cutZone(one['text']['last']),
              '; '.join(filter(None, (
                  one['text']['pause'], one['text']['limits'],
                  '' if one['is_declared'] or options.zcml is None
                  else 'not declared'))))
             for one in items],
            (*STATES, 'Mean', 'Longest', 'Failed'),
            ('Title', 'Last', 'Longest', 'Mean', 'Failed'))

    return answer(options, {'items': makePlain(items)}, show)


def showSchedules(options):
    """Show the schedules."""
    if options.zcml is None:
        raise Unusable('--zcml: expected the ZCML of the site, which declares '
                       'the schedules, got none; give it')
    with _looking(options) as (checked, presenter):
        items = [_describe_schedule(presenter, status)
                 for status in checked.listSchedules()]

    def show(output):
        if not items:
            output.line('There are no schedules.')
            return
        output.table(
            ('Schedule', 'Type', 'When', 'Next', 'Last', 'Last run', 'State',
             'Note'),
            [(one['name'], one['worker'], one['expression'],
              cutZone(one['text']['next']), cutZone(one['text']['last']),
              one['last_run'],
              'paused' if one['is_paused'] else
              'late' if one['is_late'] else '', one['text']['pause'])
             for one in items], optional=('Type', 'Last run', 'Last'))

    return answer(options, {'items': makePlain(items)}, show)


def _describe_schedule(presenter, status):
    format = presenter.format
    data = {name: cleanLine(value) if isinstance(value, str) else value
            for name, value in asdict(status).items()}
    data.update({name: format.iso(data[name])
                 for name in ('next_at', 'last_at', 'paused_at')})
    data['text'] = {
        'next': format.dateTime(status.next_at),
        'last': format.dateTime(status.last_at),
        'pause': descriptions.sayPause(presenter, status),
    }
    return data


def showProcesses(options):
    """Show the processes."""
    with _looking(options) as (checked, presenter):
        data = {
            'items': [descriptions.describeProcess(presenter, process)
                      for process in checked.listProcesses()],
            'ended': [descriptions.describeEnded(presenter, process)
                      for process in checked.listEndedProcesses()],
        }

    def show(output):
        if data['items']:
            _show_processes(output, data['items'])
        else:
            output.line('No process carries out runs.')
        if data['ended']:
            output.heading('Ended within a day')
            output.table(
                ('Process', 'How', 'Started', 'Ended', 'Rescued', 'Note'),
                [(one['name'], one['text']['how'],
                  cutZone(one['text']['started']),
                  cutZone(one['text']['ended']), one['text']['taken_over'],
                  one['text']['note']) for one in data['ended']],
                ('Rescued',), ('Started',))

    return answer(options, makePlain(data), show)


def _show_processes(output, processes):
    output.table(
        ('Process', 'Health', 'Threads', 'Started', 'Last heartbeat', 'Note'),
        [(one['name'], one['text']['health'], one['text']['threads'],
          cutZone(one['text']['started']), cutZone(one['text']['beat']),
          one['text']['wish']) for one in processes], optional=('Started',))


def showJournal(options):
    """Show what administrators did."""
    with _looking(options) as (checked, presenter):
        try:
            actions, older = checked.listActions(
                limit=options.limit, before=options.before)
        except ValueError as error:
            raise Unusable('--before: %s' % error) from None
        items = [descriptions.describeAction(presenter, action)
                 for action in actions]

    def show(output):
        if not items:
            output.line('The journal is empty.')
        else:
            output.table(
                ('When', 'Who', 'Action', 'Subject', 'Times', 'Reason'),
                [(cutZone(one['text']['at']), one['text']['principal'],
                  one['text']['verb'],
                  ' '.join(filter(None, (one['text']['subject'],
                                         one['text']['filter']))),
                  one['text']['times'], one['reason']) for one in items],
                optional=('Times',))
        _show_older(output, older)

    return answer(options, {'items': makePlain(items), 'older': older}, show)
