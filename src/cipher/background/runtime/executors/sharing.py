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
"""Carry out many short runs in one transaction, which one commit closes.

A commit takes longer than a small job.  One thread at a time takes ready runs
of one registry and carries them out, each as if it were alone: fence,
interaction of its starter, context, work, record, events.

If anything but plain success happens, the transaction is aborted, and each
run of the group is done again alone.  So the run at fault is recorded as it
would be alone, and the others lose nothing but time.

A group is open in one turn of the `gate`.  A run that takes long keeps what
the others have done uncommitted.  But then another thread passes the gate: it
takes over all but the long run and does them again, in a group of its own.
The long run is done again alone, when it has ended.
"""
import threading
import time
from collections import deque

import transaction
from ZODB.Connection import Connection
from ZODB.POSException import ConflictError

from cipher.background.contextmanagers import abortQuietly
from cipher.background.declarations.workertype import nameOf
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.runtime.executors.performer import Performer
from cipher.background.store.lanepool import getPool
from cipher.background.util.logs import ErrorsMasked
from cipher.background.util.logs import getLogger
from cipher.background.util.logs import labelRecords
from cipher.background.util.transient import isClosed
from cipher.background.work.shared import DoneAlone
from cipher.background.work.shared import Guard
from cipher.background.work.shared import listObstacles
from cipher.background.work.worker import NOTES_LIMIT


log = getLogger(__name__)

#: Runs of one commit at most.  Measured: 50 gain 1.3 times as much as 20, and
#: 100 gain no more.
RUNS = 50

#: Seconds after which a group takes no further run.  It is short for a person
#: who waits for the first one.
SECONDS = 0.05

#: Seconds that a thread waits for a commit which it could conflict with.
COMMIT = 1.0

#: Seconds.  A type whose runs take longer on average is done alone: a commit
#: takes no longer, so little would be gained.
SHORT = 0.005

#: Part of the average that the latest run makes up.
WEIGHT = 0.125

#: Seconds for which a type is done alone after it spoiled a group, or was too
#: long.  They double with each time in a row, up to the cap.
REST = 0.1
REST_CAP = 60.0


class _Rest:
    """Why and how long the runs of one type are done alone."""

    def __init__(self):
        self.until = 0.0      # monotonic
        self.seconds = REST   # of the next rest
        self.average = 0.0    # seconds of one run


