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
"""What a database knows of the processes that work on it.

Pickles name the classes of this module: they stay here.
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
from cipher.background.util.reference import ROOT_KEY
from cipher.background.util.reference import isInPlace


class Trouble(NamedTuple):
    """One thing that does not work; plain data, stored with the beat."""

    kind: str             # of interfaces.PROBLEMS
    subject: str          # the culprit: a step, a run id
    since: float          # the first failure in a row
    error: str            # the name of its type
    registry_oid: bytes = None   # of the run; None: it is the process's
    stack: str = None     # where the control thread stands


class Heartbeat(Persistent):
    """The beat of a process; apart, so that a rescue can depend on it."""

    count = 0
    beat_at = 0.0
    troubles = ()   # of Trouble as tuples
    waiting = ()    # (registry oid, starter, number of runs that wait)


class LiveRuns(Persistent):
    """What a process carries out at the moment, told now and then."""

    def __init__(self):
        # (oid of the registry, run id) -> (started_at, progress or None,
        # end of the log, stack or None, time of the last progress or None)
        self.runs = {}


class ProcessRequest(Persistent):
    """What is wanted of a process, by administrators or by itself.

    Apart, so that it conflicts with nothing else that is told of the process.
    """

    is_quiet = False      # to begin nothing new
    is_draining = False   # to end its runtime
    asked = None          # (principal, asked_at, reason)


class DeclaredTypes(Persistent):
    """What a process knows; told when it changes."""

    types = ()   # names of worker types


class Belonging(Persistent):
    """Whose a database is: see `deployment`.

    Apart from the directory, so that it conflicts with nothing else.
    """

    deployment = None   # the id of the deployment that it belongs to
    place = None        # the token in the file beside that of a FileStorage


class ProcessRecord(Persistent):
    """A process with a runtime."""

    structure_version = 1   # what its code writes: see structure
    deployment = None   # its id, where it knows one
    copied = None       # of deployment.Copied as a tuple: it begins nothing

    def __init__(self, id, host, pid, machine, pid_started, threads, lease,
                 started_at):
        self.id = id                    # of newProcessId
        self.host = host
        self.pid = pid
        self.machine = machine          # where pid means something, or None
        self.pid_started = pid_started  # tells a reused pid, or None
        self.threads = threads
        self.lease = lease              # seconds
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
        """Return whether it begins what waits, as far as it reports.

        A process whose control thread is stuck does not: others may take what
        waits there.  What runs there goes on.
        """
        return bool(self.threads) and not (
            self.isQuiet() or self.request.is_draining or self.isStuck())

    def isQuiet(self):
        """Return whether it begins nothing new, for whatever reason."""
        return self.request.is_quiet or self.copied is not None

    def isStuck(self):
        """Return whether its control thread makes no step."""
        return any(
            (kind == STUCK_PROCESS for kind, *_ in self.heartbeat.troubles))


#: Seconds that an ended process is kept, and how many are at most.
ENDED_FOR = 86400.0
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
        self.ended_at = ended_at     # of one that died, when that was found
        self.asked = asked       # (principal, asked_at, reason) of a drain
        # (registry oid, run id) of what it worked on, and others took over
        self.taken_over = OOTreeSet()

    def leave(self, key):
        """Note that others took the run of *key* over."""
        if key not in self.taken_over:
            self.taken_over.insert(key)


class Directory(structure.Structured, Persistent):
    """In the root of a database: its registries and its processes."""

    ended = None   # OOBTree: id -> EndedProcess, as soon as there is one
    belonging = None   # of a database of before: made by the first runtime

    def __init__(self):
        self.structure_version = structure.VERSION
        self.mark = os.urandom(8)     # see reference.databaseMark
        self.registries = OOBTree()   # oid -> weak reference
        self.processes = OOBTree()    # id -> ProcessRecord
        self.slots = OOBTree()        # worker type -> slots.Slots
        self.belonging = Belonging()
        self.journal = Journal()      # what was done to the processes
        self.unknown = OOBTree()      # worker type -> since when no process
        #                               knows it, though runs of it wait

    def addRegistry(self, registry):
        """Remember *registry*, which must have its place in the database."""
        oid = registry._p_oid
        if oid not in self.registries:
            self.registries[oid] = WeakRef(registry)
            arrive(registry, (self.mark, oid))

    def end(self, record, how, asked=None):
        """Keep *record* as that of a process that ended; return what is kept.
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
        """Return the `EndedProcess` of that id, or None."""
        return self.ended.get(process_id) if self.ended else None

    def forgetEnded(self, most=ENDED_LIMIT):
        """Forget those that ended long ago, and the oldest beyond *most*."""
        now = clock.now()
        kept = sorted((self.ended or {}).values(),
                      key=lambda one: one.ended_at, reverse=True)
        for index, one in enumerate(kept):
            # One of the far future was written by a clock that was wrong.
            if index >= most or now - one.ended_at >= ENDED_FOR or (
                    clock.isAhead(one.ended_at, now)):
                del self.ended[one.id]

    def listRegistries(self):
        """Return the registries that still are in their place.

        Without those that this code cannot use, as of newer code.
        """
        return list(filter(structure.isUsable, self.listAllRegistries()))

    def listAllRegistries(self):
        """Return the registries in their place, usable or not."""
        found = (ref() for ref in self.registries.values())
        return [registry for registry in found
                if registry is not None and isInPlace(registry)]


