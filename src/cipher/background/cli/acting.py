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
"""The commands that start runs, act on them, and administer.

They act through the verbs that the pages use, see `database.Session`.
"""
import argparse
import json
import re
import sys
import time
from collections import Counter

import zope.component.event  # noqa: F401 (it dispatches the events)
from persistent.interfaces import IPersistent
from zope.schema.interfaces import IBool
from zope.schema.interfaces import ICollection
from zope.schema.interfaces import IFloat
from zope.schema.interfaces import IIntegral
from zope.schema.interfaces import IMapping
from zope.schema.interfaces import IObject
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser.paths import NoSuchObject
from cipher.background.browser.paths import traversePath
from cipher.background.cli.command import FAILED
from cipher.background.cli.command import OK
from cipher.background.cli.command import CommandError
from cipher.background.cli.command import Unusable
from cipher.background.cli.command import complain
from cipher.background.cli.database import Session
from cipher.background.cli.database import walkTo
from cipher.background.cli.output import Output
from cipher.background.cli.progress import Progress
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import OLDEST
from cipher.background.interfaces import STATES
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import UNIQUE
from cipher.background.interfaces import BackgroundError
from cipher.background.interfaces import InvalidInput
from cipher.background.interfaces import ProcessNotFound
from cipher.background.store.deployment import isExclusive
from cipher.background.store.evolve import evolveDatabase
from cipher.background.util import clock
from cipher.background.util.host import getHost


#: Seconds between two looks at a run, with ``--wait``.
LOOK_INTERVAL = 0.3

UNFINISHED_STATES = tuple(state for state in STATES
                          if state not in FINISHED_STATES)

_START = '''\
Start a run; print its id.  Each KEY=VALUE is one field of the input.  A value
is read as its field needs it: a number, a text, yes or no, an ISO date or
time, the token of a choice.  The key of a list may come several times.  Lists
and dicts are also read as JSON.'''


def addCommands(commands):
    """Add the commands to *commands*, a `command.Commands`."""
    start = commands.add(
        'start', runStart, help='start a run', description=_START,
        writes=True)
    start.add_argument('type', metavar='NAME', help='name of the worker type')
    start.add_argument(
        'input', metavar='KEY=VALUE', nargs='*', type=_readPair,
        help='a field of the input')
    start.add_argument(
        '--input', metavar='FILE', dest='input_file',
        help='a file with the input as a JSON object; - is stdin.  Passwords '
             'belong there: others can see the arguments of a process')
    start.add_argument(
        '--context', metavar='PATH',
        help='path of the object that the run is about, from the root as in '
             '/intranet/news, or from the site')
    start.add_argument(
        '--wait', action='store_true',
        help='show the progress until the end; exit code 1 unless it succeeds')
    start.add_argument(
        '--unique', choices=UNIQUE, metavar='KEY',
        help='return a waiting run instead of starting another, if it has the '
             'same %s (default: that of the worker type)' % ', '.join(UNIQUE))
    start.add_argument(
        '--priority', type=_number(r'-?[0-9]{1,6}', int, 'a whole number'),
        help='greater ones go first (default: that of the worker type)')
    start.add_argument(
        '--delay', metavar='SECONDS',
        type=_number(r'[0-9]{1,9}(\.[0-9]{1,6})?', float,
                     'a number of seconds'),
        help='begin so many seconds later')

    for name, run, help in (
            ('stop', runStop, 'ask runs to stop; a waiting run is stopped at '
                              'once'),
            ('retry', runRetry, 'start failed runs anew'),
            ('remove', runRemove, 'remove finished runs with their logs')):
        parser = commands.add(name, run, help=help, writes=True)
        parser.add_argument('runs', metavar='RUN', nargs='+',
                            help='id of a run, as in 3-17')
        _add_reason(parser)

    for name, run, help in (
            ('pause', runPause, 'begin no runs of a worker type any more'),
            ('resume', runResume, 'begin runs of a paused worker type again')):
        parser = commands.add(name, run, help=help, writes=True)
        parser.add_argument('type', metavar='TYPE',
                            help='name of the worker type')
        _add_reason(parser)

    quiet = commands.add(
        'quiet', runQuiet, help='let a process begin nothing new',
        description='Let a process begin nothing new.  Its runs go on; other '
                    'processes take those that wait in it.', writes=True)
    _add_process(quiet)
    quiet.add_argument('--off', action='store_true',
                       help='let it begin new runs again')
    drain = commands.add(
        'drain', runDrain, help='let a process finish its work and stop',
        description='Let a process finish its work and stop, as at a '
                    'shutdown.  Only a restart makes it carry out runs '
                    'again.', writes=True)
    _add_process(drain)

    purge = commands.add(
        'purge', runPurge, help='remove finished runs that match all options',
        description=_PURGE, writes=True)
    purge.add_argument(
        '--older', metavar='DAYS', type=_number(
            r'[0-9]{1,5}(\.[0-9]{1,6})?', float, 'a number of days'),
        help='only runs that finished so many days ago')
    purge.add_argument('--type', metavar='NAME', action='append', default=[],
                       help='only runs of this worker type; may be repeated')
    purge.add_argument(
        '--state', choices=FINISHED_STATES, action='append', default=[],
        help='only runs in this state; may be repeated')
    purge.add_argument(
        '--person', metavar='ID',
        help='only runs that this principal started, or that act for them')
    purge.add_argument('--all', action='store_true',
                       help='all finished runs, if no other option is given')
    purge.add_argument('--dry-run', action='store_true',
                       help='remove nothing; print what would be removed')
    _add_reason(purge)

    evolve = commands.add(
        'evolve', runEvolve,
        help='bring the stored data up to date with this release',
        description='Bring the stored data up to date with this release, in '
                    'small commits.  A worker process does the same when it '
                    'starts.', writes=True)
    evolve.add_argument(
        '--patience', metavar='SECONDS', default=60.0,
        type=_number(r'[0-9]{1,6}(\.[0-9]{1,6})?', float,
                     'a number of seconds'),
        help='how long to wait for processes of an older release to end '
             '(default: 60)')


