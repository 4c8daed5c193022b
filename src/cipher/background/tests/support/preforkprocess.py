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
"""A server that loads its application before it forks, as gunicorn can.

The program forks two children.  Each answers a request, as user ``admin``,
and carries out a run.  It prints a line of JSON for each process.
"""
import io
import json
import os
import sys
import traceback

import transaction

from cipher.background.hosts.ztk import logTo
from cipher.background.hosts.ztk import makeApplication
from cipher.background.hosts.ztk import openDatabase
from cipher.background.registry.installation import getRegistry
from cipher.background.testing import waitForRun
from cipher.background.util import switchboard


def work(worker):
    """Return the process that works."""
    return os.getpid()


def request(application):
    """Return the status of a request for the overview."""
    statuses = []
    body = application({
        'REQUEST_METHOD': 'GET', 'PATH_INFO': '/++background++/index.html',
        'QUERY_STRING': '', 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
        'HTTP_HOST': 'localhost', 'SERVER_PROTOCOL': 'HTTP/1.1',
        'HTTP_AUTHORIZATION': 'Basic YWRtaW46YWRtaW4=',
        'wsgi.url_scheme': 'http', 'wsgi.input': io.BytesIO(),
        'wsgi.errors': sys.stderr},
        lambda status, headers, error=None: statuses.append(status))
    list(body)
    return int(statuses[0].split()[0])


def listRuntimes():
    """Return the processes that have a runtime here, one for each."""
    return [runtime.pid for runtime in switchboard._runtimes.values()]


def describe(application, opens):
    """Return what a child finds."""
    if opens:
        application.open()
    found = {'pid': os.getpid(), 'status': request(application),
             'runtimes': listRuntimes()}
    if found['runtimes']:
        runtime, = switchboard._runtimes.values()
        connection = runtime.db.open()
        try:
            site = connection.root()['Application']
            run = getRegistry(site).start('work')
            transaction.commit()
            found['state'] = waitForRun(run)
            found['worker'] = run.result
        finally:
            transaction.abort()
            connection.close()
        runtime.shutdown()
    return found


def fork(application, opens):
    """Let a child print what it finds; wait for its end."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            print(json.dumps(describe(application, opens)), flush=True)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.waitpid(pid, 0)


def main(zcml, uri, kind):
    """Load the application as *kind* says, then fork.

    *kind* is ``prefork``, ``preload``, or ``open`` for an open database.
    """
    logTo(sys.stderr)
    db = openDatabase(uri) if kind == 'open' else uri
    application = makeApplication(zcml, db, prefork=kind == 'prefork')
    print(json.dumps({'pid': os.getpid(), 'runtimes': listRuntimes()}),
          flush=True)
    for opens in True, False:
        fork(application, opens and kind == 'prefork')


if __name__ == '__main__':
    main(*sys.argv[1:])
