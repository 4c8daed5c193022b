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
"""A plain application of the Zope Toolkit: from its ZCML to its pages.

`serve` does everything.  Its parts are for a server of another kind:
`makeApplication` gives it a WSGI application, in the steps `loadZCML`,
`openDatabase` and `prepare`.  `bind`, `Signals` and `runServer` are those of a
process with waitress.
"""
import logging
import os
import re
import signal
import socket
import sys
import threading
from contextlib import closing
from contextlib import contextmanager
from pathlib import Path

import waitress
import zodburi
from transaction import TransactionManager
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.annotation.interfaces import IAnnotations
from zope.annotation.interfaces import IAttributeAnnotatable
from zope.app.appsetup import appsetup
from zope.app.publication.requestpublicationregistry import factoryRegistry
from zope.app.publication.zopepublication import ZopePublication
from zope.app.wsgi import WSGIPublisherApplication
from zope.authentication.interfaces import IAuthentication
from zope.authentication.interfaces import ILoginPassword
from zope.component import getUtilitiesFor
from zope.component import queryUtility
from zope.configuration.exceptions import ConfigurationError
from zope.container.interfaces import INameChooser
from zope.container.interfaces import IWriteContainer
from zope.event import notify
from zope.password.interfaces import IPasswordManager
from zope.processlifetime import DatabaseOpened
from zope.processlifetime import ProcessStarting
from zope.publisher.interfaces.http import IHTTPCredentials

from cipher.background.browser import answerErrors
from cipher.background.browser.pieces import describePackage
from cipher.background.browser.pieces import listAdapters
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IStartCheck
from cipher.background.util.forks import Locked
from cipher.background.util.logs import RecordFormatter
from cipher.background.util.logs import getLogger
from cipher.background.util.opening import makeDB
from cipher.background.util.switchboard import queryRuntime


log = getLogger(__name__)

#: Threads that answer requests.
WEB_THREADS = 8
#: Database connections besides those of web threads and jobs: for the control
#: thread, services and a console.
SPARE_CONNECTIONS = 6

#: What a plain host needs beside the pages: see `pieces.ADAPTERS`.
ADAPTERS = (
    ('zope.annotation', (IAttributeAnnotatable,), IAnnotations, ''),
    ('zope.container', (IWriteContainer,), INameChooser, ''),
    ('zope.login', (IHTTPCredentials,), ILoginPassword, ''),
)

#: Exit code when a second signal ends the process at once.
KILLED = 130


class HostError(Exception):
    """The application cannot begin; the text says why and what to do."""


def serve(zcml, db='Data.fs', host='127.0.0.1', port=8080,
          threads=WEB_THREADS):
    """Serve the application of the file *zcml* until a signal ends it.

    *db* is a path, a URI such as ``zeo://localhost:8100``, a storage or a DB.
    *threads* is the number of threads that answer requests.  Logs go to
    stderr, if nothing else is configured.

    The first SIGTERM, or Ctrl-C, lets open requests and running work end, as
    long as ``<background:runtime drain="…">`` says.  A second one ends the
    process at once.  SIGUSR1 makes the runtime quiet.

    Exit with a message if it cannot begin.
    """
    if not logging.getLogger().handlers:
        logTo(sys.stderr)
    signals = Signals()
    try:
        with signals.caught(), closing(bind(host, port)) as sock:
            loadZCML(zcml)
            with closingDatabase(openDatabase(db, threads)) as database:
                prepare(database)
                log.info('The pages are at %s/++background++; Ctrl-C ends '
                         'the server', getURL(sock))
                runServer(answerErrors(WSGIPublisherApplication(database)),
                          sock, threads, signals)
                log.info('Ends; running work may take up to its drain')
            log.info('Ended')
    except HostError as error:
        sys.exit('serve: %s' % error)


def makeApplication(zcml, db, prefork=False):
    """Return the WSGI application of the file *zcml*; it never raises.

    *db* is as in `serve`.  Load the ZCML, open the database and `prepare` it.
    The runtime lets its work end when the process ends.  Raise `HostError` if
    the application cannot begin.

    With *prefork*, for a server that loads the application before it forks,
    only load the ZCML.  Each process opens the database at its first request,
    or earlier when it calls ``open()`` of the application.
    """
    if prefork and not isinstance(db, (str, Path)):
        raise HostError(
            'makeApplication: expected a path or a URI with prefork=True, got '
            'a %s, which belongs to the process that opened it; give its URI'
            % type(db).__name__)
    loadZCML(zcml)
    application = Application(db)
    if not prefork:
        application.open()
    return application


class Application(Locked):
    """A WSGI application with a database of its own in each process."""

    def __init__(self, db):
        super().__init__()
        self._source = db
        self._pid = None        # of the process that has opened the database
        self._inherited = []    # kept: a parent's must not be closed here
        self._application = None
        self._answer = answerErrors(self._serve)

    def open(self):
        """Open the database and begin the runtime, once in each process.

        For the hooks of servers that fork, which call it after the fork.
        Raise `HostError` if it cannot begin.
        """
        with self._lock:
            if self._pid == os.getpid():
                return
            if self._pid is not None:
                self._leave_to_parent()
            db = openDatabase(self._source)
            prepare(db)
            self._application = WSGIPublisherApplication(db)
            self._pid = os.getpid()

    def _leave_to_parent(self):
        log.warning(
            'Start: expected an application that opens its database after '
            'the fork, got one that process %d has opened and works with; '
            'give makeApplication prefork=True, or do not preload', self._pid)
        if not isinstance(self._source, (str, Path)):
            raise HostError(
                'expected a path or a URI, which each process opens for '
                'itself, got a %s that a parent has opened; give '
                'makeApplication one, with prefork=True'
                % type(self._source).__name__)
        self._inherited.append(self._application)

    def __call__(self, environ, start_response):
        """Answer a request."""
        return self._answer(environ, start_response)

    def _serve(self, environ, start_response):
        self.open()
        return self._application(environ, start_response)


