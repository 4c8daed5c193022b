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
"""Tickets: the one structure of what waits or works in this process.

A run whose lane has its home here has one of these places::

    tickets   ready for a thread; delayed for seconds; in work; or, of a type
              with a limit, waiting for room
    away      in work in another process, or taken by one
    parked    to be written into the `cursor.Waiting` of its lane

or it waits there, and comes back by `settle`.  `next` gives an executor
thread what is ready, so nothing can wait here that no thread asks for.
"""
import heapq
import itertools
import threading
import time
from collections import deque

from cipher.background.runtime.queue.ranking import Ranking
from cipher.background.runtime.queue.starters import Starters
from cipher.background.store.cursor import FOR_TIME
from cipher.background.store.cursor import KEPT
from cipher.background.store.cursor import LIMIT
from cipher.background.store.cursor import orderOf
from cipher.background.util import clock


#: Tickets that are ready.  Beyond, births are looked at when there is room
#: again.  What is delayed or waits for room has bounds of its own.
CAPACITY = 10000

#: Entries that are to be written.  Beyond, births are looked at when some of
#: them are: so there are at most as many more as tickets are in memory.
UNWRITTEN = 10000

#: Seconds.  What is due sooner waits in memory, all else in the database.
NEAR = 30.0

#: So many tickets wait in memory for their time, soon as that may be.
DELAYED = 2000

#: So many runs of a type wait in memory for room.
PARKED = 1000

#: Stragglers that a cursor names, and the serials between two of them that
#: make it worth while to name the first.
STRAGGLERS = 64
GAP = 64

#: Seconds between two looks at new births while threads have enough to do.
LOOK_INTERVAL = 0.01

#: Seconds between two looks for homes because of new lanes.
UNKNOWN_INTERVAL = 0.25

#: Seconds that a thread waits when it knows of nothing to come.
LONG = 60.0

#: What `Backlog.next` returns: look into the lanes that are dirty.
LOOK = object()

#: What to `settle` a run as, besides a time and a key of `cursor.Waiting`.
DONE = 'done'
READY = 'ready'
AWAY = 'away'


class _Lane:
    """A lane whose home is here."""

    def __init__(self, low, stragglers, inherited_below, is_suspect):
        self.seen = low                  # serials below are known
        self.stragglers = stragglers     # serials that are to be looked at
        # A run under it may be in work in a process that was home before.
        self.inherited_below = inherited_below
        self.is_suspect = is_suspect     # that process did not end well
        self.tickets = {}                # serial -> ticket
        self.away = {}                   # serial -> ticket
        self.parked = {}                 # serial -> (key, order), to write
        self.writing = set()   # serials of `parked` that are being written
        self.written = set()   # serials above that have an entry as well
        self.stale = set()     # finished, their entry is to be removed

    def loose(self):
        """Return the serials that only the cursor stands for."""
        return (self.tickets.keys() | self.away.keys() | self.parked.keys()
                | set(self.stragglers)) - self.written

    def position(self):
        """Return (low mark, stragglers) for the cursor."""
        loose = sorted(self.loose())
        loose = [serial for serial in loose if serial < self.seen]
        bounds = [*loose, self.seen]
        index = 0
        while (index < len(loose) and index < STRAGGLERS
               and bounds[index + 1] - bounds[index] > GAP):
            index += 1
        return bounds[index], tuple(loose[:index])

    def forget(self, serial):
        """There is nothing more to do for that run."""
        self.tickets.pop(serial, None)
        self.away.pop(serial, None)
        self.parked.pop(serial, None)
        if serial in self.written or serial in self.writing:
            self.written.discard(serial)
            self.writing.discard(serial)
            self.stale.add(serial)


