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
"""The Celery module of an application, as its worker processes import it.

Its environment variables are BROKER, DATABASE (a zodburi) and FOLDER (of the
barriers).
"""
import os

from celery import Celery
from zope.component import hooks
from zope.component import provideUtility

from cipher.background.celery import register
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.runtime.maintenance import turn
from cipher.background.tests.support import servers
from cipher.background.tests.support.crashingprocess import declareWorkers
from cipher.background.tests.support.servers import touch


def makeApp(broker):
    """Return a new Celery application."""
    app = Celery('world', broker=broker, set_as_current=False)
    app.conf.update(
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={'polling_interval': 0.05})
    return app


def openDatabase():
    """Declare the worker types of the test; return its database."""
    folder = os.environ['FOLDER']
    hooks.setHooks()
    turn.REPORT_INTERVAL = 0.2   # seconds: tests are in a hurry
    declareWorkers(folder)
    provideUtility(RuntimeSettings(
        poll=0.05, lease=3.0, drain=5.0, executor='celery'), IRuntimeSettings)
    db = servers.openDatabase(os.environ['DATABASE'])
    touch(folder, 'opened-%d' % os.getpid())
    return db


if 'BROKER' in os.environ:
    app = makeApp(os.environ['BROKER'])
    task = register(app, openDatabase)
