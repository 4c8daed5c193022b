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
"""Report to other processes: the heartbeat with its troubles, and live runs.
"""
from cipher.background.contextmanagers import ZodbConnection
from cipher.background.contextmanagers import ZopeTransaction
from cipher.background.interfaces import RuntimeRefused
from cipher.background.util import clock


#: Seconds.  Runs that are live for less are not reported to other processes:
#: most short jobs then need no report.
LIVE_AFTER = 1.0

#: The note of a heartbeat.  It is short, as an idle process writes nothing
#: else.
NOTE = 'heartbeat'


class Reports:
    """The reports of the process *own*, about its `OwnRuns` *runs*.

    *liveness* learns of each heartbeat.  *list_troubles* returns the
    `Trouble` objects to report, *report* has them reported soon.
    """

    def __init__(self, own, runs, liveness, list_troubles, report):
        self._own = own
        self._runs = runs
        self._liveness = liveness
        self._list_troubles = list_troubles
        self._report = report
        self._left = set()    # keys of live runs in lanes that we left
        self._reported = {}   # live runs as recorded; None: not known

    def begin(self):
        """Report to a new record, which names no live runs yet."""
        self._reported = {}
        self._report()

    def beat(self):
        """Write the heartbeat, with the troubles of this process.

        The thread of the heartbeat calls this.  Return False if the process
        has no record.
        """
        own = self._own
        if not own.is_recorded:
            return False
        troubles = self._list_troubles()
        waiting = self._runs.backlog.mostWaiting()
        with ZodbConnection(own.db) as connection:
            with ZopeTransaction(note=NOTE):
                record = own.findRecord(connection)
                if record is None:
                    return False
                record.heartbeat.count += 1
                record.heartbeat.beat_at = clock.now()
                record.heartbeat.troubles = tuple(map(tuple, troubles))
                if record.heartbeat.waiting != waiting:
                    record.heartbeat.waiting = waiting
        self._liveness.noteBeat()
        return True

    def writeLive(self, connection):
        """Write the live runs into the record, if they changed."""
        own = self._own
        live = self._live()
        if not own.is_recorded or live == self._reported:
            return
        self._reported = None   # an error leaves open what was committed
        with ZopeTransaction(note=own.note('live runs')):
            record = own.findRecord(connection)
            if record is None:
                return
            _write(record, live)
        self._reported = live

    def writeAllLive(self, connection):
        """Write all live runs into the record, in the open transaction.

        Raise `RuntimeRefused` if others took this process for dead.
        """
        self._reported = None
        record = self._own.findRecord(connection)
        if record is None:
            raise RuntimeRefused('process %s was taken for dead'
                                 % self._own.name)
        _write(record, self._live(with_all=True))

    def _live(self, with_all=False):
        limit = clock.now() - LIVE_AFTER
        lives = {live.key: live for live in self._runs.running.allLive()
                 if not live.is_abandoned}
        if with_all:
            # They stay reported, however young, as their lane has been left.
            self._left = set(lives)
        self._left.intersection_update(lives)
        return {key: live.getReport() for key, live in lives.items()
                if live.started_at <= limit or key in self._left}


def _write(record, live):
    if record.live.runs != live:
        record.live.runs = live
