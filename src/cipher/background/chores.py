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

from transaction.interfaces import TransientError
from zope.component import getUtilitiesFor

from cipher.background import process
from cipher.background import timetable
from cipher.background.contextmanagers import ZopeSite
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import ISchedule
from cipher.background.logs import getLogger
from cipher.background.reference import lineage
from cipher.background.services import instances
from cipher.background.services import isMissing
from cipher.background.services import keepRunning
from cipher.background.services import listServices


log = getLogger(__name__)


class Chores:
    """Starts what the clock or the end of a service asks for.

    Called by the control thread.  All runs go to the registry that is nearest
    to the root of the database.
    """

    def __init__(self, runtime):
        self._runtime = runtime
        self._failing = set()   # (what, name), to tell of each only once

    def turn(self, connection):
        """Look once; each start is a transaction of its own."""
        with ZopeTransaction():
            directory = process.getDirectory(connection)
            registries = directory.listRegistries()
            if not registries:
                return
            home = min(registries, key=lambda r: len(list(lineage(r))))
            schedules = [
                schedule for _, schedule in sorted(getUtilitiesFor(ISchedule))
                if timetable.isDue(home, schedule)]
            services = [(worker_type, instance)
                        for worker_type in listServices()
                        for instance in instances(worker_type)
                        if isMissing(home, worker_type, instance)]
        for schedule in schedules:
            self._start(home, 'schedule', timetable.tick, schedule)
        for worker_type, instance in services:
            self._start(home, 'service', keepRunning, worker_type, instance)

    def _start(self, home, what, start, declared, *arguments):
        key = what, declared.name
        try:
            with ZopeTransaction(note=self._runtime.note('%s %s' % key)):
                with ZopeSite(home.getSite()):
                    start(home, declared, *arguments)
            self._failing.discard(key)
        except TransientError:
            log.debug('%s %r: another process was faster', *key)
        except Exception:
            # No reason not to start the others.
            if key not in self._failing:
                self._failing.add(key)
                log.exception('%s %r: could not be started; it is tried '
                              'again at each turn', *key)
