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
"""The end of a Zope process: it drains before its database is closed.

``runwsgi`` closes the database before the interpreter exits, so the runtime
has to be ended before.  At SIGTERM it would not even do that.
"""
import signal
import sys
import threading

import Zope2
from zope.component import adapter
from zope.component import queryUtility
from zope.processlifetime import IDatabaseOpenedWithRoot

from cipher.background.interfaces import IRuntimeSettings
from cipher.background.util.switchboard import queryRuntime


class Drain:
    """Stands before a database in the list of those that Zope closes."""

    def __init__(self, db):
        self.db = db

    def close(self):
        """Drain the runtime of the database, if it has one."""
        runtime = queryRuntime(self.db)
        if runtime is not None:
            runtime.shutdown()


@adapter(IDatabaseOpenedWithRoot)
def prepareEnd(event):
    """Subscriber: drain at the end of ``runwsgi``, and end it at SIGTERM."""
    if not isServed():
        return
    Zope2.opened.insert(0, Drain(event.database))
    if (queryUtility(IRuntimeSettings) is not None
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL):
        signal.signal(signal.SIGTERM, _end)


def isServed():
    """Return whether this process is one of ``runwsgi``.

    Other servers have signals and an end of their own.
    """
    return ('Zope2.Startup.serve' in sys.modules
            # So does an instance script of Plone start it.
            or hasattr(sys.modules['__main__'], 'ServeCommand'))


def _end(number, frame):
    # A second signal ends the process at once.
    signal.signal(number, signal.SIG_DFL)
    sys.exit()
