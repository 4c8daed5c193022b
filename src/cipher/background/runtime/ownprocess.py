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


class OwnProcess:
    """The id and the settings of one runtime.  Any thread may read.

    A collaborator looks at them whenever it needs them: both change.
    """

    def __init__(self, settings):
        self.settings = settings
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

    def note(self, what):
        """Return the note of a transaction of the control thread."""
        return 'background process %s: %s' % (self.name, what)
