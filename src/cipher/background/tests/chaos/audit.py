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
"""The auditor: what is wrong in a database, and in a ledger, after chaos.

All processes must have ended in good order, and nothing may wait any more.
"""
from collections import Counter

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.store.lifecycle import MAX_INTERRUPTIONS
from cipher.background.store.process import getDirectory
from cipher.background.tests.chaos.world import ATTEMPTS
from cipher.background.tests.chaos.world import HOT
from cipher.background.tests.chaos.world import ITERATIONS
from cipher.background.tests.chaos.world import LIMIT
from cipher.background.tests.chaos.world import STEPS
from cipher.background.tests.chaos.world import getWorld


class Audit:
    """What one look at a database found: `violations` and `table`."""

    def __init__(self, connection, has_jumps=False):
        self._has_jumps = has_jumps   # times are what clocks said
        self._connection = connection
        self._world, self._registry = getWorld(connection)
        self.violations = []
        self.table = Counter()   # (type, state) -> number of runs
        self._runs = self._read_runs()
        self._expected = {}      # run id -> entries
        self._stops = {run_id for journal in self._world.journals
                       for run_id in journal.stops}
        for entry in self._entries():
            self._expected.setdefault(entry.run_id, []).append(entry)

    def __call__(self):
        """Look at everything; return the violations, lines of text."""
        self._check_starts()
        for run in self._runs.values():
            self._check_run(run)
        self._check_hot()
        self._check_counts()
        self._check_finishes()
        self._check_leaks()
        return self.violations

    def _say(self, text, *arguments):
        self.violations.append(text % arguments)

    # Runs

    def _read_runs(self):
        runs = {}
        for lane in self._registry.lanes.values():
            serials = set()
            for run in lane.births.walk():
                if run.lane != lane.number or run.serial in serials:
                    self._say('run %s: stands in the wrong place', run.id)
                serials.add(run.serial)
                runs[run.id] = run
                self.table[run.type, run.state] += 1
        return runs

    def _entries(self):
        for journal in self._world.journals:
            for entry in journal.entries.values():
                yield entry
                if entry.child is not None:
                    yield entry.child

    def _check_starts(self):
        for run_id, entries in self._expected.items():
            run = self._runs.get(run_id)
            kinds = {entry.kind for entry in entries}
            if run is None:
                self._say('run %s of %s: lost, its start was committed',
                          run_id, kinds)
            elif kinds != {run.type}:
                self._say('run %s of %r: it was started as %s', run_id,
                          run.type, kinds)
            elif len(entries) > 1 and run.type != 'unique':
                self._say('run %s: %d starts gave it', run_id, len(entries))
        for run_id in set(self._runs) - set(self._expected):
            self._say('run %s of %r: its start was never committed', run_id,
                      self._runs[run_id].type)

    def _check_run(self, run):
        if not run.isFinished():
            self._say('run %s of %r: %s at the end', run.id, run.type,
                      run.state)
        elif not self._may_be(run):
            self._say('run %s of %r: wrongly %s (%s, %d interruptions, %d '
                      'attempts)', run.id, run.type, run.state, run.error,
                      run.interruptions, run.attempts)
        if run.isFinished() and not self._has_jumps and not (
                run.created_at <= run.finished_at
                and (run.started_at is None
                     or run.started_at <= run.finished_at)):
            self._say('run %s of %r: its times are not in order', run.id,
                      run.type)
        for entry in self._expected.get(run.id, ()):
            self._check_effects(run, entry)

    def _may_be(self, run):
        if run.state == FAILED:
            if run.error[0] == 'ProcessDied':
                return run.interruptions >= MAX_INTERRUPTIONS
            # Who is to stop gets no further attempt.
            return run.error[0] == 'ChaosError' and (
                run.type == 'fails' or run.type == 'retry' and (
                    run.attempts >= ATTEMPTS or run.id in self._stops))
        if run.state == STOPPED:
            return run.id in self._stops
        if run.state == INTERRUPTED:
            return run.type == 'outside' or run.id in self._stops
        return run.type != 'fails'

    def _check_effects(self, run, entry):
        if entry.is_early:
            self._say('run %s of %r: began before its time', run.id, run.type)
        if run.type == 'unique':
            starter = int(run.input['starter'])
            if (run.state == SUCCEEDED
                    and self._world.handled[starter].value < entry.posted):
                self._say('run %s of %r: did not see letter %d', run.id,
                          run.type, entry.posted)
            return
        succeeded = run.state == SUCCEEDED
        if run.type == 'loop':
            if succeeded and entry.effects < ITERATIONS:
                self._say('run %s of %r: %d iterations of %d', run.id,
                          run.type, entry.effects, ITERATIONS)
            return
        if entry.effects != succeeded:
            self._say('run %s of %r: %s with %d effects', run.id, run.type,
                      run.state, entry.effects)
        if run.type == 'steps':
            done = sum(entry.steps)
            if (entry.steps != (1,) * done + (0,) * (STEPS - done)
                    or succeeded and done != STEPS
                    or done != (run.cursor or 0)):
                self._say('run %s of %r: %s with steps %s, cursor %s', run.id,
                          run.type, run.state, entry.steps, run.cursor)

    def _check_hot(self):
        sums = [0] * HOT
        for entry in self._entries():
            if entry.kind == 'hot':
                sums[entry.number % HOT] += entry.effects
        for number, expected in zip(self._world.hot, sums):
            if number.value != expected:
                self._say('hot: counted %d, its runs say %d', number.value,
                          expected)

    # The registry

    def _check_counts(self):
        counts = Counter({
            (name, state): number
            for name, states in self._registry.getCounts().items()
            for state, number in states.items()})
        for key in sorted(set(counts) | set(self.table)):
            if counts[key] != self.table[key]:
                self._say('count of %s %s: %d, really %d', *key, counts[key],
                          self.table[key])

    def _check_finishes(self):
        found = Counter()
        for lane in self._registry.lanes.values():
            for entry in lane.finishes.walk():
                found['%d-%d' % entry[1:3], entry.type, entry.state] += 1
        really = Counter((run.id, run.type, run.state)
                         for run in self._runs.values() if run.isFinished())
        for key in sorted(set(found) | set(really)):
            if found[key] != really[key]:
                self._say('run %s of %r: %d entries say that it %s', *key[:2],
                          found[key], key[2])

    def _check_leaks(self):
        directory = getDirectory(self._connection)
        for record in directory.processes.values():
            self._say('process %s: its record is left', record.id)
        for name, slots in directory.slots.items():
            for place in slots.taken:
                run = self._registry.getRun(*place[1:])
                if run is not None and run.state == RUNNING:
                    self._say('slot of %s: taken by run %s', name, run.id)
        for run_id in self._registry.stops:
            self._say('stop request of run %s: left', run_id)
        for key in self._registry.unique_keys:
            self._say('claim %r: left', key)
        for number, lane in self._registry.lanes.items():
            bookmark = lane.bookmark
            if bookmark.home is not None:
                self._say('lane %d: its home %s is left', number,
                          bookmark.home)
            if bookmark.low != lane.births.next_serial or bookmark.stragglers:
                self._say('lane %d: its bookmark is at %d, it ends at %d',
                          number, bookmark.low, lane.births.next_serial - 1)
            if len(lane.waiting.places) or len(lane.waiting.trees):
                self._say('lane %d: %d waiting entries are left', number,
                          len(lane.waiting.places))


