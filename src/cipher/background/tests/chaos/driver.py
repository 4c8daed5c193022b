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
"""Lets processes live and die at random.

This process starts no thread and opens no database before the end, so that a
process is there quickly: by a fork of this one.
"""
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter

from cipher.background.tests.chaos import client
from cipher.background.tests.chaos import copies
from cipher.background.tests.chaos import wallclocks
from cipher.background.tests.chaos.audit import auditDatabase
from cipher.background.tests.chaos.audit import auditLedger
from cipher.background.tests.chaos.storages import STORAGES
from cipher.background.tests.chaos.wallclocks import WallClocks
from cipher.background.tests.chaos.world import Ledger
from cipher.background.tests.chaos.world import makeWorld


#: Seconds that a process may take to its end.
END_LIMIT = 40.0

#: Runs that a process has begun, or seconds that it has lived, before it is
#: killed, most of the time: else hardly any work is killed on a slow machine.
READY_STEPS = 4
READY_PATIENCE = 4.0

#: Lanes for each process, and for one more: they are to be used again.
MOST_LANES = 16

# Where there is a server, the first processes outlive it: one starts runs
# only, the other works as well.  So oids that they have in stock are given out
# again by a server that begins anew, to the other one.
LASTING = 2

KILL, TERM, PAUSE, RESTART = 'kill -9', 'SIGTERM', 'pause', 'server restart'
#: The wall clock of a process jumps; it jumps back later.
JUMP = 'clock jump'
#: The database is copied, and the copy opened beside the original.
COPY = 'copy'

_WEIGHTS = {KILL: 70, TERM: 15, PAUSE: 6, RESTART: 3, JUMP: 6, COPY: 3}


class Client:
    """A process, as the driver sees it."""

    resume_at = None   # when to end its pause
    termed_at = None   # when it was asked to end

    def __init__(self, pid, boot, pipe):
        self.pid = pid
        self.boot = boot
        self._born_at = time.monotonic()
        self._pipe = pipe
        self._steps = 0

    def isReady(self):
        """Return whether it has done anything that is worth a kill."""
        if self._steps < READY_STEPS:
            try:
                self._steps += len(os.read(self._pipe, READY_STEPS))
            except BlockingIOError:
                pass
        return self._steps >= READY_STEPS

    def age(self):
        """Return for how many seconds it has been there."""
        return time.monotonic() - self._born_at

    def signal(self, number):
        """Send a signal to it."""
        os.kill(self.pid, number)

    def forget(self):
        """It is dead."""
        os.close(self._pipe)


