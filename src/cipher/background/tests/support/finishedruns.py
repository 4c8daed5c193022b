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
"""Many finished runs, made quickly, for tests of lists and numbers."""
from contextlib import contextmanager

import transaction

from cipher.background.events import RunFailedEvent
from cipher.background.events import RunInterruptedEvent
from cipher.background.events import RunStoppedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import SUCCEEDED
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests


#: A time at the start of an hour.
NOW = 1800000000.0

_EVENTS = {'succeeded': RunSucceededEvent, 'failed': RunFailedEvent,
           'stopped': RunStoppedEvent, 'interrupted': RunInterruptedEvent}


class LookTests(SiteTests):
    """A registry, and a clock that is set by hand."""

    def setUp(self):
        super().setUp()
        self.clock = self.setClock(NOW)
        for name in 'work', 'other':
            declareWorker(name, print)

    def makeRun(self, type='work', state=SUCCEEDED, took=1.0, values=(),
                **birth):
        """Return a run that has just been finished; not committed.

        It began *took* seconds ago; None: it never began.  A *state* of None
        leaves it pending.  *birth* are attributes of the start, *values* of
        the finish.
        """
        run = self.registry.addRun(type, **birth)
        if state is not None:
            began = None if took is None else self.clock.now - took
            self.registry.finish(run, state, _EVENTS[state],
                                 started_at=began, **dict(values))
        return run

    def makeRuns(self, number, *args, **options):
        """Commit *number* runs, a second apart; return them."""
        runs = []
        for _ in range(number):
            self.clock.advance(1.0)
            runs.append(self.makeRun(*args, **options))
        transaction.commit()
        return runs

    def ids(self, **options):
        """Return the ids on all pages in order."""
        found, before = [], None
        for _ in range(500):
            page = self.registry.listRuns(before=before, **options)
            found += [status.id for status in page.items]
            before = page.older
            if before is None:
                return found
        raise AssertionError('no end of pages')

    @contextmanager
    def countLoads(self):
        """Yield a list of the objects that are loaded from now on.

        The cache of the connection is empty at first.
        """
        transaction.commit()
        self.connection.cacheMinimize()
        loaded = []
        setstate = self.connection.setstate

        def counting(obj):
            loaded.append(obj)
            setstate(obj)

        self.connection.setstate = counting
        try:
            yield loaded
        finally:
            del self.connection.setstate