class Sharing:
    """Decides which runs share commits, and lets the group take turns.

    *backlog* has the ready runs.  *shares_all* returns whether all types share
    that do not say otherwise.  Any thread may call.
    """

    def __init__(self, backlog, shares_all):
        self.backlog = backlog
        self._shares_all = shares_all
        self._lock = threading.Lock()
        self._group = None     # the open group, or the one that commits
        self._left = deque()   # (LiveRun, bool) to be done again alone
        self._holding = threading.Event()   # a group began, or ended so
        self._rests = {}       # type name -> _Rest
        self._never = set()    # names of types whose runs cannot share
        self._fit = {}         # IWorkerType -> bool, what its class says

    def mayShare(self, ticket):
        """Return whether the run of *ticket* may be in a group now.

        This loads no persistent object, so it may be called under a lock.
        """
        if ticket.must_claim or not ticket.type:
            return False   # the run may have killed its process
        worker_type = queryWorkerType(ticket.type)
        if worker_type is None:
            return False
        share = worker_type.share
        if not (self._shares_all() if share is None else share):
            return False
        fit = self._fit.get(worker_type)
        if fit is None:
            fit = self._fit[worker_type] = not any(listObstacles(worker_type))
        name = nameOf(worker_type)
        if not fit or name in self._never:
            return False
        rest = self._rests.get(name)
        return rest is None or time.monotonic() >= rest.until

    def begin(self, performer, ticket):
        """Return a `Group` for *ticket* and others, or None: do it alone.

        Only one group at a time is open, because more would only conflict.
        """
        if self._group is not None or not self.mayShare(ticket) or (
                type(performer).carryOut is not Performer.carryOut):
            return None   # another executor wants to carry out each run
        accepts = self._accepts(ticket)
        if not self.backlog.hasLike(accepts):
            return None
        return self._open(Group(self, performer, accepts=accepts))

    def _open(self, group):
        with self._lock:
            if self._group is None:
                self._group = group
        if self._group is not group:
            return None
        self._holding.set()
        return group

    def _accepts(self, ticket):
        """Return a function: may a ticket be in the group of *ticket*?"""
        oid, types = ticket.registry_oid, {}   # type -> whether it may share

        def accepts(other):
            if other.registry_oid != oid or other.must_claim:
                return False
            may_share = types.get(other.type)
            if may_share is None:
                may_share = types[other.type] = self.mayShare(other)
            return may_share

        return accepts

    def end(self, group):
        """Let another group begin."""
        with self._lock:
            if self._group is group:
                self._group = None

    # What a run that takes long holds back

    def isHolding(self, ticket=None):
        """Return whether there is something to do before *ticket*.

        The caller is in the gate.  So an open group is one that was passed.
        A run that could be in a group waits for one that commits: it might
        conflict with it.
        """
        group = self._group
        return bool(self._left) or group is not None and (
            not group.is_closed
            or ticket is not None and self.mayShare(ticket))

    def takeOver(self, performer):
        """Return a `Group` of what a passed one holds back, or None.

        Wait for a group that commits.
        """
        group = self._group
        if group is None:
            return None
        given = group.takeOver()
        if given is None:
            group.waitOver(COMMIT)
        another = given and self._open(Group(self, performer, given))
        if given and another is None:
            self.leave(given)
        return another or None

    def leave(self, lives, culprit=None):
        """Let a thread do each of *lives* again alone.

        *culprit* is the one that spoiled their group, if any.
        """
        self._left.extend((live, live is culprit) for live in lives)
        self._holding.set()

    def nextLeft(self):
        """Return (`LiveRun` to do again alone, whether it is a culprit).

        Return (None, False) if there is none.
        """
        try:
            return self._left.popleft()
        except IndexError:
            return None, False

    def abandonLeft(self):
        """Forget what is to be done again: the database is closed."""
        while (live := self.nextLeft()[0]) is not None:
            live.abandon()
            live.end()

    def waitHolding(self):
        """Wait until a group begins or leaves something; return True."""
        self._holding.wait()
        self._holding.clear()
        return True

    def wake(self):
        """End the wait of `waitHolding`."""
        self._holding.set()

    # What was learned of the types

    def note(self, worker_type, seconds):
        """Note that a run of *worker_type* took *seconds* without its commit.
        """
        rest = self._rests.get(nameOf(worker_type))
        if rest is None:
            rest = self._rests[nameOf(worker_type)] = _Rest()
        rest.average += (min(seconds, 1.0) - rest.average) * WEIGHT

    def committed(self, worker_types):
        """Note that a group with runs of *worker_types* was committed."""
        for name in map(nameOf, worker_types):
            rest = self._rests[name]
            if rest.average > SHORT:
                self.rest(name)
                rest.average = SHORT / 2
            else:
                rest.seconds = REST

    def rest(self, name):
        """Do the runs of the type *name* alone for a while."""
        rest = self._rests.setdefault(name, _Rest())
        rest.until = time.monotonic() + rest.seconds
        rest.seconds = min(2 * rest.seconds, REST_CAP)

    def never(self, name, reason):
        """Do the runs of the type *name* alone from now on."""
        if name not in self._never:
            self._never.add(name)
            log.info('Worker %r: its runs do not share commits in this '
                     'process, because of %s', name, reason)