class Driver:
    """One chaos; `violations` says what the driver itself saw."""

    def __init__(self, options, folder):
        self._options = options
        self._folder = folder
        self._rand = random.Random(options.seed)
        self._clients = {}   # slot -> Client
        self._boots = 0
        self.signals = Counter()
        self.violations = []
        self._ledger = Ledger(folder, 'driver')
        self._storage = STORAGES[options.storage](folder)
        self._processes = min(
            options.processes or self._storage.processes,
            self._storage.most_processes)
        self._lasting = LASTING if (
            self._storage.has_server and self._processes > LASTING) else 0
        self._clocks = WallClocks(self._processes)
        self._right_at = {}   # slot -> when its clock is set right
        self._copies = []     # `Client` of each copy that is watched

    @property
    def _has_jumps(self):
        return bool(self._clocks.jumps)

    @property
    def kills(self):
        """How many processes were ended."""
        return self.signals[KILL] + self.signals[TERM]

    def run(self):
        """Let it happen; return (table of runs, lanes) of the audit."""
        try:
            self._storage.start()
            self._child(lambda boot, ready: self._prepare())
            begin = time.monotonic()
            while self._goes_on(time.monotonic() - begin):
                self._look_after_clients()
                self._act()
                time.sleep(self._rand.uniform(*self._options.pace))
            self._end_clients()
            self.seconds = time.monotonic() - begin
            self._child(lambda boot, ready: client.drain(
                self._storage, self._folder, boot, self._has_jumps))
            return self._audit()
        finally:
            for one in (*self._clients.values(), *self._copies):
                one.signal(signal.SIGKILL)
                os.waitpid(one.pid, 0)
            self._storage.stop()

    def close(self):
        """Close what is open."""
        self._ledger.close()

    def listEvents(self, name):
        """Return the values of all events of that *name* in the ledger."""
        return [rest[0] for _, event, *rest in Ledger.read(self._folder)
                if event == name]

    def _goes_on(self, seconds):
        options = self._options
        return ((options.kills is None or self.kills < options.kills)
                and (options.seconds is None or seconds < options.seconds))

    # Processes

    def _fork(self, main):
        """Start a process that calls *main*; return its `Client`."""
        self._boots += 1
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            os.close(writer)
            return Client(pid, self._boots, reader)
        status = 1
        try:
            os.close(reader)
            main(self._boots, writer)
            status = 0
        except SystemExit as end:
            status = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _child(self, main):
        one = self._fork(main)
        status = os.waitpid(one.pid, 0)[1]
        one.forget()
        if status:
            raise SystemExit('a process ended with %d' % status)

    def _prepare(self):
        db = self._storage.open()
        makeWorld(db, self._processes * client.STARTERS)
        db.close()

    def _look_after_clients(self):
        now = time.monotonic()
        for slot, right_at in list(self._right_at.items()):
            if right_at <= now:
                del self._right_at[slot]
                self._clocks.jump(slot, 0.0)
        for one in list(self._copies):
            self._look_after_copy(one)
        for slot in range(self._processes):
            one = self._clients.get(slot)
            if one is not None:
                self._look_after(slot, one, now)
            if slot not in self._clients:
                works = self._works(slot)
                self._clients[slot] = self._fork(
                    lambda boot, ready, slot=slot, works=works: client.run(
                        self._storage, self._folder, slot, boot, ready,
                        works, self._clocks))

    def _look_after_copy(self, one, options=os.WNOHANG):
        pid, status = os.waitpid(one.pid, options)
        if pid:
            one.forget()
            self._copies.remove(one)
            if status:
                self._say(one, 'the copy ended with %d' % status)

    def _copy(self):
        """Copy the database; watch the copy in a process of its own."""
        name = 'copy-%d' % self.signals[COPY]
        path = copies.takeCopy(
            self._storage.file, self._folder, name, self._rand)
        if path is None:
            return
        has_id = self._storage.has_server or self._rand.random() < 0.5

        def main(boot, ready):
            ledger = client.setUp(self._folder, boot)
            copies.watch(path, ledger, has_id)
            shutil.rmtree(os.path.dirname(path))

        self._copies.append(self._fork(main))

    def _works(self, slot):
        # Now and then one that carries nothing out: a web server.
        if slot < self._lasting:
            return slot > 0
        return self._processes == 1 or self._rand.random() > 0.15

    def _look_after(self, slot, one, now):
        pid, status = os.waitpid(one.pid, os.WNOHANG)
        if pid:
            # Its handler was not there yet.
            is_early = status == signal.SIGTERM and not one.isReady()
            self._buried(slot, one)
            if one.termed_at is None or status and not is_early:
                self._say(one, 'ended by itself, with %d' % status)
            return
        if one.resume_at is not None and one.resume_at <= now:
            one.resume_at = None
            one.signal(signal.SIGCONT)
        if one.termed_at is not None and now > one.termed_at + END_LIMIT:
            self._say(one, 'does not end')
            self._show_stacks(one)
            self._kill(slot, one)

    def _say(self, one, text):
        self.violations.append('process %s: %s' % (one.boot, text))

    def _show_stacks(self, one):
        one.signal(signal.SIGUSR1)
        time.sleep(0.2)

    def _buried(self, slot, one):
        one.forget()
        del self._clients[slot]

    def _kill(self, slot, one):
        self._ledger.write('gone', boot=one.boot)
        one.signal(signal.SIGKILL)
        os.waitpid(one.pid, 0)
        self._buried(slot, one)

    # What happens

    def _act(self):
        # Some die before they did anything.
        slots = [slot for slot, one in sorted(self._clients.items())
                 if slot >= self._lasting
                 and one.resume_at is None and one.termed_at is None
                 and (one.isReady() or one.age() > READY_PATIENCE
                      or self._rand.random() < 0.1)]
        if not slots:
            return
        slot = self._rand.choice(slots)
        one = self._clients[slot]
        what, = self._rand.choices(*zip(*_WEIGHTS.items()))
        if (what == RESTART and not self._storage.has_server
                or what == COPY and (
                    self._storage.file is None or self._copies)):
            what = KILL
        self.signals[what] += 1
        if what == KILL:
            self._kill(slot, one)
        elif what == TERM:
            one.termed_at = time.monotonic()
            one.signal(signal.SIGTERM)
        elif what == PAUSE:
            self._ledger.write('gone', boot=one.boot)
            one.signal(signal.SIGSTOP)
            # Perhaps for longer than its lease, where others see that.
            most = (self._rand.choice((0.5, 2 * client.LEASE))
                    if self._processes > 1 else 0.5)
            one.resume_at = time.monotonic() + self._rand.uniform(0.1, most)
        elif what == JUMP:
            self._clocks.jump(slot, self._rand.choice((-1, 1))
                              * self._rand.uniform(60.0, wallclocks.MOST))
            self._right_at[slot] = (
                time.monotonic() + self._rand.uniform(0.2, 4.0))
        elif what == COPY:
            self._copy()
        else:
            self._storage.restart(self._rand)

    def _end_clients(self):
        for one in list(self._copies):
            self._look_after_copy(one, 0)
        for one in self._clients.values():
            one.signal(signal.SIGCONT)
            if one.termed_at is None:
                one.termed_at = time.monotonic()
                one.signal(signal.SIGTERM)
        for slot, one in list(self._clients.items()):
            while slot in self._clients:
                self._look_after(slot, one, time.monotonic())
                time.sleep(0.01)

    def _audit(self):
        db = self._storage.open()
        try:
            violations, table, lanes = auditDatabase(db, self._has_jumps)
        finally:
            db.close()
        self.violations += auditLedger(Ledger.read(self._folder))
        self.violations += violations
        if lanes > MOST_LANES * (1 + self._processes):
            self.violations.append('%d lanes for %d processes' % (
                lanes, self._processes))
        return table, lanes
