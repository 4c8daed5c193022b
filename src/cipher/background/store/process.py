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
"""The processes of a database: their records, heartbeats and requests.

The parts of a `ProcessRecord` are objects of their own, so that a change of
one does not conflict with a change of another.
"""
import os
import socket
import uuid
from typing import NamedTuple

from BTrees.OOBTree import OOBTree
from BTrees.OOBTree import OOTreeSet
from persistent import Persistent
from persistent.wref import WeakRef
from ZODB.POSException import POSKeyError

from cipher.background.interfaces import STUCK_PROCESS
from cipher.background.interfaces import InvalidDatabase
from cipher.background.store import structure
from cipher.background.store.journal import Journal
from cipher.background.store.kept import arrive
from cipher.background.util import clock
from cipher.background.util.host import getHost
from cipher.background.util.reference import ROOT_KEY
from cipher.background.util.reference import inRoot


class Trouble(NamedTuple):
    """A failure that goes on; plain data, stored with the heartbeat."""

    kind: str             # one of interfaces.PROBLEMS
    subject: str          # the part that fails: a step or a run id
    since: float          # time of the first failure in a row
    error: str            # the name of the error's type
    registry_oid: bytes = None   # of the run; None: not about a run
    stack: str = None     # of the control thread


class Heartbeat(Persistent):
    """The heartbeat of a process.  A rescue conflicts with it.

    An idle process writes nothing else, so its state is small: a tuple
    without what is empty at its end.
    """

    count = 0       # of heartbeats
    beat_at = 0.0   # time of the last one
    troubles = ()   # of Trouble as tuples
    waiting = ()    # of (registry oid, starter, number of pending runs)

    def __getstate__(self):
        state = self.count, self.beat_at, self.troubles, self.waiting
        return state if self.waiting else state[:3 if self.troubles else 2]

    def __setstate__(self, state):
        self.count, self.beat_at, self.troubles, self.waiting = (
            *state, (), ())[:4]


class LiveRuns(Persistent):
    """The runs that a process carries out now, reported from time to time."""

    def __init__(self):
        # (registry oid, run id) -> (started_at, progress or None,
        # end of the log, stack or None, time of the last progress or None)
        self.runs = {}


class ProcessRequest(Persistent):
    """A request to a process, by an administrator or by itself."""

    is_quiet = False      # take no new runs
    is_draining = False   # end the runtime
    asked = None          # (principal, asked_at, reason)


class DeclaredTypes(Persistent):
    """The worker types that a process declares, reported when they change.
    """

    types = None   # a tuple of names; None before the first report
    begun = None   # those of them that it takes and begins; None: all


class Belonging(Persistent):
    """The deployment and the place of a database; see `deployment`.

    Apart from the directory, so that it conflicts with nothing else.
    """

    deployment = None   # the id of the deployment, or None
    place = None        # the token in the place file, or None


class ProcessRecord(Persistent):
    """A living process with a runtime."""

    structure_version = 1   # that its code writes; see structure
    deployment = None   # the id of its deployment, or None
    copied = None       # deployment.Copied as a tuple: it takes no runs

    def __init__(self, id, host, pid, machine, pid_started, threads, lease,
                 started_at):
        self.id = id                    # of newProcessId
        self.host = host
        self.pid = pid
        self.machine = machine          # of machineId: where pid is valid
        self.pid_started = pid_started  # of pidStarted: detects a reused pid
        self.threads = threads
        self.lease = lease              # seconds of silence that it may keep
        self.started_at = started_at
        self.heartbeat = Heartbeat()
        self.heartbeat.beat_at = started_at
        self.live = LiveRuns()
        self.request = ProcessRequest()
        self.declared = DeclaredTypes()
        self.structure_version = structure.VERSION

    @property
    def name(self):
        return processName(self.id)

    def isTaking(self):
        """Return whether the process takes new runs, as far as it reports.

        A process with a stuck control thread does not: others may take the
        runs that wait there.  Its running runs go on.
        """
        return bool(self.threads) and not (
            self.isQuiet() or self.request.is_draining or self.isStuck())

    def begins(self, name):
        """Return whether it begins runs of the type *name*.

        Return None before it has reported that.
        """
        declared = self.declared
        if declared.types is None:
            return None
        return name in (
            declared.types if declared.begun is None else declared.begun)

    def isQuiet(self):
        """Return whether it takes no new runs, on request or as a copy."""
        return self.request.is_quiet or self.copied is not None

    def isStuck(self):
        """Return whether its control thread is stuck, as it reports."""
        return any(
            (kind == STUCK_PROCESS for kind, *_ in self.heartbeat.troubles))


