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
"""The scheduler: start runs of schedules that are due, and of services."""
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
    """Starts runs of due schedules and of services that are not running.

    All runs go to the registry that is nearest to the root of the database.
    The process *own* starts them if its *admission* lets it begin anything.
    Starts that fail are noted in *troubles*.
    """

    def __init__(self, own, admission, troubles):
        self._own = own
        self._admission = admission
        self._troubles = troubles

    def startSchedules(self, connection):
        """Start the due schedules, each in a transaction of its own."""
        def look(home):
            return [schedule for _, schedule
                    in sorted(getUtilitiesFor(ISchedule))
                    if _asks(schedules.isDue, home, schedule)]

        for home, schedule in self._find(connection, look):
            self._start(home, 'schedule', schedules.tick, schedule)

    def startServices(self, connection):
        """Start the missing services, each in a transaction of its own."""
        def look(home):
            return [(worker_type, instance)
                    for worker_type in listServices()
                    if self._own.begins(worker_type.name)
                    for instance in instances(worker_type)
                    if _asks(isMissing, home, worker_type, instance)]

        for home, (worker_type, instance) in self._find(connection, look):
            self._start(home, 'service', keepRunning, worker_type, instance)

    def _find(self, connection, look):
        """Return [(registry, item)] for the items that *look* returns.

        *look* is called with the registry.
        """
        if not (self._own.threads and self._admission.is_taking):
            return []
        with ZopeTransaction():
            registries = process.getDirectory(connection).listRegistries()
            if not registries:
                return []
            home = timetable.homeOf(registries)
            return [(home, item) for item in look(home)]

    def _start(self, home, what, start, declared, *arguments):
        # A failure of the application's code must not keep the others from
        # being started.
        name = '%s %s' % (what, declared.name)
        troubles = self._troubles
        if troubles.isResting(FAILING_STEP, name):
            return
        with troubles.guard(FAILING_STEP, name):
            with ZopeTransaction(note=self._own.note(name)):
                with ZopeSite(home.getSite()):
                    start(home, declared, *arguments)


def _asks(question, home, *arguments):
    """Return what *question* returns; True if it raises.

    The start then fails as well, and its error is noted.  Raise transient
    errors.
    """
    try:
        return question(home, *arguments)
    except BaseException as error:
        if isTransient(error, home._p_jar.db()):
            raise
        return True
