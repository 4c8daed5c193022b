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
"""The demo's server.

It binds the socket first, then opens the database, then prints its address.
So a failure leaves nothing half done.
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
#: Database connections besides those of web threads and jobs: for the control
#: thread, services and a console.
SPARE_CONNECTIONS = 6
#: Bytes of a request at most; a document needs fewer.
BODY_LIMIT = 4 * 1024 * 1024

#: The umask: only this user may read the files.
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
    """Serve until a signal comes; raise `DemoError` if it cannot begin."""
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
            # Returns after the signal: it takes no more requests and gives
            # open ones some seconds.
            server.run()
            signals.end()
            server.close()
    print('Bye.', flush=True)


def log_to(stream):
    """Make all loggers write to *stream*; texts cannot forge records there."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RecordFormatter(
        '%(asctime)s %(levelname)s %(name)s: %(message)s'))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def make_application(db, options):
    """Return the WSGI application; it never raises."""
    return answerErrors(
        refuseForeignHosts(WSGIPublisherApplication(db),
                           [options.host, *options.allow_host]),
        browsers_only=True)


@contextmanager
def opened(options, settings):
    """Open the database with a runtime; shut both down afterwards."""
    db = open_database(
        options.db, options.home, options.fresh,
        WEB_THREADS + options.threads + SPARE_CONNECTIONS)
    try:
        configure(options.threads, settings)
        notify(DatabaseOpened(db))
        quiet_at_signal(db)
        yield db
    finally:
        # The runtime first: its work needs the database.
        runtime = queryRuntime(db)
        if runtime is not None:
            runtime.shutdown()
        db.close()


def quiet_at_signal(db):
    """Make the runtime quiet at SIGUSR1, which announces a shutdown."""
    def handle(number, frame):
        runtime = queryRuntime(db)
        if runtime is not None:
            # In another thread: the interrupted code may hold a lock.
            threading.Thread(target=runtime.quiet, daemon=True).start()

    signal.signal(signal.SIGUSR1, handle)


def configure(threads, settings):
    """Load the ZCML; options of the command line override it."""
    getGlobalSiteManager().registerUtility(settings, IImportSettings)
    appsetup.config(str(SITE_ZCML))
    set_threads(threads)


def set_threads(threads):
    """Set the number of threads of the runtime, overriding the ZCML."""
    declared = getUtility(IRuntimeSettings)
    values = {name: getattr(declared, name)
              for name in getFieldNames(IRuntimeSettings)}
    getGlobalSiteManager().registerUtility(
        RuntimeSettings(**dict(values, threads=threads)), IRuntimeSettings)


def get_import_settings(base):
    """Return the `ImportSettings` for *base*; raise `DemoError`."""
    if base is not None and not Path(base).is_dir():
        raise DemoError('--import-base: expected a folder, got %r; give one '
                        'that exists' % base)
    return ImportSettings(base)


def bind(host, port):
    """Return a socket that is bound to the address and listens."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise DemoError(
            '--host: expected a name or an address of this machine, got %r '
            '(%s); try 127.0.0.1' % (host, _reason(error))) from None
    sock = socket.socket(family, kind, protocol)
    try:
        # Closing connections of an earlier server must not prevent a start.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        # With that option another process may bind the address until somebody
        # listens.
        sock.listen()
    except OSError as error:
        sock.close()
        raise DemoError(
            'expected to listen at %s port %d, got "%s"; give another --port '
            'or --host' % (host, port, _reason(error))) from None
    return sock


def say_hello(sock, db, settings):
    """Print the address of the demo and its users."""
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
        """Catch the signals of the block; `Ended` is not an error."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle)
        try:
            yield
        except Ended:
            pass

    def handle(self, number, frame):
        """Handle a signal."""
        self.count += 1
        if self.count > 1:
            os._exit(KILLED)
        if not self.ending:
            self.ending = True
            raise Ended

    def end(self):
        """Note that the end has begun: a first signal has no effect now."""
        self.ending = True


class Ended(SystemExit):
    """A signal asked for the end; the server's loop handles its base class.
    """


def _reason(error):
    return getattr(error, 'strerror', None) or str(error)
