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
"""Jobs that the framework makes something of: functions, many items."""
import copy
import time

from cipher.background.thread import BackgroundJob
from cipher.background.workloop import OnePiece


class HandlerJob(OnePiece):
    """The job of a plain function, ``handler(worker, **input)``.

    Carried out by a thread of the executor; no thread of its own.
    """

    def __init__(self, name, handler, site_db, site_oid, site_name, user_name,
                 input):
        self.setUpLoop(site_db, site_oid, site_name, user_name)
        self.name = name
        self._handler = handler
        self.input = input

    def doWork(self):
        """See `~cipher.background.interfaces.IBackgroundWorkerThread`."""
        if not self.input:
            return self._handler(self)
        # A copy: there may be another try.
        return self._handler(self, **copy.deepcopy(self.input))


class ItemsJob(BackgroundJob):
    """A job over many items, in many commits; each item's effect once.

    Override `items` and `processItem`.  After a conflict only the batch that
    conflicted is done again; after an error, a crash or a deploy the work
    goes on behind the last batch that was committed.
    """

    #: A batch is committed after so many items, or so many seconds.
    batch_size = 100
    batch_seconds = 5.0

    def items(self, cursor):
        """Yield (cursor, item) for each item behind *cursor*, in order.

        *cursor* is None at first, later one of those yielded: plain data, to
        begin behind it without walking there, as a key of a BTree.  Called
        anew for each batch.
        """
        raise NotImplementedError(
            '%s: override items(cursor)' % type(self).__name__)

    def processItem(self, item):
        """Do the work for one item; its effect is committed with its batch."""
        raise NotImplementedError(
            '%s: override processItem(item)' % type(self).__name__)

    def countItems(self):
        """Return how many items there are in all; None if that costs much."""
        return None

    def getResult(self, done):
        """Return the result of the run after *done* items."""
        return '%d items' % done

    def doWork(self):
        """See `~cipher.background.interfaces.IBackgroundWorkerThread`."""
        done = int(self.progress[0]) if self.cursor is not None else 0
        self.setProgress(done, self.countItems())
        while True:
            cursor, count = self._batch()
            done += count
            self.setProgress(done)
            if cursor is None:
                return self.getResult(done)
            self.checkpoint(cursor)

    def _batch(self):
        """Return (cursor to go on behind, None at the end; items done)."""
        deadline = time.monotonic() + self.batch_seconds
        count = 0
        for cursor, item in self.items(self.cursor):
            self.checkStop()
            self.processItem(item)
            count += 1
            if count >= self.batch_size or time.monotonic() >= deadline:
                return cursor, count
        return None, count


def makeWorker(worker_type, input, *place):
    """Return a worker of that type; *place* as `BackgroundWorkerThread`."""
    if worker_type.handler is not None:
        return HandlerJob(
            worker_type.name, worker_type.handler, *place, input)
    worker = worker_type.factory(*place, **input)
    worker.input = input
    return worker
