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
"""What a runtime does for a database now and then: schedules, services."""
from zope.component import getUtilitiesFor

from cipher.background.contextmanagers import ZopeSite
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import ISchedule
from cipher.background.queries import timetable
from cipher.background.registry import schedules
from cipher.background.registry.services import instances
from cipher.background.registry.services import isMissing
from cipher.background.registry.services import keepRunning
from cipher.background.registry.services import listServices
from cipher.background.store import process
from cipher.background.util.transient import isTransient


class Scheduler:
    """Starts what the clock or the end of a service asks for.

    Called by the control thread.  All runs go to the registry that is nearest
    to the root of the database.
    """

    def __init__(self, own, admission, troubles):
        self._own = own
        self._admission = admission
        self._troubles = troubles

    def startSchedules(self, connection):
        """Start what is due; each start is a transaction of its own."""
        def look(home):
            return [schedule for _, schedule
                    in sorted(getUtilitiesFor(ISchedule))
                    if _asks(schedules.isDue, home, schedule)]

        for home, schedule in self._find(connection, look):
            self._start(home, 'schedule', schedules.tick, schedule)

    def startServices(self, connection):
        """Start what is missing, likewise."""
        def look(home):
            return [(worker_type, instance)
                    for worker_type in listServices()
                    for instance in instances(worker_type)
                    if _asks(isMissing, home, worker_type, instance)]

        for home, (worker_type, instance) in self._find(connection, look):
            self._start(home, 'service', keepRunning, worker_type, instance)

    def _find(self, connection, look):
        """Return (registry, item) for each item that *look* finds there."""
        if not (self._own.threads and self._admission.is_taking):
            return []
        with ZopeTransaction():
            registries = process.getDirectory(connection).listRegistries()
            if not registries:
                return []
            home = timetable.homeOf(registries)
            return [(home, item) for item in look(home)]

    def _start(self, home, what, start, declared, *arguments):
        # A failure, whatever the code of the application does, is no reason
        # not to start the others.
        name = '%s %s' % (what, declared.name)
        troubles = self._troubles
        if troubles.isResting(FAILING_STEP, name):
            return
        with troubles.guard(FAILING_STEP, name):
            with ZopeTransaction(note=self._own.note(name)):
                with ZopeSite(home.getSite()):
                    start(home, declared, *arguments)


def _asks(question, home, *arguments):
    """Return what *question* says; True where it fails.

    Then the start fails as well, and is noted.
    """
    try:
        return question(home, *arguments)
    except BaseException as error:
        if isTransient(error, home._p_jar.db()):
            raise
        return True
