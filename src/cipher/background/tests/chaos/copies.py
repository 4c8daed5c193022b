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
"""A copy of the database, opened beside the original: it begins nothing."""
import os
import shutil
import time

import transaction
from ZODB.FileStorage import FileStorage
from zope.component import provideHandler

from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.interfaces import IRunStartedEvent
from cipher.background.runtime.runtime import startRuntime
from cipher.background.store.process import getDirectory
from cipher.background.tests.chaos.storages import Database
from cipher.background.tests.chaos.world import getWorld


#: The deployment of the original, and that of the copies.
ORIGINAL, COPY = 'chaos', 'copy'

#: Seconds that a copy is watched.
WATCHED = 1.0

#: Bytes.  A larger file is not copied.
MOST = 200000000


def takeCopy(path, folder, name, rand):
    """Copy the file of a FileStorage as it is now, in use or not.

    With the file beside it or without.  Return the path of the copy, None if
    there is nothing yet, or too much.
    """
    if not os.path.exists(path) or os.path.getsize(path) > MOST:
        return None
    copy = os.path.join(folder, name)
    os.mkdir(copy)
    copied = shutil.copy(path, copy)
    beside = path + '.background'
    if os.path.exists(beside) and rand.random() < 0.5:
        shutil.copy(beside, copy)
    return copied


def watch(path, ledger, has_id):
    """Open the copy at *path* with a runtime; note what that begins.

    *has_id*: it knows that it is another deployment.  Else only its place
    tells.
    """
    db = Database(FileStorage(path))
    try:
        connection = db.open()
        transaction.begin()
        directory = getDirectory(connection)
        belonging = directory and directory.belonging
        if belonging is None or None in (
                belonging.deployment, has_id or belonging.place):
            return   # nothing is known yet: no judgement
        provideHandler(lambda event: ledger.write(
            'leak', 'the copy began run %s' % event.object.id),
            [IRunStartedEvent])
        before = _describe(connection)
        runtime = startRuntime(db, RuntimeSettings(
            threads=2, poll=0.05, lease=3.0, drain=1.0,
            deployment=COPY if has_id else None))
        _, registry = getWorld(connection)
        new = registry.start('fails').id
        transaction.commit()
        time.sleep(WATCHED)
        transaction.begin()
        if not runtime.is_quiet or not any(
                status.is_copy for status in registry.listProcesses()):
            ledger.write('leak', 'the copy is not quiet')
        runtime.shutdown()
        transaction.begin()
        after = _describe(connection)
        if after.pop(new, None) is None:
            ledger.write('leak', 'the copy lost run %s' % new)
        for run_id in before.keys() | after.keys():
            if before.get(run_id) != after.get(run_id):
                ledger.write('leak', 'the copy changed run %s: %s, then %s'
                             % (run_id, before.get(run_id),
                                after.get(run_id)))
        transaction.abort()
        connection.close()
    finally:
        db.close()


def _describe(connection):
    """Return {run id: what a begin, a rescue or an end would change}."""
    _, registry = getWorld(connection)
    return {run.id: (run.state, run.owner, run.epoch, run.attempts,
                     run.interruptions)
            for lane in registry.lanes.values()
            for run in lane.births.walkUp()}
