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
"""Who starts runs, stops some, and thinks better of others."""
import random
import time

import transaction

from cipher.background.interfaces import RunNotStoppable
from cipher.background.tests.chaos import wallclocks
from cipher.background.tests.chaos.world import KINDS
from cipher.background.tests.chaos.world import getWorld
from cipher.background.util import clock


#: A starter starts nothing while more than so many wait in all.
MOST_WAITING = 80

#: Those whose stop would leave a letter unread.
#: How many runs of `small` some transactions start, so that groups are full.
batch = 0

_NEVER_STOPPED = ('unique',)


class Enqueuer:
    """Number *starter* of those who start runs, with *connection*."""

    def __init__(self, connection, starter, rand=random):
        self._connection = connection
        self._starter = starter
        self._rand = rand
        self._last = []   # run ids
        self._is_waiting = True   # until it is known that there is room

    def step(self):
        """Do one thing, in a transaction of its own."""
        transaction.begin()
        self.begin()
        draw = self._rand.random()
        if self._is_waiting or draw > 0.8:
            self._is_waiting = self._is_full()
            if self._is_waiting:
                time.sleep(0.1)
                return
        if draw < 0.17:
            self._start_some()
            transaction.abort()
            return
        if draw < 0.24:
            ids = self._start_some()
            before = transaction.savepoint()
            self._start_some()
            before.rollback()
        elif draw < 0.34 and self._last:
            ids = []
            self._stop(self._rand.choice(self._last))
        else:
            ids = self._start_some()
        transaction.commit()
        self._last = (self._last + ids)[-10:]

    def begin(self):
        """See the world in a transaction that has just begun."""
        self._world, self._registry = getWorld(self._connection)
        self._journal = self._world.journals[self._starter]

    def _is_full(self):
        counts = self._registry.getCounts()
        return MOST_WAITING < sum(
            states.get('pending', 0) for states in counts.values())

    def _start_some(self):
        ids = []
        kinds = [self._rand.choice(KINDS)
                 for _ in range(self._rand.choice((1, 1, 2, 5)))]
        if batch and self._rand.random() < 0.5:
            kinds = ['small'] * batch
        for kind in kinds:
            run = self.start(kind)
            if kind not in _NEVER_STOPPED:
                ids.append(run.id)
        return ids

    def start(self, kind):
        """Start a run of *kind* and write the journal; return the run."""
        entry = self._journal.add(kind)
        if kind == 'unique':
            posted = self._world.posted[self._starter]
            entry.posted = posted.value = posted.value + 1
            run = self._registry.start('unique', starter=self._starter)
        elif kind == 'delayed':
            delay = self._rand.uniform(0.0, 2.0)
            entry.mark = wallclocks.mark()
            entry.due_at = clock.now() + delay
            run = self._registry.submit(kind, entry, delay=delay)
        else:
            run = self._registry.start(kind, entry)
        entry.run_id = run.id
        return run

    def _stop(self, run_id):
        try:
            self._registry.requestStop(run_id, 'chaos')
        except RunNotStoppable:
            return
        self._journal.stops.add(run_id)