def prepare(db):
    """Notify the events of a start; raise `HostError` if they fail.

    Subscribers make the root site, the registry and the runtime.  Warnings in
    the log name the pieces that are missing.
    """
    for text in listMissing():
        log.warning('Start: %s', text)
    try:
        notify(DatabaseOpened(db))
    except Exception as error:
        # The reason may be one of these.
        for _name, check in getUtilitiesFor(IStartCheck):
            for text in check([]):
                log.warning('Start: %s', text)
        raise HostError(
            'expected an application that can be set up in its database, got '
            '%s: %s; the warnings in the log may say why'
            % (type(error).__name__, error)) from error
    checkRoot(db)
    notify(ProcessStarting())


def loadZCML(zcml):
    """Load the file *zcml*; raise `HostError`."""
    if not Path(zcml).is_file():
        raise HostError('expected a ZCML file, got none at %s; give the path '
                        'of one' % zcml)
    try:
        appsetup.config(str(Path(zcml).absolute()))
    except ConfigurationError as error:
        raise HostError(
            'expected ZCML that loads, got an error in it:\n%s' % error
        ) from error


def listMissing():
    """Yield a text for each piece of a plain host that the ZCML lacks."""
    yield from listAdapters(ADAPTERS)
    if queryUtility(IAuthentication) is None:
        yield describePackage('zope.principalregistry')
    if not factoryRegistry.getFactoriesFor('GET', '*'):
        yield describePackage('zope.app.publication')
    if queryUtility(IPasswordManager, 'Plain Text') is None:
        yield describePackage('zope.password')
    if queryUtility(IStartCheck, 'pages') is None:
        yield ('expected the pages of cipher.background, got none, so their '
               'addresses are not found; put <include '
               'package="cipher.background" file="host.zcml" /> into the '
               'ZCML')


def checkRoot(db):
    """Log a warning if no subscriber has made the root site."""
    manager = TransactionManager()
    with closing(db.open(manager)) as connection:
        if ZopePublication.root_name not in connection.root():
            log.warning('Start: %s', describePackage('zope.app.appsetup'))


def openDatabase(db, web_threads=WEB_THREADS):
    """Return the DB of a path, a URI, a storage or a DB; raise `HostError`.

    It has connections enough for *web_threads* and the declared runtime.
    """
    if isinstance(db, DB):
        return db
    settings = {}
    try:
        if isinstance(db, (str, Path)) and '://' not in str(db):
            db = FileStorage(str(db))
        elif isinstance(db, str):
            # zodburi does not know the common name of this scheme.
            factory, settings = zodburi.resolve_uri(
                re.sub('^postgresql:', 'postgres:', db))
            db = factory()
    except Exception as error:
        raise HostError(
            'expected a database that opens, got %s: %s; give another, or end '
            'the process that has it open'
            % (type(error).__name__, error)) from error
    declared = queryUtility(IRuntimeSettings)
    wanted = (web_threads + SPARE_CONNECTIONS
              + (declared.threads if declared is not None else 0))
    settings['pool_size'] = max(settings.get('pool_size', 0), wanted)
    return makeDB(db, **settings)


@contextmanager
def closingDatabase(db):
    """Close *db* after the block, its runtime first; yield it."""
    try:
        quietAtSignal(db)
        yield db
    finally:
        # The runtime first: its work needs the database.
        runtime = queryRuntime(db)
        if runtime is not None:
            runtime.shutdown()
        db.close()


def quietAtSignal(db):
    """Make the runtime quiet at SIGUSR1, which announces a shutdown."""
    def handle(number, frame):
        runtime = queryRuntime(db)
        if runtime is not None:
            # In another thread: the interrupted code may hold a lock.
            threading.Thread(target=runtime.quiet, daemon=True).start()

    signal.signal(signal.SIGUSR1, handle)


def runServer(application, sock, threads, signals, **options):
    """Serve *application* at *sock* until a signal comes.

    *options* are further ones of waitress.
    """
    server = waitress.create_server(
        application, sockets=[sock], threads=threads, ident=None,
        clear_untrusted_proxy_headers=True, **options)
    # Returns after the signal: it takes no more requests and gives open ones
    # some seconds.
    server.run()
    signals.end()
    server.close()


def logTo(stream):
    """Make all loggers write to *stream*; texts cannot forge records there."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RecordFormatter(
        '%(asctime)s %(levelname)s %(name)s: %(message)s'))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def bind(host, port):
    """Return a socket that is bound to the address and listens.

    Raise `HostError`.
    """
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise HostError(
            'host: expected a name or an address of this machine, got %r '
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
        raise HostError(
            'expected to listen at %s port %d, got "%s"; give another port '
            'or host' % (host, port, _reason(error))) from None
    return sock


def getURL(sock):
    """Return the URL at which a browser of this machine reaches *sock*."""
    host, port = sock.getsockname()[:2]
    if host in ('0.0.0.0', '::'):
        host = 'localhost'
    return 'http://%s:%d' % ('[%s]' % host if ':' in host else host, port)


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