#: Seconds that the record of an ended process is kept: a day.
ENDED_FOR = 86400.0
#: Records of ended processes that are kept, at most.
ENDED_LIMIT = 200


class EndedProcess(Persistent):
    """A process that ended, or died."""

    def __init__(self, record, how, ended_at, asked=None):
        self.id = record.id
        self.host = record.host
        self.pid = record.pid
        self.started_at = record.started_at
        self.beat_at = record.heartbeat.beat_at
        self.how = how           # one of PROCESS_ENDS
        self.ended_at = ended_at     # if it died: when that was found
        self.asked = asked       # (principal, asked_at, reason) of a drain
        # (registry oid, run id) of its runs that others took over
        self.taken_over = OOTreeSet()

    def leave(self, key):
        """Note that others took over the run *key*: (registry oid, run id)."""
        if key not in self.taken_over:
            self.taken_over.insert(key)


class Directory(structure.Structured, Persistent):
    """The registries and processes of a database, in its root."""

    ended = None   # OOBTree: id -> EndedProcess; None before the first one
    belonging = None   # in an older database; the first runtime makes it

    def __init__(self):
        self.structure_version = structure.VERSION
        self.mark = os.urandom(8)     # see reference.databaseMark
        self.registries = OOBTree()   # oid -> weak reference
        self.processes = OOBTree()    # id -> ProcessRecord
        self.slots = OOBTree()        # worker type -> slots.Slots
        self.belonging = Belonging()
        self.journal = Journal()      # actions on processes
        self.unknown = OOBTree()      # worker type with pending runs that no
        #                               process declares -> since when

    def addRegistry(self, registry):
        """Add *registry*, which must have an oid."""
        oid = registry._p_oid
        if oid not in self.registries:
            self.registries[oid] = WeakRef(registry)
            arrive(registry, (self.mark, oid))

    def end(self, record, how, asked=None):
        """Turn *record* into an `EndedProcess`; return that.

        *how* is one of `PROCESS_ENDS`; *asked* is that of a drain, or None.
        """
        if self.ended is None:
            self.ended = OOBTree()
        del self.processes[record.id]
        if len(self.ended) >= ENDED_LIMIT:
            self.forgetEnded(ENDED_LIMIT - 1)
        ended = self.ended[record.id] = EndedProcess(
            record, how, clock.now(), asked)
        return ended

    def findEnded(self, process_id):
        """Return the `EndedProcess` of the id, or None."""
        return self.ended.get(process_id) if self.ended else None

    def forgetEnded(self, most=ENDED_LIMIT):
        """Remove those that ended long ago, and the oldest beyond *most*."""
        now = clock.now()
        kept = sorted((self.ended or {}).values(),
                      key=lambda one: one.ended_at, reverse=True)
        for index, one in enumerate(kept):
            # A time far ahead is of a wrong clock.
            if index >= most or now - one.ended_at >= ENDED_FOR or (
                    clock.isAhead(one.ended_at, now)):
                del self.ended[one.id]

    def listRegistries(self):
        """Return the registries that are still in their place.

        Leave out those that this code cannot use, such as those of a newer
        release.
        """
        return list(filter(structure.isUsable, self.listAllRegistries()))

    def listAllRegistries(self):
        """Return the registries that are in their place, usable or not."""
        found = (ref() for ref in self.registries.values())
        return [registry for registry in found
                if registry is not None and getHost().isInPlace(registry)]