class Living:
    """The processes that are alive, and what they carry out: a look."""

    def __init__(self, directory, own_id, is_taking=True):
        self.own_id = own_id
        self.ids = set(directory.processes)
        self.takers = []   # ids of those that begin new runs, in order
        # What they say they carry out.  It may be claimed or not.
        self._told = {}    # (registry oid, run id) -> process id
        for record in directory.processes.values():
            if record.isTaking() and (
                    is_taking or record.id != own_id):
                self.takers.append(record.id)
            if record.id != own_id:
                self._told.update(dict.fromkeys(record.live.runs, record.id))

    def isOwned(self, registry_oid, run):
        """Return whether another process that lives carries *run* out.

        It has claimed it, taken it, or says so.
        """
        if run.isFinished():
            return False
        if run.owner is not None and run.owner != self.own_id:
            return run.owner in self.ids
        return (registry_oid, run.id) in self._told


def findRegistry(connection, oid):
    """Return the registry of that oid, None if it was removed and packed away.

    Raise `NewerDatabase` if only newer code may use it.  A record of a
    registry that cannot be loaded raises where it is needed: a `POSKeyError`
    of any other object is no sign that the registry is gone.
    """
    try:
        registry = connection.get(oid)
        registry._p_activate()
    except POSKeyError:
        return None
    structure.checkVersion(registry)
    return registry


def getDirectory(connection, create=False):
    """Return the `Directory` of the database; None where it has none.

    With *create* it is made where it is missing, in the open transaction.
    Raise `InvalidDatabase` where something else is in its place.
    """
    root = connection.root()
    directory = root.get(ROOT_KEY)
    if directory is None and create:
        directory = root[ROOT_KEY] = Directory()
    if not isinstance(directory, (Directory, type(None))):
        raise InvalidDatabase(
            'database: expected the directory of cipher.background at %r in '
            'its root, got a %s; give that another name, or remove it'
            % (ROOT_KEY, type(directory).__name__))
    return directory


def makeKnown(registry):
    """Let the directory know of *registry*; return whether that is news.

    Joins the open transaction.  A registry that came with an import or a copy
    of its site is in no directory until then.
    """
    directory = getDirectory(registry._p_jar, create=True)
    structure.checkVersion(registry)
    if registry._p_oid in directory.registries:
        return False
    structure.checkVersion(directory)
    directory.addRegistry(registry)
    return True


def newProcessId(host, pid):
    """Return an id that no other process has, nor had: HOST:PID:RANDOM."""
    return '%s:%d:%s' % (host, pid, uuid.uuid4().hex[:16])


def processName(process_id):
    """Return HOST:PID, what people know a process by."""
    return process_id.rpartition(':')[0]


def hostName():
    """Return the name of this host."""
    return socket.gethostname() or 'unknown'


def machineId():
    """Return what tells where pids mean the same, or None if unknown.

    The boot and the pid namespace: containers and reboots make a difference.
    """
    try:
        with open('/proc/sys/kernel/random/boot_id') as boot:
            return '%s %s' % (boot.read().strip(),
                              os.readlink('/proc/self/ns/pid'))
    except OSError:
        return None


def pidStarted(pid):
    """Return when the process *pid* began (text), None if nobody can tell.
    """
    try:
        return _read_stat(pid)[1]
    except (OSError, IndexError):
        return None


def _read_stat(pid):
    """Return (state, begin) of a process, as texts."""
    with open('/proc/%d/stat' % pid) as stat:
        # The name, in brackets, may hold anything.
        fields = stat.read().rpartition(')')[2].split()
    # See proc(5): field 3 is the state, field 22 the start time.
    return fields[0], fields[19]


def isKnownDead(record):
    """Return whether the process of *record* surely is not alive.

    False where nobody can tell from here: what cannot be read in ``/proc``,
    for want of a file descriptor or because it is hidden, says nothing.
    """
    if record.machine is None or record.machine != machineId():
        return False
    try:
        os.kill(record.pid, 0)   # asks; it sends nothing
    except ProcessLookupError:
        return True
    except OSError:
        pass   # it is there, but another user's
    try:
        state, started = _read_stat(record.pid)
    except (OSError, IndexError):
        return False
    # As a zombie, or with a pid that is another one's by now.
    return state in 'ZX' or record.pid_started not in (None, started)


def isKnownAlive(record):
    """Return whether the process of *record* surely is alive.

    False where nobody can tell from here.
    """
    return (record.machine is not None and record.machine == machineId()
            and record.pid_started is not None
            and pidStarted(record.pid) == record.pid_started)
