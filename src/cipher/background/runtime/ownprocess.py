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
"""This process, as the database knows it."""
import os

from cipher.background.declarations.workertype import nameOf
from cipher.background.declarations.workertype import nameToday
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.store import process
from cipher.background.store.deployment import Origin


class OwnProcess:
    """What identifies one runtime, and its settings.  Any thread may read.

    *db* is the database, which stays the same.  All else may change, so a
    collaborator looks at it whenever it needs it.
    """

    def __init__(self, db, settings):
        self.db = db
        self.settings = settings
        self.is_recorded = False   # the database has a record of it
        self.setDeployment(None)
        self.host = process.hostName()
        self.pid = os.getpid()
        self.takeNewId()
        self.name = process.processName(self.id)

    @property
    def threads(self):
        """How many threads carry out jobs."""
        return self.settings.threads

    def begins(self, name):
        """See `~cipher.background.interfaces.IRuntime`."""
        worker_type = queryWorkerType(name)
        types = self.settings.types
        return worker_type is not None and (
            types is None
            or nameOf(worker_type) in map(nameToday, types))

    def takeNewId(self):
        """Be another process, as far as the database knows.

        What the old one had claimed and nobody has rescued yet would else
        count as carried out for ever.
        """
        self.id = process.newProcessId(self.host, self.pid)

    def setDeployment(self, deployment):
        """Belong to the deployment with that id; None if it is not known."""
        self.deployment = deployment
        self.origin = Origin(self.db, deployment)

    def findRecord(self, connection):
        """Return our record; None if others took this process for dead."""
        return process.getDirectory(connection).processes.get(self.id)

    def note(self, what):
        """Return the note of a transaction of the control thread."""
        return 'background process %s: %s' % (self.name, what)