def _add_reason(parser):
    parser.add_argument('--reason', metavar='TEXT',
                        help='a reason, for the journal')


def _add_process(parser):
    parser.add_argument(
        'process', metavar='PROCESS',
        help='id of the process, or its HOST:PID')
    _add_reason(parser)


def _number(pattern, make, what):
    """Return a function that converts an argument of that *pattern*."""
    def convert(text):
        if re.fullmatch(pattern, text, re.ASCII):
            return make(text)
        raise argparse.ArgumentTypeError(
            'expected %s, got %.40r' % (what, text))
    return convert


# Starting

def _readPair(text):
    key, equals, value = text.partition('=')
    if not (equals and key.isidentifier()):
        raise argparse.ArgumentTypeError(
            'expected KEY=VALUE with the name of a field as KEY, got %.100r'
            % text)
    return key, value


def runStart(options):
    """Start a run; with ``--wait`` wait for its end."""
    if options.zcml is None:
        raise Unusable('--zcml: expected the ZCML with the worker types, got '
                       'none; give it')
    if options.user is not None and (
            options.unique, options.priority, options.delay) != (None,) * 3:
        raise Unusable(
            '--unique, --priority, --delay: expected no --user, as these are '
            'for trusted code, got one; leave out either')
    given = _read_input_file(options.input_file)
    with Session(options, is_writing=True) as session:
        worker_type = queryWorkerType(options.type)
        if options.user is None and worker_type is not None and (
                worker_type.run_as == AS_STARTER):
            raise Unusable(
                '--user: expected the id of a principal, as worker type %r '
                'runs with the permissions of its starter, got none; give it'
                % worker_type.name)
        if options.wait:
            _check_waiting(session)
        input = {**given, **readInput(
            worker_type and worker_type.schema, options.input)}
        if options.user is not None and 'context' in input:
            raise Unusable('context: expected it as --context PATH, got it as '
                           'a field of the input; give that option')
        status = session.write(lambda: _start(session, options, input))
        if not options.wait:
            _show(options, _describe(status),
                  lambda output: output.line(status.id))
            return OK
        return _wait(session, options, status.id)


def _read_input_file(path):
    if path is None:
        return {}
    try:
        if path == '-':
            text = sys.stdin.read()
        else:
            with open(path, encoding='utf-8') as file:
                text = file.read()
        given = json.loads(text)
        if isinstance(given, dict):
            return given
        reason = 'a JSON %s' % type(given).__name__
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise Unusable('--input: expected a file with a JSON object, got "%s" at '
                   '%.200s; correct it' % (reason, path))


