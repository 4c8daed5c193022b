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
"""Bring what older code stored up to date, and notice newer code."""
from cipher.background.interfaces import NEWER_DATABASE
from cipher.background.interfaces import OLDER_PROCESS
from cipher.background.store import structure
from cipher.background.store.evolve import Evolution
from cipher.background.store.process import Trouble
from cipher.background.util import clock
from cipher.background.util.logs import getLogger


log = getLogger(__name__)


class Evolving:
    """The structure of the database, as the process *own* finds it.

    *report* lets other processes know soon what is wrong.
    """

    def __init__(self, own, report):
        self._own = own
        self._report = report
        self._evolution = Evolution(own.id)
        self._newer = None   # (structure, since): others are newer than we

    def turn(self, connection):
        """Convert a batch of records that older code stored.

        Each turn converts one batch, so the other steps go on meanwhile.
        Return whether there is more.
        """
        before = set(self._evolution.older)
        is_more = self._evolution.turn(connection, self._own.note('evolve'))
        if set(self._evolution.older) != before:
            self._report()
        return is_more

    def isNewer(self, directory):
        """Return whether newer code has used the database; log it once."""
        newer = [record for record
                 in (directory, *directory.listAllRegistries())
                 if structure.isNewer(record)]
        if not newer:
            self._newer = None
        elif self._newer is None:
            self._newer = newer[0].structure_version, clock.now()
            log.error('Process %s: its release is older than the database: '
                      '%s has structure %d, this code knows %d; it begins '
                      'no new runs; start it again with the newer release',
                      self._own.name,
                      structure.describe(newer[0]), self._newer[0],
                      structure.VERSION)
            self._report()
        return bool(newer)

    def listTroubles(self):
        """Return the list of `Trouble` of the stored structure.  Thread-safe.
        """
        found = [Trouble(OLDER_PROCESS, process_id, since, '')
                 for process_id, since
                 in list(self._evolution.older.items())]
        if self._newer is not None:
            number, since = self._newer
            found.insert(0, Trouble(NEWER_DATABASE, str(number), since, ''))
        return found
