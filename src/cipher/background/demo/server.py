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
"""The demo's server: from the options of the command line to the last bye.

The socket is bound before the database is opened, and the database before
anything is printed: what fails leaves nothing half-done behind.
"""
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import closing
from contextlib import contextmanager
from pathlib import Path

import waitress
from zope.app.appsetup import appsetup
from zope.app.wsgi import WSGIPublisherApplication
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.event import notify
from zope.processlifetime import DatabaseOpened
from zope.processlifetime import ProcessStarting
from zope.schema import getFieldNames

from cipher.background import RecordFormatter
from cipher.background import RuntimeSettings
from cipher.background import queryRuntime
from cipher.background.browser import answerErrors
from cipher.background.demo.database import DemoError
from cipher.background.demo.database import open_database
from cipher.background.demo.hosts import refuseForeignHosts
from cipher.background.demo.settings import IImportSettings
from cipher.background.demo.settings import ImportSettings
from cipher.background.interfaces import IRuntimeSettings


SITE_ZCML = Path(__file__).resolve().parent / 'site.zcml'

#: Threads that answer requests.
WEB_THREADS = 8
#: Connections beside those of the web threads and of the jobs: the control
#: thread, services, who looks at the database from a console.
SPARE_CONNECTIONS = 6
#: Bytes of a request; a document has fewer.
BODY_LIMIT = 4 * 1024 * 1024

#: Nothing that is made is for anybody else.
PRIVATE = 0o077

#: Exit code when a second signal ends the process at once.
KILLED = 130

BANNER = '''\
The demo is at %(url)s

  user    password  may
  admin   admin     do everything
  editor  editor    view, start, create, edit and publish
  viewer  viewer    view

Database: %(database)s.  Texts are imported from %(base)s.
Stop it with Ctrl-C.
'''
WARNING = '''\
Beware: it listens beyond this machine, and everybody knows these passwords.
By a name other than localhost it is reached with --allow-host NAME only.
'''


def serve(options):
    """Serve until a signal comes; raise `DemoError` when that cannot begin.
    """
    log_to(sys.stderr)
    # The database holds the secret of the forms.
    os.umask(PRIVATE)
    settings = get_import_settings(options.import_base)
    signals = Signals()
    with signals.caught(), closing(bind(options.host, options.port)) as sock:
        with opened(options, settings) as db:
            application = make_application(db, options)
            notify(ProcessStarting())
            server = waitress.create_server(
                application, sockets=[sock], threads=WEB_THREADS, ident=None,
                max_request_body_size=BODY_LIMIT,
                clear_untrusted_proxy_headers=True)
            say_hello(sock, db, settings)
            # Returns at the signal: no request is taken any more, and those
            # that are being answered have had some seconds.
            server.run()
            signals.end()
            server.close()
    print('Bye.', flush=True)


def log_to(stream):
    """Let all loggers write to *stream*; no text can forge a record there."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RecordFormatter(
        '%(asctime)s %(levelname)s %(name)s: %(message)s'))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def make_application(db, options):
    """Return what answers requests, and never raises."""
    return answerErrors(
        refuseForeignHosts(WSGIPublisherApplication(db),
                           [options.host, *options.allow_host]),
        browsers_only=True)


@contextmanager
def opened(options, settings):
    """Open the database with a runtime for its work; shut both down."""
    db = open_database(
        options.db, options.home, options.fresh,
        WEB_THREADS + options.threads + SPARE_CONNECTIONS)
    try:
        configure(options.threads, settings)
        notify(DatabaseOpened(db))
        quiet_at_signal(db)
        yield db
    finally:
        # The work first: it needs the database to the last.
        runtime = queryRuntime(db)
        if runtime is not None:
            runtime.shutdown()
        db.close()


def quiet_at_signal(db):
    """Let SIGUSR1 say that the end is near: no work is begun any more."""
    def handle(number, frame):
        runtime = queryRuntime(db)
        if runtime is not None:
            # Elsewhere: what the signal has interrupted may hold a lock.
            threading.Thread(target=runtime.quiet, daemon=True).start()

    signal.signal(signal.SIGUSR1, handle)


def configure(threads, settings):
    """Load the ZCML, and let the command line have the last word."""
    getGlobalSiteManager().registerUtility(settings, IImportSettings)
    appsetup.config(str(SITE_ZCML))
    set_threads(threads)


def set_threads(threads):
    """Let the runtime have that many threads, whatever the ZCML says."""
    declared = getUtility(IRuntimeSettings)
    values = {name: getattr(declared, name)
              for name in getFieldNames(IRuntimeSettings)}
    getGlobalSiteManager().registerUtility(
        RuntimeSettings(**dict(values, threads=threads)), IRuntimeSettings)


def get_import_settings(base):
    """Return where texts are imported from; raise `DemoError`."""
    if base is not None and not Path(base).is_dir():
        raise DemoError('--import-base: expected a folder, got %r; give one '
                        'that is there' % base)
    return ImportSettings(base)


def bind(host, port):
    """Return a socket bound to that address, which does not listen yet."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise DemoError(
            '--host: expected a name or an address of this machine, got %r '
            '(%s); try 127.0.0.1' % (host, _reason(error))) from None
    sock = socket.socket(family, kind, protocol)
    try:
        # Connections of an earlier server that wait for their end are no
        # reason not to start.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        # Others may bind the same address, as long as nobody listens there.
        sock.listen()
    except OSError as error:
        sock.close()
        raise DemoError(
            'expected to listen at %s port %d, got "%s"; give another --port '
            'or --host' % (host, port, _reason(error))) from None
    return sock


def say_hello(sock, db, settings):
    """Print where the demo is and who may do what."""
    host, port = sock.getsockname()[:2]
    shown = '[%s]' % host if ':' in host else host
    if host in ('0.0.0.0', '::'):
        shown = 'localhost'
    print(BANNER % {
        'url': 'http://%s:%d/' % (shown, port),
        'database': db.storage.getName(),
        'base': settings.base,
    }, flush=True)
    if not (host.startswith('127.') or host == '::1'):
        print(WARNING, file=sys.stderr, flush=True)


class Signals:
    """The first signal asks for an orderly end, the second ends at once."""

    def __init__(self):
        self.count = 0
        self.ending = False

    @contextmanager
    def caught(self):
        """Catch the signals of the block; one that ends it is no error."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle)
        try:
            yield
        except Ended:
            pass

    def handle(self, number, frame):
        """Signal handler."""
        self.count += 1
        if self.count > 1:
            os._exit(KILLED)
        if not self.ending:
            self.ending = True
            raise Ended

    def end(self):
        """From here on a first signal need not end anything."""
        self.ending = True


class Ended(SystemExit):
    """A signal asks for the end.  The server's loop knows its base."""


def _reason(error):
    return getattr(error, 'strerror', None) or str(error)