class Backlog:
    """See the module.  Any thread may call; nothing loads under the lock."""

    def __init__(self, wake_control=lambda: None, report=lambda: None):
        self._changed = threading.Condition(threading.Lock())
        self._wake_control = wake_control  # wakes the control thread
        self._starters = Starters(report)   # of all that waits or works
        self._lanes = {}      # (registry oid, lane number) -> _Lane
        self._taken = {}      # (registry oid, run id) -> ticket, of others'
        self._ready = Ranking()
        self._delayed = []    # heap of (monotonic time, n, ticket)
        self._limited = {}    # type name -> Turns of those that wait for room
        self._passed = deque()    # those that were given the slot of another
        self._wanted = frozenset()   # types that others have waiting, too
        self.has_ended = False   # a run with a slot, since `setWanted`
        self._count = itertools.count()
        self._dirty = set()   # places with births to look at
        self._behind = set()  # places with more births than there was room
        self._has_unknown = False   # a lane was marked that is not known
        self._unknown_at = -UNKNOWN_INTERVAL
        self._is_looking = False
        self._look_at = 0.0   # monotonic; not before, after a failure
        self._looked_at = 0.0
        self._is_quiet = False
        self._popped_at = time.monotonic()
        self.is_hungry = False   # others have more than we took last
        self._beyond = set()   # keys of which there is more than there was
        #                        room for

    # Lanes

    def addLane(self, place, low, stragglers, inherited_below=0,
                is_suspect=False):
        """Be the home of the lane at *place* from now on."""
        with self._changed:
            self._lanes[place] = _Lane(
                low, tuple(stragglers), inherited_below, is_suspect)
            self._mark([place])

    def dropLane(self, place):
        """Be the home of that lane no longer; its tickets are void."""
        with self._changed:
            if self._lanes.pop(place, None) is None:
                return
            self._starters.dropLane(place)
            self._dirty.discard(place)
            self._behind.discard(place)
            for turns in self._ready, *self._limited.values():
                turns.discard(lambda ticket: ticket.place == place
                              and not self._isTaken(ticket))
            self._delayed = [
                entry for entry in self._delayed
                if entry[2].place != place or self._isTaken(entry[2])]
            heapq.heapify(self._delayed)
            for ticket in self._passed:
                if ticket.place == place:
                    self._keep(ticket)

    def dropAll(self):
        """Forget everything: the process was taken for dead."""
        for place in self.lanes():
            self.dropLane(place)
        with self._changed:
            self._taken.clear()
            self._ready = Ranking()
            self._limited = {}
            self._delayed = []
            self._passed.clear()

    def lanes(self):
        """Return the places of the lanes whose home is here."""
        with self._changed:
            return list(self._lanes)

    def isHome(self, place):
        """Return whether the home of that lane is here."""
        return place in self._lanes

    def _isTaken(self, ticket):
        return self._taken.get(
            (ticket.registry_oid, ticket.run_id)) is ticket

    def _isHere(self, ticket):
        if self._isTaken(ticket):
            return True
        lane = self._lanes.get(ticket.place)
        return lane is not None and lane.tickets.get(ticket.serial) is ticket

    # Dirt: lanes that have, or may have, new births

    def mark(self, places, are_ours=True):
        """Let those lanes be looked at.  Fit for any hook.

        *are_ours*: this process wrote them.
        """
        with self._changed:
            self._mark(places, are_ours)

    def forked(self):
        """In a child after a fork: whoever held the lock is not there."""
        self._changed = threading.Condition(threading.Lock())

    def _mark(self, places, are_ours=True):
        known = [place for place in places if place in self._lanes]
        if known:
            self._dirty.update(known)
            self._changed.notify()
        now = time.monotonic()
        if are_ours and len(known) < len(places) and (
                now - self._unknown_at >= UNKNOWN_INTERVAL):
            # Perhaps of a lane that was made just now, and is to be ours.
            self._unknown_at = now
            self._has_unknown = True
            self._wake_control()

    def takeUnknown(self):
        """Return whether a lane was marked that is not known, and forget it.
        """
        has_unknown, self._has_unknown = self._has_unknown, False
        return has_unknown

    def beginLook(self, at_all=False):
        """Return the places to look at, and forget that they are dirty.

        None while another thread looks.  Begin the transaction afterwards,
        and call `endLook`.
        """
        with self._changed:
            if at_all:
                self._dirty.update(self._lanes)
            if self._is_looking:
                return None
            return self._beginLook()

    def _beginLook(self):
        self._is_looking = True
        if self._mayGoOn():
            self._dirty |= self._behind
            self._behind = set()
        dirty, self._dirty = self._dirty, set()
        return dirty

    def endLook(self, left=(), pause=0.0, is_worker=False):
        """The look is over.  *left* are dirty again, after *pause* seconds.

        *is_worker*: the caller asks for a ticket next.
        """
        with self._changed:
            self._is_looking = False
            self._looked_at = time.monotonic()
            self._look_at = self._looked_at + pause
            self._dirty.update(
                place for place in left if place in self._lanes)
            # A thread that is awake for nothing is in the way of others.
            self._changed.notify(
                len(self._ready) + bool(self._dirty) - is_worker)

    def toLook(self, place, next_serial):
        """Return the serials to look at now in a lane, in order."""
        with self._changed:
            lane = self._lanes.get(place)
            if lane is None:
                return []
            room = max(0, min(CAPACITY - len(self._ready),
                              UNWRITTEN - self._countUnwritten()))
            end = min(next_serial, lane.seen + room)
            if end < next_serial:
                self._behind.add(place)
            return [*lane.stragglers, *range(lane.seen, end)]

    def _countUnwritten(self):
        return sum(len(lane.parked) for lane in self._lanes.values())

    def _mayGoOn(self):
        """Return whether there is room for births that had none."""
        return bool(self._behind) and len(
            self._ready) < CAPACITY // 2 and (
                self._countUnwritten() <= UNWRITTEN // 2)

    def _size(self):
        return (len(self._ready) + len(self._delayed) + len(self._passed)
                + sum(map(len, self._limited.values())))

    def inherited(self, place, serial):
        """Return (may be in work elsewhere, must be claimed) of a run."""
        lane = self._lanes.get(place)
        is_inherited = lane is not None and serial < lane.inherited_below
        return is_inherited, is_inherited and lane.is_suspect

    def seen(self, place, found):
        """Take in what a look *found* in a lane: (serial, ticket, what).

        *ticket* may be None where *what* is `DONE`.
        """
        with self._changed:
            lane = self._lanes.get(place)
            if lane is None:
                return
            for serial, ticket, what in found:
                if serial >= lane.seen:
                    lane.seen = serial + 1
                elif serial in lane.stragglers:
                    lane.stragglers = tuple(
                        other for other in lane.stragglers if other != serial)
                if (what != DONE and serial not in lane.tickets
                        and serial not in lane.parked):
                    self._settle(lane, ticket, what)

    # What becomes of a run

    def settle(self, ticket, what, has_entry=False):
        """Note *what* is with a run whose lane may have its home here.

        `DONE`, `READY`, `AWAY`, the time when it is due, or the key of what
        it waits for.  Nothing happens if it is in memory.  *has_entry*: it
        has an entry in the `Waiting` of its lane.
        """
        with self._changed:
            lane = self._lanes.get(ticket.place)
            if lane is None or ticket.serial in lane.tickets:
                return
            if has_entry:
                lane.written.add(ticket.serial)
            self._settle(lane, ticket, what, has_entry)

    def _settle(self, lane, ticket, what, has_entry=False):
        serial = ticket.serial
        lane.tickets.pop(serial, None)
        lane.away.pop(serial, None)
        if what == DONE:
            self._forget(lane, ticket.place, serial)
            return
        self._starters.add(ticket)
        if what == AWAY:
            lane.away[serial] = ticket
        elif what == READY:
            lane.tickets[serial] = ticket
            self._ready.push(ticket)
            if not self._is_looking:   # else `endLook` does so
                self._changed.notify()
        elif isinstance(what, tuple):
            self._park(lane, ticket, what, has_entry)
            if what[0] == KEPT:
                # It must not keep its starter from starting others.
                self._starters.discard(ticket.place, serial)
        elif self._isNear(what):
            lane.tickets[serial] = ticket
            self._delay(ticket, what - clock.now())
        else:
            lane.parked[serial] = FOR_TIME, int(what * 1000000)
            # Nobody would notice its end before that time.
            self._starters.discard(ticket.place, serial)

    def _forget(self, lane, place, serial):
        lane.forget(serial)
        self._starters.discard(place, serial)

    def _park(self, lane, ticket, key, has_entry):
        serial = ticket.serial
        place = key, orderOf(ticket.priority, serial)
        lane.parked[serial] = place
        if key[0] == LIMIT:
            turns = self._limited.setdefault(key[1], Ranking())
            is_full = len(turns) >= PARKED
            if is_full or key in self._beyond and not has_entry:
                # It is behind those that have no room here either.
                self._beyond.add(key)
                last = turns.popLast(ticket.priority)
                if last is None:
                    return
                self._lanes[last.place].tickets.pop(last.serial, None)
            lane.tickets[serial] = ticket
            turns.push(ticket)

    def _isNear(self, due_at):
        return (due_at - clock.now() <= NEAR
                and len(self._delayed) < DELAYED)

    def _delay(self, ticket, seconds):
        heapq.heappush(self._delayed, (
            time.monotonic() + seconds, next(self._count), ticket))
        self._changed.notify()

    def hasten(self, ticket):
        """Let a run that waits for its time wait for it no longer.

        Return False where it is at something else at this moment: ask again.
        """
        with self._changed:
            lane = self._lanes.get(ticket.place)
            if lane is None or self._is_looking:
                # A look under way may have seen it as it was.
                return False
            known = lane.tickets.get(ticket.serial)
            what, _ = lane.parked.get(ticket.serial, (None, None))
            if known is None and what == FOR_TIME:
                del lane.parked[ticket.serial]
                self._settle(lane, ticket, READY)
            elif known is not None and what is None:
                return self._hasten_delayed(known)
            return True

    def _hasten_delayed(self, ticket):
        for index, entry in enumerate(self._delayed):
            if entry[2] is ticket:
                del self._delayed[index]
                heapq.heapify(self._delayed)
                self._delay(ticket, 0.0)
                return True
        return False

    def isKnown(self, place, serial):
        """Return whether the run is in memory, or is finished."""
        with self._changed:
            lane = self._lanes.get(place)
            return lane is None or (
                serial in lane.tickets or serial in lane.stale
                or serial in lane.away or serial in lane.parked)

    def away(self, place):
        """Return the tickets of a lane that are in work elsewhere."""
        with self._changed:
            lane = self._lanes.get(place)
            return [] if lane is None else [
                ticket for _, ticket in sorted(lane.away.items())]

    def drop(self, place, serial):
        """The entry of that run is to be removed: it is finished."""
        with self._changed:
            lane = self._lanes.get(place)
            if lane is not None and serial not in lane.tickets:
                self._forget(lane, place, serial)
                lane.stale.add(serial)

    # Runs of lanes of others

    def take(self, ticket):
        """Let *ticket*, taken by a commit, wait for a thread here."""
        with self._changed:
            self._keep(ticket)
            self._ready.push(ticket)
            self._changed.notify()

    def _keep(self, ticket):
        self._taken[ticket.registry_oid, ticket.run_id] = ticket

    def givenBack(self):
        """Return the taken tickets that nobody has begun, and forget them.

        Those that were passed on as well: their home looks at them again.
        """
        with self._changed:
            waiting = []
            self._ready.discard(lambda ticket: self._isTaken(ticket)
                                and not waiting.append(ticket))
            while self._passed:
                ticket = self._passed.popleft()
                if self._isHere(ticket):
                    self._keep(ticket)
                    waiting.append(ticket)
            for ticket in waiting:
                del self._taken[ticket.registry_oid, ticket.run_id]
                if self._isHere(ticket):
                    self._settle(self._lanes[ticket.place], ticket, AWAY)
            return waiting

    # Threads

    def next(self, is_over):
        """Wait for a ticket to carry out, and return it; `LOOK`; or None.

        None when the function *is_over* says so.  `LOOK`: look, then ask
        again.
        """
        with self._changed:
            while not is_over():
                now = time.monotonic()
                if self._mayLook(now):
                    return LOOK
                ticket = None if self._is_quiet else self._pop(now)
                if ticket is not None:
                    return ticket
                if self.is_hungry:
                    self.is_hungry = False   # the next take says it again
                    self._wake_control()
                self._changed.wait(self._pause(now))
            return None

    def poll(self):
        """Return the next ticket, None if none is ready now."""
        with self._changed:
            return None if self._is_quiet else self._pop(time.monotonic())

    def _mayLook(self, now):
        return (not self._is_looking and now >= self._look_at
                and (not self._ready
                     or now - self._looked_at >= LOOK_INTERVAL)
                and bool(self._dirty or self._mayGoOn()))

    def _pop(self, now):
        while self._delayed and self._delayed[0][0] <= now:
            ticket = heapq.heappop(self._delayed)[2]
            if self._isHere(ticket):
                self._ready.push(ticket)
        while self._passed:
            ticket = self._passed.popleft()
            if self._isHere(ticket):
                self._popped_at = now
                return ticket
        while self._ready:
            ticket = self._ready.pop()
            if self._isHere(ticket):
                self._popped_at = now
                if len(self._ready) < 2 and self.is_hungry or (
                        len(self._ready) == CAPACITY // 4 and self._beyond):
                    self._wake_control()
                return ticket
        return None

    def _pause(self, now):
        pause = LONG
        if self._delayed:
            pause = min(pause, self._delayed[0][0] - now)
        if self._dirty or self._mayGoOn():
            pause = min(pause, max(self._look_at - now, LOOK_INTERVAL))
        return max(0.0, pause)

    def idleFor(self):
        """Return the seconds since a thread was last given a ticket."""
        return time.monotonic() - self._popped_at

    def wakeAll(self):
        """Let each thread that waits ask whether it is over."""
        with self._changed:
            self._changed.notify_all()

    def setQuiet(self, is_quiet):
        """Let nothing begin, or again."""
        with self._changed:
            self._is_quiet = is_quiet
            self._changed.notify_all()

    # What a thread says of the ticket it was given

    def done(self, ticket):
        """There is nothing more to do for *ticket*."""
        self._told(ticket, DONE)

    def again(self, ticket, due_at):
        """*ticket* waits again, until *due_at*."""
        self._told(ticket, due_at)

    def isAway(self, ticket):
        """The run of *ticket* is in work elsewhere."""
        self._told(ticket, AWAY)

    def park(self, ticket, key):
        """*ticket* is to wait for *key*."""
        self._told(ticket, key)

    def later(self, ticket, seconds):
        """Give *ticket* to a thread again after *seconds*."""
        with self._changed:
            if self._isHere(ticket):
                self._delay(ticket, seconds)

    def _told(self, ticket, what):
        with self._changed:
            if self._isTaken(ticket):
                # Its home sees to it.
                del self._taken[ticket.registry_oid, ticket.run_id]
            elif self._isHere(ticket):
                self._settle(self._lanes[ticket.place], ticket, what)

    # Types that run only so many at a time

    def isNext(self, ticket, type_name):
        """Return whether no run of that type is to go before *ticket*."""
        with self._changed:
            first = self._limited.get(type_name, Ranking()).first()
            return first is None or (
                (-ticket.priority, ticket.age) < (-first.priority, first.age))

    def unpark(self, type_name, number=1):
        """So many runs of that type may try again."""
        with self._changed:
            for _ in range(number):
                ticket = self._popLimited(type_name)
                if ticket is None:
                    return
                self._ready.push(ticket)
                self._changed.notify()

    def setWanted(self, type_names):
        """Note of which types with a limit others have waiting runs."""
        self._wanted = frozenset(type_names)
        self.has_ended = False

    def passOn(self, type_name):
        """Return the ticket that is to get the slot of a run that ends.

        None if it is for others to take, or no run of that type would be the
        next to begin.  Call `passed`, `park` or `isAway` with it.
        """
        with self._changed:
            self.has_ended = True
            if self._is_quiet or type_name in self._wanted:
                return None
            turns = self._limited.get(type_name)
            if turns and self._ready.wouldLead(turns.first()):
                return self._popLimited(type_name)
            first = self._ready.first()
            if first is None or first.type != type_name or (
                    self._isTaken(first) or not self._isHere(first)):
                return None
            return self._ready.pop()

    def passed(self, ticket):
        """*ticket* has a slot by a commit: it is to begin before others."""
        with self._changed:
            if not self._isHere(ticket):
                self._keep(ticket)   # its lane was left meanwhile
            self._passed.append(ticket)
            self._changed.notify()

    def _popLimited(self, type_name):
        turns = self._limited.get(type_name, ())
        while turns:
            ticket = turns.pop()
            if self._isHere(ticket):
                lane = self._lanes[ticket.place]
                lane.parked.pop(ticket.serial, None)
                if (LIMIT, type_name) in self._beyond and (
                        len(turns) <= PARKED // 4):
                    self._wake_control()   # the others are to come back
                return ticket
        self._limited.pop(type_name, None)
        return None

    def parkedTypes(self):
        """Return {type name: number of runs that wait for room here}."""
        with self._changed:
            return {name: len(turns) for name, turns in self._limited.items()}

    def setBeyond(self, key, is_more):
        """Note whether more waits for *key* than there was room for."""
        with self._changed:
            if is_more:
                self._beyond.add(key)
            else:
                self._beyond.discard(key)

    def room(self, key=None):
        """Return how many runs may come back from the database."""
        with self._changed:
            room = max(CAPACITY // 2 - len(self._ready), CAPACITY // 100)
            if key is not None and key[0] == LIMIT:
                parked = len(self._limited.get(key[1], ()))
                room = 0 if 2 * parked > PARKED else min(
                    room, PARKED - parked)
            return room

    # What the database is told

    def changes(self, place, limit):
        """Return (new, old): entries to write and serials to remove.

        An entry is (serial, key, order).
        """
        with self._changed:
            lane = self._lanes.get(place)
            if lane is None:
                return [], []
            new = [(serial, *entry) for serial, entry in itertools.islice(
                lane.parked.items(), limit)]
            lane.writing.update(serial for serial, _, _ in new)
            return new, list(itertools.islice(lane.stale, limit))

    def written(self, place, new, old):
        """These changes are committed."""
        with self._changed:
            lane = self._lanes.get(place)
            if lane is None:
                return
            lane.stale.difference_update(old)
            for serial, *entry in new:
                lane.writing.discard(serial)
                if lane.parked.get(serial) == tuple(entry):
                    del lane.parked[serial]
                if (serial in lane.tickets or serial in lane.away
                        or serial in lane.parked):
                    lane.written.add(serial)
                else:
                    lane.written.discard(serial)
            if self._mayGoOn():
                self._changed.notify()

    def position(self, place):
        """Return (low mark, stragglers) of a lane, None if not ours."""
        with self._changed:
            lane = self._lanes.get(place)
            return None if lane is None else lane.position()

    def counts(self):
        """Return how many tickets are ready, delayed, waiting for room."""
        with self._changed:
            return (len(self._ready) + len(self._passed), len(self._delayed),
                    sum(map(len, self._limited.values())))

    def countWaiting(self, registry_oid, starter):
        """Return (number of runs of *starter*, seconds since the last look).
        """
        with self._changed:
            return (self._starters.count(registry_oid, starter),
                    time.monotonic() - self._looked_at)

    def mostWaiting(self):
        """Return the `starters.Starters.mostWaiting`."""
        with self._changed:
            return self._starters.mostWaiting()

    def isIdle(self):
        """Return whether nothing waits in memory."""
        with self._changed:
            return not (self._size() or self._dirty or self._behind)