class Group:
    """Runs in one transaction.  Its thread calls, unless a method says so.

    *given* is a list of `LiveRun` that were in another group before.
    *accepts* is a function that returns whether a ticket may be in the group.
    """

    is_closed = False   # it commits, or was taken over

    def __init__(self, sharing, performer, given=(), accepts=None):
        self._lock = threading.Lock()   # of what another thread takes over
        self._sharing = sharing
        self._performer = performer
        self._done = []           # (LiveRun, SharedPiece)
        self._given = given
        self._accepts = accepts
        self._lives = [*given]    # all that entered and are not taken over
        self._current = None      # LiveRun in work
        self._has_begun = bool(given)
        # A run was slow for once.  One that often is has a long average.
        self._is_taken_over = False
        self._labels = _Labels()
        self._db = None
        self._over = threading.Event()

    def carryOut(self, ticket, door, may_go_on):
        """Carry out the given runs, or *ticket* and others.

        Pass those that are to be done alone to `Sharing.leave`.  *may_go_on*
        is a function; the group takes no further run once it returns False.

        Raise an error if nothing began, or if the database is closed.
        """
        try:
            with door as connection:
                self._db = connection.db()
                oid = (ticket or self._lives[0]).registry_oid
                getPool(self._db, oid).reserve()
                try:
                    guard = Guard(transaction.begin())
                    self._fill(connection, guard, ticket, door, may_go_on)
                    self._commit(guard)
                except BaseException:
                    abortQuietly()
                    raise
        except BaseException as error:
            if self._db is not None and isClosed(self._db):
                # Nothing can be recorded any more.
                for live in self._lives:
                    live.abandon()
                    live.end()
                raise
            if not self._has_begun:
                raise
            self._failed(error)
        finally:
            self._sharing.end(self)
            self._over.set()

    def _fill(self, connection, guard, ticket, door, may_go_on):
        """Do the work of all, until there is no more or one is done alone."""
        found, door.found = door.found, None
        for live in self._enter(ticket, may_go_on):
            if self.is_closed:
                raise DoneAlone('taken over')
            if not self._add(connection, guard, live, found):
                with self._lock:
                    self._lives.remove(live)
                self._sharing.leave([live])
                if not self._given:
                    return   # the snapshot may lack those that follow, too
            found = None

    def _enter(self, ticket, may_go_on):
        """Yield the runs to do as `LiveRun`."""
        for live in self._given:
            with self._lock:
                if self.is_closed:
                    return
                self._current = live
            live.beginAnew()
            may_go_on()   # each has the time of a short run
            yield live
        until = time.monotonic() + SECONDS
        while ticket is not None:
            live = self._performer.enter(ticket)
            if live is not None:
                with self._lock:
                    self._lives.append(live)
                    self._current = live
                self._has_begun = True
                yield live
            ticket = self._sharing.backlog.nextLike(self._accepts) if (
                len(self._done) < RUNS and time.monotonic() < until
                and not self.is_closed and may_go_on()) else None

    def _add(self, connection, guard, live, found):
        """Do the work of *live*; return False if it has to be done alone.

        In this case it did not begin.
        """
        labelRecords(live.getLabels)
        try:
            with ErrorsMasked(self._db, lambda: live.masker):
                piece = self._performer.prepareShared(
                    connection, live, guard, found)
        finally:
            labelRecords(None)
        if piece is None:
            self._current = None
            return False
        begun = time.monotonic()
        piece.begin()
        try:
            labels = self._labels.begin(guard, *piece.labels())
            piece.do(connection)
        finally:
            piece.leave()
        guard.check()
        self._check_joined(guard, live)
        self._labels.add(guard, live.run_id, *labels)
        self._sharing.note(live.worker_type, time.monotonic() - begun)
        with self._lock:
            self._current = None
            self._done.append((live, piece))
        return True

    def _check_joined(self, guard, live):
        name = nameOf(live.worker_type)
        for other in guard.listOthers():
            if not isinstance(other, Connection):
                self._sharing.never(name, 'a data manager of another kind, '
                                    '%s' % type(other).__name__)
                guard.refuse('a data manager')
        if transaction.get().extension:
            self._sharing.never(name, 'metadata of its transaction')
            guard.refuse('metadata')

    def _commit(self, guard):
        with self._lock:
            if self.is_closed:
                raise DoneAlone('taken over')
            self.is_closed = True
        if any(live.is_abandoned for live in self._lives):
            raise DoneAlone('given up')
        self._labels.write()
        guard.commit()
        for _, piece in self._done:
            piece.state.observer.release()
        self._sharing.committed({live.worker_type for live in self._lives})
        for live in self._lives:
            live.end()

    def _failed(self, error):
        """Leave the runs to be done again after *error*."""
        with self._lock:
            self.is_closed = True
        culprit = self._current
        if isinstance(error, ConflictError) and self._lives:
            self._lives[0].conflicts += 1
        for live in [] if self._is_taken_over else (
                self._lives if culprit is None else [culprit]):
            if live.worker_type is not None:
                self._sharing.rest(nameOf(live.worker_type))
        log.debug('Shared commit of %d runs given up: %s%s', len(self._lives),
                  type(error).__name__,
                  '' if culprit is None else ' in run ' + culprit.run_id)
        self._sharing.leave(self._lives, culprit)

    def waitOver(self, seconds):
        """Wait at most *seconds* for the end.  Any thread may call this."""
        self._over.wait(seconds)

    def takeOver(self):
        """Return the list of `LiveRun` that wait for the one in work.

        The caller, a thread of its own, does them again.  Return None if the
        group commits, or is over.  If none waits, the one in work goes on to
        its commit, and another group may begin.
        """
        with self._lock:
            if self.is_closed:
                return None
            given = [live for live in self._lives if live is not self._current]
            if given:
                self.is_closed = self._is_taken_over = True
                self._lives = [
                    live for live in self._lives if live is self._current]
        self._sharing.end(self)
        return given


class _Labels:
    """User and note of a shared transaction, from those of its members."""

    def __init__(self):
        self._users = set()
        self._ids = []
        self._notes = []

    def begin(self, guard, user, note):
        """Label the transaction for one member; return (user, note) of it."""
        txn = guard.txn
        txn.user = txn.description = ''
        if user:
            txn.setUser(user)
        txn.note(note)
        return txn.user, txn.description

    def add(self, guard, run_id, user, note):
        """Keep what the member *run_id* has made of these labels."""
        txn = guard.txn
        self._users.add(txn.user)
        self._ids.append(run_id)
        if txn.description != note:
            self._notes.append('run %s: %s' % (run_id, txn.description))

    def write(self):
        """Label the transaction of the whole group."""
        if len(self._ids) == 1:
            return   # as its only member has labeled it
        txn = transaction.get()
        txn.user = self._users.pop() if len(self._users) == 1 else ''
        txn.description = '\n'.join([
            'shared commit of %d runs: %s' % (
                len(self._ids), ', '.join(self._ids)),
            *self._notes])[:NOTES_LIMIT]
