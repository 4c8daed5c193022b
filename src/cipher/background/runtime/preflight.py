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
"""The checks of a database before a runtime begins."""
from transaction import TransactionManager
from ZODB.broken import Broken

from cipher.background.contextmanagers import closeConnection
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import InvalidDatabase
from cipher.background.interfaces import RuntimeRefused
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.store import structure
from cipher.background.store.lane import Lane
from cipher.background.store.process import Directory
from cipher.background.store.process import getDirectory
from cipher.background.util.logs import getLogger
from cipher.background.util.text import safeRepr


log = getLogger(__name__)

# Attributes that every database has, however old.  A later attribute has a
# default on its class, or is made at its first use.  It must not be listed
# here: older databases would be refused.
_NEEDED = {
    Directory: {'registries', 'processes', 'slots', 'offers'},
    WorkerRegistry: {'lanes', 'stops', 'schedules', 'services', 'unique_keys',
                     'pauses', 'removed_by_hand', 'journal', 'secret'},
}


def checkDatabase(db, settings):
    """Check that a runtime with *settings* can work with *db*.

    Raise `RuntimeRefused` if the database is read-only, `InvalidDatabase` if
    its records cannot be used.  A database that cannot be read at the moment
    is accepted: work waits until it is back.  The thread's transaction stays
    untouched.
    """
    if db.storage.isReadOnly():
        raise RuntimeRefused(
            'runtime: expected a database that can be written, got one that '
            'is opened read-only; open it for writing, or leave '
            '<background:runtime /> out')
    _advise(db, settings)
    try:
        _look(db, _check_records)
    except InvalidDatabase:
        raise
    except Exception:
        log.warning('Runtime: the database cannot be read; work begins when '
                    'it is back', exc_info=True)


def checkTypes(settings):
    """Raise `RuntimeRefused` if *settings* name a type that is not declared.
    """
    for name in settings.types or ():
        if queryWorkerType(name) is None:
            raise RuntimeRefused(
                'runtime: expected types to be names of declared worker '
                'types, got %s; correct it, or declare that type with '
                '<background:worker name=… />' % safeRepr(name, 100))


def lookAtDirectory(db, look):
    """Call *look* with the directory of *db* or None; return its result.

    Return None if the database cannot be read.  The thread's transaction
    stays untouched.
    """
    try:
        return _look(db, lambda connection: look(getDirectory(connection)))
    except Exception as error:
        log.debug('Runtime: %s at the first look', type(error).__name__)
        return None


def _look(db, look):
    manager = TransactionManager()
    connection = db.open(transaction_manager=manager)
    try:
        return look(connection)
    finally:
        manager.abort()
        closeConnection(db, connection)


def _advise(db, settings):
    wanted = settings.threads + 2   # control thread and heartbeat
    size = db.getPoolSize()
    if wanted > size:
        log.warning(
            'Runtime: expected a database with a pool of at least %d '
            'connections for %d threads, got one of %d; set its pool_size to '
            'that and as many more as the web server has threads',
            wanted, settings.threads, size)


def _check_records(connection):
    directory = getDirectory(connection)
    if directory is None:
        return
    _check('directory', directory, Directory)
    structure.checkClass(directory, 'directory')
    structure.checkVersion(directory)
    for record in directory.processes.values():
        structure.checkClass(record, 'record of a process')
    for ref in directory.registries.values():
        registry = ref()
        if registry is not None:
            structure.checkClass(registry, 'registry')
    for registry in directory.listAllRegistries():
        who = structure.describe(registry)
        _check(who, registry, WorkerRegistry)
        lanes = [lane for lane in registry.lanes.values()
                 if not isinstance(lane, Broken)]
        if {type(lane) for lane in lanes} - {Lane} or not registry.lanes:
            _complain(who, 'lanes in its attribute lanes', 'others or none')
        structure.checkRegistry(registry)
        for parts in (*map(vars, registry.lanes.values()),
                      registry.schedules, registry.services):
            for part in parts.values():
                structure.checkClass(part, who)


def _check(who, obj, kind):
    """Compare attributes of *obj* with those of a new object of *kind*.

    Raise `InvalidDatabase` if one is missing or of another class.
    """
    if not isinstance(obj, kind):
        _complain(who, 'a %s' % kind.__name__, 'a %s' % type(obj).__name__)
    for name, model in vars(kind()).items():
        if name not in _NEEDED[kind]:
            continue
        value = getattr(obj, name, None)
        if not isinstance(value, type(model)):
            _complain(who, 'a %s as its attribute %s' % (
                type(model).__name__, name), 'a %s' % type(value).__name__)


def _complain(who, expected, got):
    raise InvalidDatabase(
        '%s: expected %s, got %s; it is damaged or of another version of '
        'cipher.background: restore it, or remove it and add a new one'
        % (who, expected, got))
