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
import os
import sys
from contextlib import closing
from contextlib import contextmanager
from pathlib import Path

from zope.app.wsgi import WSGIPublisherApplication
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.schema import getFieldNames

from cipher.background import RuntimeSettings
from cipher.background.browser import answerErrors
from cipher.background.demo.database import DemoError
from cipher.background.demo.database import open_database
from cipher.background.demo.hosts import refuseForeignHosts
from cipher.background.demo.settings import IImportSettings
from cipher.background.demo.settings import ImportSettings
from cipher.background.hosts.ztk import SPARE_CONNECTIONS
from cipher.background.hosts.ztk import WEB_THREADS
from cipher.background.hosts.ztk import Signals
from cipher.background.hosts.ztk import bind
from cipher.background.hosts.ztk import closingDatabase
from cipher.background.hosts.ztk import getURL
from cipher.background.hosts.ztk import loadZCML
from cipher.background.hosts.ztk import logTo
from cipher.background.hosts.ztk import prepare
from cipher.background.hosts.ztk import runServer
from cipher.background.interfaces import IRuntimeSettings


SITE_ZCML = Path(__file__).resolve().parent / 'site.zcml'

#: Bytes of a request at most; a document needs fewer.
BODY_LIMIT = 4 * 1024 * 1024

#: The umask: only this user may read the files.
PRIVATE = 0o077

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
    logTo(sys.stderr)
    # The database holds the secret of the forms.
    os.umask(PRIVATE)
    settings = get_import_settings(options.import_base)
    signals = Signals()
    with signals.caught(), closing(bind(options.host, options.port)) as sock:
        with opened(options, settings) as db:
            application = make_application(db, options)
            say_hello(sock, db, settings)
            runServer(application, sock, WEB_THREADS, signals,
                      max_request_body_size=BODY_LIMIT)
    print('Bye.', flush=True)


def make_application(db, options):
    """Return the WSGI application; it never raises."""
    return answerErrors(
        refuseForeignHosts(WSGIPublisherApplication(db),
                           [options.host, *options.allow_host]),
        browsers_only=True)


@contextmanager
def opened(options, settings):
    """Open the database; shut it down afterwards, its runtime first."""
    with closingDatabase(open_database(
            options.db, options.home, options.fresh,
            WEB_THREADS + options.threads + SPARE_CONNECTIONS)) as db:
        configure(options.threads, settings)
        prepare(db)
        yield db


def configure(threads, settings):
    """Load the ZCML; options of the command line override it."""
    getGlobalSiteManager().registerUtility(settings, IImportSettings)
    loadZCML(SITE_ZCML)
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


def say_hello(sock, db, settings):
    """Print the address of the demo and its users."""
    host = sock.getsockname()[0]
    print(BANNER % {
        'url': getURL(sock) + '/',
        'database': db.storage.getName(),
        'base': settings.base,
    }, flush=True)
    if not (host.startswith('127.') or host == '::1'):
        print(WARNING, file=sys.stderr, flush=True)
