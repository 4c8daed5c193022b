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

from BTrees.OOBTree import OOBTree
from persistent import Persistent
from persistent.wref import WeakRef

from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import InvalidDatabase
from cipher.background.journal import Journal
from cipher.background.reference import isInPlace


ROOT_KEY = 'cipher.background'


class Beat(Persistent):
    """The beat of a process; apart, so that a rescue can depend on it."""

    count = 0
    beat_at = 0.0


#: How much a process has to do, as far as others want to know.
IDLE = 'idle'     # nothing, while another one has too much
DEEP = 'deep'     # much more than it has threads for


class LiveRuns(Persistent):
    """What a process carries out at the moment, told now and then."""

    load = None   # IDLE, DEEP or neither

    def __init__(self):
        # (oid of the registry, run id) -> (started_at, progress or None,
        # end of the log, stack or None)
        self.runs = {}


class Wish(Persistent):
    """What is wanted of a process, by administrators or by itself.

    Apart, so that it conflicts with nothing else that is told of the process.
    """

    is_quiet = False      # to begin nothing new
    is_draining = False   # to end its runtime
    asked = None          # (principal, asked_at, reason)


class Declared(Persistent):
    """What a process knows; told when it changes."""

    types = ()   # names of worker types


class ProcessRecord(Persistent):
    """A process with a runtime."""

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
        self.beat = Beat()
        self.beat.beat_at = started_at
        self.live = LiveRuns()
        self.wish = Wish()
        self.declared = Declared()

    @property
    def name(self):
        return processName(self.id)


class Directory(Persistent):
    """In the root of a database: its registries and its processes."""

    def __init__(self):
        self.registries = OOBTree()   # oid -> weak reference
        self.processes = OOBTree()    # id -> ProcessRecord
        self.slots = OOBTree()        # worker type -> slots.Slots
        self.offers = OOBTree()       # see offers.Offers
        self.journal = Journal()      # what was done to the processes

    def addRegistry(self, registry):
        """Remember *registry*, which must have its place in the database."""
        oid = registry._p_oid
        if oid not in self.registries:
            self.registries[oid] = WeakRef(registry)

    def listRegistries(self):
        """Return the registries that still are in their place."""
        found = (ref() for ref in self.registries.values())
        return [registry for registry in found
                if registry is not None and isInPlace(registry)]


class Holders:
    """The processes that are alive, and what they carry out: a look."""

    def __init__(self, directory, own_id):
        self._alive = directory.processes
        # What was begun without a claim, in lanes of whoever looks: they
        # were handed over meanwhile.
        self._told = set()
        for record in directory.processes.values():
            if record.id != own_id:
                self._told.update(record.live.runs)

    def hold(self, registry_oid, run):
        """Return whether one of them carries *run* (or None) out.

        A claimed one, or one that another process tells of.
        """
        if run is None or run.isFinished():
            return False
        if run.state == RUNNING:
            return run.owner in self._alive
        return (registry_oid, run.id) in self._told


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
    """Return when the process *pid* began (text), None if it is not alive.
    """
    try:
        with open('/proc/%d/stat' % pid) as stat:
            # The name, in brackets, may hold anything.
            fields = stat.read().rpartition(')')[2].split()
    except OSError:
        return None
    # See proc(5): field 3 is the state, field 22 the start time.
    return None if fields[0] in 'ZX' else fields[19]


def isKnownDead(record):
    """Return whether the process of *record* surely is not alive.

    False where nobody can tell from here.
    """
    if record.machine is None or record.machine != machineId():
        return False
    started = pidStarted(record.pid)
    return started is None or started != record.pid_started