class Living:
    """A snapshot of the living processes and the runs that they carry out.

    *own_id* is the id of the calling process, which takes new runs if
    *is_taking*.
    """

    def __init__(self, directory, own_id, is_taking=True):
        self.own_id = own_id
        self.ids = set(directory.processes)
        self.takers = []   # ids of processes that take new runs, in order
        # Runs that other processes report as live, whether claimed or not.
        self._reported = {}    # (registry oid, run id) -> process id
        for record in directory.processes.values():
            if record.isTaking() and (
                    is_taking or record.id != own_id):
                self.takers.append(record.id)
            if record.id != own_id:
                self._reported.update(
                    dict.fromkeys(record.live.runs, record.id))

    def isOwned(self, registry_oid, run):
        """Return whether another living process carries *run* out.

        It owns the run by a claim or a take, or reports it as live.
        """
        if run.isFinished():
            return False
        if run.owner is not None and run.owner != self.own_id:
            return run.owner in self.ids
        return (registry_oid, run.id) in self._reported


def findRegistry(connection, oid):
    """Return the registry *oid*; None if it was removed and packed away.

    Raise `NewerDatabase` or `InvalidDatabase` if this code cannot use it.
    Only a `POSKeyError` of the registry itself means that it is gone: one of
    a part is raised where the part is loaded.
    """
    try:
        registry = connection.get(oid)
        registry._p_activate()
    except POSKeyError:
        return None
    structure.checkVersion(registry)
    return registry


def getDirectory(connection, create=False):
    """Return the `Directory` of the database, or None.

    With *create* make one if there is none.  Raise `InvalidDatabase` if
    another object is in its place.
    """
    directory = inRoot(connection, ROOT_KEY)
    if directory is None and create:
        directory = connection.root()[ROOT_KEY] = Directory()
    if not isinstance(directory, (Directory, type(None))):
        raise InvalidDatabase(
            'database: expected the directory of cipher.background at %r in '
            'its root, got a %s; give that another name, or remove it'
            % (ROOT_KEY, type(directory).__name__))
    return directory


def makeKnown(registry):
    """Add *registry* to the directory; return False if it was there.

    A registry that came by an import, or by a copy of its site, is not in the
    directory at first.
    """
    directory = getDirectory(registry._p_jar, create=True)
    structure.checkVersion(registry)
    if registry._p_oid in directory.registries:
        return False
    structure.checkVersion(directory)
    directory.addRegistry(registry)
    return True


def newProcessId(host, pid):
    """Return a new, unique process id: HOST:PID:RANDOM."""
    return '%s:%d:%s' % (host, pid, uuid.uuid4().hex[:16])


def processName(process_id):
    """Return HOST:PID, the name of a process for people."""
    return process_id.rpartition(':')[0]


def hostName():
    """Return the name of this host."""
    return socket.gethostname() or 'unknown'


def machineId():
    """Return a text for the realm in which a pid is valid, or None.

    It names the boot and the pid namespace, so it differs between containers
    and changes with a reboot.  It is None on a system without ``/proc``.
    """
    try:
        with open('/proc/sys/kernel/random/boot_id') as boot:
            return '%s %s' % (boot.read().strip(),
                              os.readlink('/proc/self/ns/pid'))
    except OSError:
        return None


def pidStarted(pid):
    """Return the begin of the process *pid* as a text; None if unknown."""
    try:
        return _read_stat(pid)[1]
    except (OSError, IndexError):
        return None


def _read_stat(pid):
    """Return (state, begin) of a process, as texts."""
    with open('/proc/%d/stat' % pid) as stat:
        # The name of the program, in brackets, may contain anything.
        fields = stat.read().rpartition(')')[2].split()
    # See proc(5): field 3 is the state, field 22 the start time.
    return fields[0], fields[19]


def isKnownDead(record):
    """Return whether the process of *record* is certainly dead.

    *record* is a `ProcessRecord` or a `writers.Writer`.  Return False if that
    is unknown: ``/proc`` may be unreadable for lack of a file descriptor, or
    because it is hidden.
    """
    if record.machine is None or record.machine != machineId():
        return False
    try:
        os.kill(record.pid, 0)   # signal 0 only checks for the process
    except ProcessLookupError:
        return True
    except OSError:
        pass   # it exists, but belongs to another user
    try:
        state, started = _read_stat(record.pid)
    except (OSError, IndexError):
        return False
    # A zombie is dead; with another begin, the pid was reused.
    return state in 'ZX' or record.pid_started not in (None, started)


def isKnownAlive(record):
    """Return whether the process of *record* is certainly alive.

    Return False if that is unknown.
    """
    return (record.machine is not None and record.machine == machineId()
            and record.pid_started is not None
            and pidStarted(record.pid) == record.pid_started)