def auditDatabase(db, has_jumps=False):
    """Return (violations, table, lanes) of *db*, an open database.

    *has_jumps*: some clocks were wrong for a while.
    """
    with db.transaction() as connection:
        audit = Audit(connection, has_jumps)
        audit()
        _, registry = getWorld(connection)
        return audit.violations, audit.table, len(registry.lanes)


def auditLedger(lines):
    """Return the violations that the lines of a `world.Ledger` tell of."""
    violations = []
    begun = {}    # run id of `outside` -> boot
    inside = {}   # run id of `limited` -> boot
    gone = set()   # boots that died, or were paused and may be rescued
    for boot, event, *rest in lines:
        if event == 'gone':
            gone.add(boot)
            inside = {run_id: other for run_id, other in inside.items()
                      if other != boot}
        elif event == 'outside':
            if begun.setdefault(rest[0], boot) != boot:
                violations.append('run %s of outside: two processes began it'
                                  % rest[0])
        elif event == 'begin' and boot not in gone:
            inside[rest[0]] = boot
            if len(inside) > LIMIT:
                violations.append('limited: %s run at a time'
                                  % ', '.join(sorted(inside)))
        elif event == 'end':
            inside.pop(rest[0], None)
        elif event == 'leak':
            violations.append('process %s: %s' % (boot, rest[0]))
    return violations
