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
"""The command ``worker``: a process that does nothing but carry out runs."""
import argparse
import logging
import os
import sys
import threading
import time
from contextlib import ExitStack
from contextlib import contextmanager

import transaction
import zope.component.event  # noqa: F401 (it dispatches the events)
from ZODB.POSException import ConflictError
from zope.component import getGlobalSiteManager
from zope.component import hooks
from zope.component import queryUtility
from zope.event import notify
from zope.processlifetime import DatabaseOpened
from zope.processlifetime import DatabaseOpenedWithRoot
from zope.processlifetime import IDatabaseOpenedWithRoot
from zope.processlifetime import ProcessStarting
from zope.schema import getFieldNames

from cipher.background.cli.command import CommandError
from cipher.background.cli.command import Unusable
from cipher.background.cli.command import integer
from cipher.background.cli.database import loadZCML
from cipher.background.cli.database import openDatabase
from cipher.background.cli.signals import Signals
from cipher.background.cli.systemd import Notifier
from cipher.background.cli.uris import findPlace
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.declarations.workertype import nameToday
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import BackgroundError
from cipher.background.interfaces import IRunFailedEvent
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IWorkerType
from cipher.background.queries.due import isAnyDue
from cipher.background.runtime.runtime import Runtime
from cipher.background.store.process import getDirectory
from cipher.background.util.logs import RecordFormatter
from cipher.background.util.logs import getLogger
from cipher.background.util.transient import isTransient


log = getLogger(__name__)

#: Database connections besides those of the jobs: for the control thread, the
#: heartbeat, services and metrics.
SPARE_CONNECTIONS = 8

#: Seconds between two looks at the runtime: it may have been drained.
LOOK_INTERVAL = 0.5

#: Seconds between two looks for runs that are due, with ``--once``.
DUE_INTERVAL = 0.1

#: Seconds that systemd gives the last writes after the drain.
LEAVE_LIMIT = 45

LEVELS = ('debug', 'info', 'warning', 'error')

DESCRIPTION = '''\
Carry out runs in a process that does nothing else.  It shares the work with
all other processes of the database.  SIGTERM and Ctrl-C drain: running work
may end within the drain of <background:runtime>.  A second signal ends the
process at once; another process then rescues its runs.

Exit codes: 0 ended as asked, 1 with --once also if a run failed, 2 it could
not begin.'''


def addCommands(commands):
    """Add the command to *commands*, a `command.Commands`."""
    parser = commands.add(
        'worker', run, help='carry out runs, in a process of its own',
        description=DESCRIPTION)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    application = parser.add_mutually_exclusive_group(required=True)
    application.add_argument(
        '--zcml', metavar='FILE',
        help='the ZCML of the site, which declares the worker types')
    application.add_argument(
        '--ini', metavar='FILE',
        help='the settings of an application of Pyramid, which declares the '
             'worker types and opens its database')
    parser.add_argument(
        '--db', metavar='URI',
        help='the database, with --zcml: zeo://HOST:PORT, zconfig://PATH, '
             'postgresql://…, or a path, which no other process can have open')
    parser.add_argument(
        '--threads', type=integer(1, 1000, 'a number of threads'),
        help='how many jobs to carry out at once (default: that of '
             '<background:runtime>)')
    parser.add_argument(
        '--types', metavar='NAME,…', type=_readTypes,
        help='take and begin only runs of these worker types; the work may '
             'start runs of all types (default: that of <background:runtime>, '
             'or all)')
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        '--quiet', action='store_true',
        help='begin nothing until an administrator lets it')
    what.add_argument(
        '--once', action='store_true',
        help='carry out all jobs that are due, then end, as for cron; loops '
             'and services are left out')
    parser.add_argument(
        '--metrics-port', metavar='PORT',
        type=integer(0, 65535, 'a port'),
        help='serve metrics for Prometheus at this port; 0 takes a free one')
    parser.add_argument(
        '--metrics-host', metavar='HOST', default='127.0.0.1',
        help='address to serve metrics at (default: %(default)s, so this '
             'machine only)')
    parser.add_argument(
        '--log-level', choices=LEVELS, metavar='LEVEL',
        help='the least level to log to stderr: %s (default: info; warning '
             'with --once, so cron sends no mail if all is well)'
             % ', '.join(LEVELS))
    parser.add_argument(
        '--traceback', action='store_true',
        help='print the traceback of an error at the start as well')


def _readTypes(text):
    names = tuple(dict.fromkeys(text.split(',')))
    if not all(names):
        raise argparse.ArgumentTypeError(
            'expected names of worker types with commas between them, got '
            '%.100r' % text)
    return names


def run(options):
    """Work until a signal comes; return the exit code."""
    with ExitStack() as stack:
        stack.enter_context(logging_to(sys.stderr, options.log_level or (
            'warning' if options.once else 'info')))
        notifier = Notifier()
        hooks.setHooks()
        db, settings = open_site(options)
        stack.callback(db.close)
        announce_opening(db, settings)
        metrics = serve_metrics(options, db)
        if metrics is not None:
            stack.callback(metrics.close)
        signals = stack.enter_context(Signals())
        runtime = start_runtime(db, settings, options.quiet)
        # Before the database is closed, whatever happens.
        stack.callback(runtime.shutdown)
        process = Process(runtime, signals, notifier)
        return process.workOnce() if options.once else process.work()


