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
"""The runs of this process, as its memory has them."""
from dataclasses import dataclass
from dataclasses import field

from cipher.background.runtime.queue.backlog import Backlog
from cipher.background.runtime.queue.claims import Claims
from cipher.background.runtime.running import RunningRuns


@dataclass(frozen=True)
class OwnRuns:
    """The runs of one runtime, by what is still to be done for them."""

    #: Runs that wait, or work in another process, as tickets.
    backlog: Backlog

    #: Runs that work here.
    running: RunningRuns = field(default_factory=RunningRuns)

    #: Runs that a commit has given to this process.
    claims: Claims = field(default_factory=Claims)

    #: Tickets of runs whose end could not be written; the set changes.
    unrecorded: set = field(default_factory=set)

    #: Keys of runs that the end of the process put back; the set changes.
    left_over: set = field(default_factory=set)

    def listNotBegun(self):
        """Return [(registry oid, run id)] of claimed runs that do not work."""
        return [key for key in self.claims.list()
                if self.running.findLive(*key) is None]

    def forgetAll(self):
        """Give everything up, because others took the process for dead."""
        self.running.abandonAll()
        self.claims.clear()
        self.backlog.dropAll()