def _check_waiting(session):
    """Raise an error if the end of a run cannot be seen."""
    if session.options.user is not None and not session.verbs.may('getStatus'):
        raise CommandError(
            '--wait: expected a --user who may see runs, got %.100r; leave '
            'out --wait' % session.options.user)
    if isExclusive(session.db):
        raise Unusable(
            '--wait: expected a database that a worker process can have open '
            'at the same time, got one that only this process can use; leave '
            'out --wait and call "worker --once", or use ZEO or RelStorage')


def _start(session, options, input):
    context = None
    if options.context is not None:
        context = _find_object(session, options.context)
    try:
        if options.user is not None:
            run = session.verbs.startByPrincipal(
                options.type, context, **input)
        else:
            run = session.registry.submit(
                options.type, context, input, delay=options.delay or 0.0,
                unique=options.unique, priority=options.priority)
    except InvalidInput as error:
        raise CommandError('%s; correct the input' % error) from None
    except BackgroundError:
        raise
    except ValueError as error:
        # It names the option that is wrong.
        raise Unusable('--%s' % error) from None
    return session.registry.getStatus(run.id)


def _find_object(session, path):
    """Return the stored object at *path* from the root or from the site.

    With ``--user`` each step needs the permission of that principal.
    """
    site = session.registry.getSite()
    start = getHost().pathOf(site).rstrip('/') + '/'
    below = path[len(start):] if path.startswith(start) else path
    if session.options.user is None:
        ob = walkTo(site, below)
    else:
        try:
            ob = traversePath(site, below)
        except NoSuchObject:
            ob = None
    if not IPersistent.providedBy(removeSecurityProxy(ob)):
        raise CommandError(
            '--context: expected the path of a stored object in the site %s, '
            'got %.200r; give another' % (getHost().pathOf(site), path))
    return ob


def readInput(schema, pairs):
    """Return the input that the (key, text) *pairs* stand for.

    A text that its field cannot use stays a text: `fitting.fit` refuses it.
    """
    texts = {}
    for key, text in pairs:
        texts.setdefault(key, []).append(text)
    return {key: _read_texts(schema and schema.get(key), given)
            for key, given in texts.items()}


def _read_texts(field, texts):
    if ICollection.providedBy(field):
        if len(texts) == 1:
            whole = _read_json(texts[0])
            if isinstance(whole, list):
                return whole
        return [_read_texts(field.value_type, [text]) for text in texts]
    if len(texts) > 1:
        raise Unusable(
            'argument KEY=VALUE: expected each key once unless its field is a '
            'list, got %d values of one; leave out the others' % len(texts))
    text, = texts
    if IBool.providedBy(field):
        return _BOOLS.get(text.lower(), text)
    if any(kind.providedBy(field)
           for kind in (IIntegral, IFloat, IMapping, IObject)):
        value = _read_json(text)
        return text if value is None else value
    return text


_BOOLS = {'yes': True, 'true': True, 'on': True, '1': True,
          'no': False, 'false': False, 'off': False, '0': False}


