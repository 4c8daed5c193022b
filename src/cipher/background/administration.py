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
"""What administrators do to a registry."""
from cipher.background import clock
from cipher.background import timetable
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import RunNotStoppable
from cipher.background.interfaces import RunStoppedEvent
from cipher.background.principal import currentPrincipal
from cipher.background.text import cleanLine
from cipher.background.wakeup import wakeAfterCommit
from cipher.background.watch import Watch


class Administration:
    """Mix-in of `registry.WorkerRegistry`; never commits."""

    def requestStop(self, run_id, reason=None):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        run = self._get(run_id)
        if run.isFinished():
            raise RunNotStoppable(
                'run %r: expected a pending or running run to stop, got one '
                'that is %r; nothing is left to stop' % (run.id, run.state))
        request = (currentPrincipal(), clock.now(),
                   cleanLine(reason) if reason else None)
        if Watch(self).state(run) == PENDING:
            self.finish(run, STOPPED, RunStoppedEvent, stop_request=request)
            return STOPPED
        if run.id not in self.stops:
            self.stops[run.id] = request
            wakeAfterCommit(self._p_jar)
        return RUNNING

    def pauseSchedule(self, name, is_paused=True):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        timetable.pause(self, name, is_paused)

    def runSchedule(self, name):
        """See `~cipher.background.interfaces.IWorkerRegistry`."""
        return timetable.runNow(self, name)