@contextmanager
def logging_to(stream, level):
    """Make all loggers write to *stream* from *level* on, in the block."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RecordFormatter(
        '%(asctime)s %(levelname)s %(name)s: %(message)s'))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level.upper())
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def open_site(options):
    """Load the application of *options*; return (DB, `RuntimeSettings`)."""
    if (options.db is None) == (options.ini is None):
        raise Unusable(
            '--db: expected %s' % (
                'the URI of the database with --zcml, got none; give it'
                if options.db is None else
                'none with --ini, whose application opens its database, got '
                'one; leave it out'))
    if options.ini is not None:
        db = open_application(options.ini)
        try:
            settings = choose_settings(options)
        except BaseException:
            db.close()
            raise
        db.setPoolSize(max(
            db.getPoolSize(), settings.threads + SPARE_CONNECTIONS))
        return db, settings
    loadZCML(options.zcml)
    settings = choose_settings(options)
    return open_database(options.db, settings), settings


def open_application(ini):
    """Return the DB of an application of Pyramid; raise `Unusable`."""
    try:
        from cipher.background.hosts.pyramid.paster import openApplication
    except ImportError as error:
        raise Unusable(
            '--ini: expected the extra [pyramid] to be installed, got "%s"; '
            'run: pip install "cipher.background[pyramid]"' % error) from None
    if not os.path.isfile(ini.partition('#')[0]):
        raise Unusable('--ini: expected a file of settings, got none at '
                       '%.200s; give the path of one' % ini)
    try:
        return openApplication(ini)
    except Exception as error:
        raise Unusable(
            '--ini: expected an application that can be created, got %s: %s'
            % (type(error).__name__, error)) from error


def choose_settings(options):
    """Return the `RuntimeSettings` of the ZCML as *options* override them."""
    declared = queryUtility(IRuntimeSettings, default=RuntimeSettings())
    values = {name: getattr(declared, name)
              for name in getFieldNames(IRuntimeSettings)}
    if options.threads:
        values['threads'] = options.threads
    if not values['threads']:
        raise Unusable(
            '--threads: expected at least one thread, got 0 in the ZCML or in '
            'the settings; give the number')
    if options.types:
        values['types'] = options.types
    check_types(values['types'])
    if options.once:
        # A loop has no end.
        values['types'] = tuple(
            name for name in values['types'] or list_types()
            if not queryWorkerType(name).is_loop)
        if not values['types']:
            raise Unusable(
                '--once: expected a worker type that is a job, got none; '
                'declare it with <background:worker name=… />')
    return RuntimeSettings(**values)


def check_types(names):
    """Raise `Unusable` unless the worker types *names* are declared."""
    for name in names or ():
        if queryWorkerType(name) is None:
            raise Unusable(
                '--types: expected names of worker types that the ZCML '
                'declares, got %.100r; the names are %s' % (
                    name, ', '.join(list_types()) or 'none'))


def list_types():
    """Return the names of today of the declared worker types."""
    utilities = getGlobalSiteManager().getUtilitiesFor(IWorkerType)
    return sorted({nameToday(name) for name, _ in utilities})


def open_database(uri, settings):
    """Return the DB of *uri* with connections enough for *settings*."""
    place = findPlace(uri, is_writing=True)
    place.settings['pool_size'] = max(
        place.settings.get('pool_size', 0),
        settings.threads + SPARE_CONNECTIONS)
    return openDatabase(place)


def announce_opening(db, settings):
    """Send the events that an application sends at its start.

    Its subscribers prepare what the work needs.  The runtime begins later, so
    none of them starts another.
    """
    components = getGlobalSiteManager()
    declared = queryUtility(IRuntimeSettings)
    if declared is not None:
        components.unregisterUtility(declared, IRuntimeSettings)
    opened = []
    components.registerHandler(opened.append, [IDatabaseOpenedWithRoot])
    try:
        notify(DatabaseOpened(db))
    finally:
        components.unregisterHandler(opened.append, [IDatabaseOpenedWithRoot])
    if not opened:
        # No subscriber of the application has made sure of the root.
        notify(DatabaseOpenedWithRoot(db))
    components.registerUtility(settings, IRuntimeSettings)
    notify(ProcessStarting())


def serve_metrics(options, db):
    """Serve metrics if the options ask for it; return the server or None."""
    port, host = options.metrics_port, options.metrics_host
    if port is None:
        return None
    try:
        from cipher.background.monitoring.server import serveMetrics
    except ImportError as error:
        raise Unusable(
            '--metrics-port: expected the extra [metrics] to be installed, '
            'got "%s"; run: pip install "cipher.background[metrics]"'
            % error) from None
    try:
        server = serveMetrics(db, port, host=host)
    except BackgroundError as error:
        raise Unusable('--metrics-port: %s' % error) from None
    except OSError as error:
        raise Unusable(
            '--metrics-port: expected to listen at %s port %d, got "%s"; '
            'give another port or --metrics-host' % (
                host, port, error.strerror or error)) from None
    log.info('Metrics: served at %s port %d', host, server.port)
    return server


def start_runtime(db, settings, is_quiet):
    """Start the runtime; return it."""
    runtime = Runtime(db, settings)
    if is_quiet:
        runtime.quiet()   # before the first run could begin
    runtime.start()
    return runtime


class Process:
    """The main thread of a worker process, with a started *runtime*."""

    def __init__(self, runtime, signals, notifier):
        self._runtime = runtime
        self._signals = signals
        self._notifier = notifier
        self._alive_at = 0.0   # monotonic; of the last sign of life

    def work(self):
        """Work until a signal or an administrator ends it; return 0."""
        self._begin()
        while not self._has_to_end(LOOK_INTERVAL):
            pass
        return self._end()

    def _begin(self):
        runtime = self._runtime
        with ZodbConnection(runtime.db) as connection, ZopeTransaction():
            directory = getDirectory(connection)
            registries = directory.listRegistries() if directory else ()
        if not registries:
            log.warning('Process %s: no site has a registry yet; work begins '
                        'when one has, see addRegistry', runtime.name)
        log.info('Process %s: works on %s in %s, with %d threads%s',
                 runtime.name, ', '.join(
                     runtime.settings.types or list_types())
                 or 'no worker type', runtime.db.storage.getName(),
                 runtime.threads, ', quiet' if runtime.is_quiet else '')
        self._notifier.send(ready=1)

    def _has_to_end(self, seconds):
        """Wait; return whether the process has to end."""
        notifier, runtime = self._notifier, self._runtime
        if notifier.watchdog:
            seconds = min(seconds, notifier.watchdog / 4)
        if self._signals.wait(seconds) or runtime.is_draining:
            return True
        notifier.say('%d of %d threads busy%s' % (
            runtime.running.countJobs(), runtime.threads,
            ', quiet' if runtime.is_quiet else ''))
        self._show_life()
        return False

    def _show_life(self):
        """Show the watchdog of systemd that this process is not stuck."""
        now, watchdog = time.monotonic(), self._notifier.watchdog
        if watchdog and now - self._alive_at >= watchdog / 4 and (
                not self._runtime.isStuck()):
            self._alive_at = now
            self._notifier.send(watchdog=1)

    def _end(self):
        runtime = self._runtime
        drain = runtime.settings.drain
        log.info('Process %s: ends; its work may take up to %g seconds more',
                 runtime.name, drain)
        self._notifier.send(stopping=1, status='drains', extend_timeout_usec=(
            int((drain + LEAVE_LIMIT) * 1e6)))
        # In another thread: this one goes on to show life.
        ender = threading.Thread(target=runtime.shutdown, daemon=True)
        ender.start()
        while ender.is_alive():
            ender.join(min(LOOK_INTERVAL, (self._notifier.watchdog or 60) / 4))
            self._show_life()
        return 0

    # Once

    def workOnce(self):
        """Work until nothing is due any more; return the exit code."""
        failed = []

        def note(event):
            run, manager = event.object, transaction.manager
            manager.get().addAfterCommitHook(
                lambda is_done: is_done and failed.append(run.id))

        components = getGlobalSiteManager()
        components.registerHandler(note, [IRunFailedEvent])
        try:
            self._begin()
            self._wait_until_done()
            self._end()
        finally:
            components.unregisterHandler(note, [IRunFailedEvent])
        if failed:
            raise CommandError(
                'expected all runs to succeed, got %d that failed: %s; look '
                'at their logs' % (len(failed), ', '.join(failed)))
        return 0

    def _wait_until_done(self):
        runtime = self._runtime
        limit = 2 * runtime.settings.lease
        moved_at = time.monotonic()
        while not self._has_to_end(DUE_INTERVAL):
            if runtime.turns and not runtime.is_taking:
                raise CommandError(
                    '--once: expected a process that begins runs, got one '
                    'that is quiet; look at its log, and at the page '
                    'Processes')
            entered = runtime.running.entered
            if runtime.allLive() or not runtime.turns:
                moved_at = time.monotonic()
            elif not self._is_any_due():
                # A run that began meanwhile may have started others.
                if runtime.running.entered == entered:
                    return
            elif time.monotonic() - moved_at > limit:
                raise CommandError(
                    '--once: expected the runs that are due to begin, got '
                    'none of them within %d seconds; look at the log' % limit)

    def _is_any_due(self):
        db = self._runtime.db
        try:
            with ZodbConnection(db) as connection, ZopeTransaction():
                directory = getDirectory(connection)
                return directory is not None and any(
                    isAnyDue(registry, self._runtime.begins)
                    for registry in directory.listRegistries())
        except Exception as error:
            if not (isinstance(error, ConflictError)
                    or isTransient(error, db)):
                raise
            log.debug('Look for due runs: %s; trying again',
                      type(error).__name__)
            return True