def _read_json(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _wait(session, options, run_id):
    """Show the run until its end; return the exit code."""
    output = Output()
    if not options.json:
        output.line(run_id)
        sys.stdout.flush()
    try:
        with Progress() as progress:
            while True:
                session.refresh()
                status = session.verbs.getStatus(run_id)
                if status.state in FINISHED_STATES:
                    break
                progress.show(status)
                time.sleep(LOOK_INTERVAL)
    except KeyboardInterrupt:
        print('Run %s goes on.' % run_id, file=sys.stderr)
        raise
    if options.json:
        output.json(_describe(status))
    else:
        output.line('%s: %s' % (run_id, status.state))
    if status.state == SUCCEEDED:
        return OK
    return complain(options.name, 'expected run %s to succeed, got one that '
                    'is %s%s; look at its log' % (
                        run_id, status.state, status.error_type and ': %s: %s'
                        % (status.error_type, status.error_text) or ''))


def _describe(status):
    return {'id': status.id, 'type': status.type, 'state': status.state,
            'message': status.message, 'error_type': status.error_type,
            'error_text': status.error_text}


def _show(options, data, show):
    output = Output()
    if options.json:
        output.json(data)
    else:
        show(output)


# Acting on runs

def runStop(options):
    """Ask runs to stop."""
    return _act_on_runs(options, lambda verbs, run_id: {
        'id': run_id,
        'state': verbs.requestStop(run_id, options.reason)},
        lambda done: 'stopped' if done['state'] == 'stopped'
        else 'was asked to stop')


def runRetry(options):
    """Start runs anew."""
    return _act_on_runs(options, lambda verbs, run_id: {
        'id': run_id,
        'retried_as': verbs.retry(run_id, options.reason).id},
        lambda done: 'retried as %s' % done['retried_as'])


def runRemove(options):
    """Remove finished runs."""
    def remove(verbs, run_id):
        verbs.remove(run_id, options.reason)
        return {'id': run_id}

    return _act_on_runs(options, remove, lambda done: 'removed')


def _act_on_runs(options, act, say):
    """Act on each run by a commit of its own; return the exit code.

    *act* returns plain data, and *say* a text for them.  A run that is
    refused does not keep the others from it.
    """
    code, items = OK, []
    output = Output()
    with Session(options, is_writing=True) as session:
        for run_id in dict.fromkeys(options.runs):
            try:
                done = session.write(lambda: act(session.verbs, run_id))
            except BackgroundError as error:
                if not options.json:
                    code = complain(options.name, str(error))
                    continue
                code, done = FAILED, {'id': run_id, 'error': str(error)}
            if options.json:
                items.append(done)
            else:
                output.line('%s: %s' % (run_id, say(done)))
    if options.json:
        output.json({'items': items})
    return code


# Administration

def runPause(options):
    """Pause a worker type."""
    return _pause(options, True)


def runResume(options):
    """Resume a worker type."""
    return _pause(options, False)


def _pause(options, is_paused):
    with Session(options, is_writing=True) as session:
        session.write(lambda: session.verbs.pauseType(
            options.type, is_paused, options.reason))
    _show(options, {'type': options.type, 'is_paused': is_paused},
          lambda output: output.line('%s: %s' % (
              options.type, 'paused' if is_paused else 'resumed')))


def runQuiet(options):
    """Make a process quiet, or let it begin runs again."""
    def quiet(session, process):
        session.verbs.quietProcess(
            process.id, not options.off, options.reason)

    return _act_on_process(
        options, quiet, {'is_quiet': not options.off},
        'takes new runs again' if options.off else 'takes no new runs')


def runDrain(options):
    """Drain a process."""
    def drain(session, process):
        session.verbs.drainProcess(process.id, options.reason)

    return _act_on_process(options, drain, {'is_draining': True},
                           'finishes its work and stops')


def _act_on_process(options, act, data, said):
    def do():
        process = _find_process(session.verbs, options.process)
        act(session, process)
        return process

    with Session(options, is_writing=True) as session:
        process = session.write(do)
    _show(options, {'id': process.id, **data},
          lambda output: output.line('%s:%d: %s' % (
              process.host, process.pid, said)))
    return OK


def _find_process(verbs, name):
    """Return the status of the process with that id or HOST:PID."""
    found = [process for process in verbs.listProcesses() if name in (
        process.id, '%s:%d' % (process.host, process.pid))]
    if len(found) == 1:
        return found[0]
    if found:
        raise CommandError(
            'process %.100r: expected the name of one process, got that of '
            '%d; give the id of one: %s' % (
                name, len(found), ', '.join(one.id for one in found)))
    raise ProcessNotFound(
        'process %.100r: expected the id or HOST:PID of a process of this '
        'database; it may have ended: look at "cipher-background processes"'
        % name)


# Purging

_PURGE = '''\
Remove finished runs, with their input, result and log.  Runs are removed by
themselves as well, after the keep and keep_days of their worker types.

With --person it removes what is stored of the work of a person, and says what
is kept: unfinished runs (stop them first), and the rows of the journal, which
prove to others what was done to their runs.'''

#: Runs that one commit removes.
BATCH = 200


def runPurge(options):
    """Remove finished runs, or print which ones would be removed."""
    with Session(options, is_writing=not options.dry_run) as session:
        _check_filters(options)
        purge = _Purge(session, options)
        data = purge.do()
    _show(options, data, purge.show)
    return OK


def _check_filters(options):
    is_filtered = any([options.older is not None, options.type,
                       options.state, options.person])
    if not is_filtered and not options.all:
        raise Unusable('expected --older, --type, --state, --person or --all, '
                       'got none; give one')
    if is_filtered and options.all:
        raise Unusable('--all: expected no other option, got one; leave out '
                       'either')


class _Purge:
    """Removes the runs that the *options* select."""

    def __init__(self, session, options):
        self._session = session
        self._options = options
        self._until = (None if options.older is None
                       else clock.now() - options.older * 86400.0)
        self._failed = {}

    def do(self):
        """Remove the runs; return plain data about it."""
        options = self._options
        counts = Counter()   # (type, state) -> number of runs
        for batch in self._batches():
            done = batch
            if not options.dry_run:
                ids = [status.id for status in batch]
                acted = self._session.write(
                    lambda: self._session.verbs.actOnRuns(
                        'remove', ids, options.reason, self._describe()))
                self._failed.update(acted.failed)
                done = [status for status in batch if status.id in acted]
            counts.update((status.type, status.state) for status in done)
        self._data = {
            'is_dry_run': options.dry_run,
            'removed': [{'type': name, 'state': state, 'number': number}
                        for (name, state), number in sorted(counts.items())],
        }
        if options.person is not None:
            self._data['kept'] = self._find_kept()
        if self._failed:
            raise CommandError(
                'expected to remove all runs, got errors at %d: %s' % (
                    len(self._failed), '; '.join(
                        '%s: %s' % (run_id, ': '.join(error)) for
                        run_id, error in sorted(self._failed.items())[:5])))
        return self._data

    def _batches(self):
        batch = []
        for status in self._list(self._options.state or FINISHED_STATES):
            batch.append(status)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def _list(self, states):
        """Yield the statuses of the runs that the options select."""
        options = self._options
        for status in _walk_runs(
                self._session, states=states, types=options.type,
                until=self._until, order=OLDEST):
            # Not as a filter of the list: that searches in titles as well.
            if options.person in (None, status.starter, status.asker):
                yield status

    def _describe(self):
        """Return the filter, for the journal."""
        options = self._options
        return 'purge %s' % ' '.join(filter(None, [
            options.older is not None and '--older %g' % options.older,
            *['--type %s' % name for name in options.type],
            *['--state %s' % state for state in options.state],
            # The journal is kept, so it does not name the person.
            options.person and '--person', options.all and '--all']))

    def _find_kept(self):
        """Return {what: number} of what is kept of the person."""
        person = self._options.person
        unfinished = sum(
            person in (status.starter, status.asker) for status
            in _walk_runs(self._session, states=UNFINISHED_STATES))
        actions = sum(action.principal == person
                      for action in _walk_actions(self._session.verbs))
        return {'unfinished_runs': unfinished, 'actions': actions}

    def show(self, output):
        """Write the data as text."""
        data = self._data
        number = sum(row['number'] for row in data['removed'])
        output.line('%s %d finished runs%s' % (
            'Would remove' if data['is_dry_run'] else 'Removed', number,
            ':' if number else '.'))
        if number:
            output.table(
                ('Type', 'State', 'Runs'),
                [(row['type'], row['state'], str(row['number']))
                 for row in data['removed']], numbers=('Runs',))
        if 'kept' in data:
            output.line(
                'Kept: %(unfinished_runs)d unfinished runs, which have to be '
                'stopped first; %(actions)d rows of the journal, which show '
                'to others what was done.' % data['kept'])


def _walk_runs(session, **filters):
    """Yield the `IRunStatus` of all runs that the *filters* select."""
    key = None
    while True:
        page = session.verbs.listRuns(limit=BATCH, before=key, **filters)
        yield from page.items
        key = page.older
        if key is None:
            return


def _walk_actions(verbs):
    key = None
    while True:
        actions, key = verbs.listActions(500, key)
        yield from actions
        if key is None:
            return


# Evolving

def runEvolve(options):
    """Bring the data up to date."""
    # All registries are evolved; a site that is named has to exist.
    with Session(options, is_writing=True,
                 needs_registry=options.site is not None) as session:
        commits = evolveDatabase(session.db, options.patience)
    _show(options, {'commits': commits}, lambda output: output.line(
        'Up to date, after %d commits.' % commits))
    return OK
