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
"""The runs that a process works on, and who asks for them."""
import threading
import time

from cipher.background.declarations.workertype import nameOf


class RunningRuns:
    """The live runs of one runtime.  Any thread may call."""

    def __init__(self):
        self.conflicts = 0      # of the runs that are over
        self.entered = 0        # runs that began, so far
        self._lock = threading.Lock()
        self._live = {}         # (registry oid, run id) -> LiveRun
        self._idle = threading.Condition(self._lock)
        self._draining = threading.Event()   # takes nothing new

    @property
    def is_draining(self):
        """Whether it takes nothing new."""
        return self._draining.is_set()

    def mayRun(self, worker_type, live):
        """Return whether this process alone leaves room for one more."""
        limit = worker_type.max_running
        if limit is None:
            return True
        with self._lock:
            return limit > sum(
                other is not live and other.worker_type is not None
                and nameOf(other.worker_type) == nameOf(worker_type)
                for other in self._live.values())

    def startDraining(self):
        """Take nothing new from now on; return whether that is news."""
        with self._lock:
            is_news = not self._draining.is_set()
            self._draining.set()
            return is_news

    def enter(self, live):
        """Take *live* among the live runs; False if it is there already."""
        with self._lock:
            if self._draining.is_set():
                return False
            self.entered += 1
            return self._live.setdefault(live.key, live) is live

    def leave(self, live):
        """*live* is live no longer; its ticket still waits."""
        with self._lock:
            self.conflicts += live.conflicts
            del self._live[live.key]
            self._idle.notify_all()

    def countJobs(self):
        """Return how many threads of the executor are at work."""
        return sum(live.thread_id is not None and not live.isUnbounded()
                   for live in self.allLive())

    def findLive(self, registry_oid, run_id):
        """Return the `LiveRun` of a run, or None."""
        return self._live.get((registry_oid, run_id))

    def getLive(self, registry_oid, run_id):
        """Return the `run.Live` of a run, None unless it is live here."""
        live = self.findLive(registry_oid, run_id)
        return live and live.getStatus()

    def getStack(self, registry_oid, run_id):
        """Return where the thread of a run stands, None unless it is live."""
        live = self.findLive(registry_oid, run_id)
        return live and live.getStack()

    def listLive(self, registry_oid):
        """Return the ids of the runs of a registry that are live here."""
        with self._lock:
            return [run_id for oid, run_id in self._live
                    if oid == registry_oid]

    def allLive(self):
        """Return every `LiveRun`."""
        with self._lock:
            return list(self._live.values())

    def liveOids(self):
        """Return the oids of the runs that are live, as far as is known."""
        return {live.run_oid for live in self.allLive()}

    def stopAll(self, with_jobs=True):
        """Ask all to stop, because the process ends."""
        for live in self.allLive():
            if with_jobs or live.isUnbounded():
                live.requestStop()

    def abandonAll(self):
        """Let nothing that works now commit any more; return what that is."""
        lives = self.allLive()
        for live in lives:
            live.abandon()
        return lives

    def liveRegistries(self):
        """Return the oids of the registries that have live runs here."""
        with self._lock:
            return {oid for oid, _ in self._live}

    def waitIdle(self, until):
        """Wait until nothing is in work, or for that (monotonic) time."""
        with self._idle:
            self._idle.wait_for(
                lambda: not self._live,
                timeout=max(0.0, until - time.monotonic()))
