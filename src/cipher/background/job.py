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
import types

from cipher.background.thread import BackgroundJob
from cipher.background.util.calling import callHook
from cipher.background.util.calling import callWork
from cipher.background.util.calling import checkValue
from cipher.background.util.text import cleanLine
from cipher.background.util.text import safeRepr
from cipher.background.work.loop import OnePiece
from cipher.background.work.loop import setUp
from cipher.background.work.worker import hookOf
from cipher.background.work.worker import stateOf


class HandlerJob(OnePiece):
    """The job of a plain function, ``handler(worker, **input)``.

    Carried out by a thread of the executor; no thread of its own.
    """

    def __init__(self, name, handler, site_db, site_oid, site_name, user_name,
                 input):
        setUp(self, site_db, site_oid, site_name, user_name)
        self.name = name
        self._handler = handler
        self._who = 'worker %r: its handler' % name
        stateOf(self).input = input

    def doWork(self):
        """See `~cipher.background.interfaces.IBackgroundWorkerThread`."""
        input = stateOf(self).input
        # A copy: the worker's own is as it was given.
        return callWork(self._who, self._handler, self,
                        **(copy.deepcopy(input) if input else {}))


class ItemsJob(BackgroundJob):
    """A job over many items, in many commits; each item's effect once.

    Override `items` and `processItem`.  After a conflict only the batch that
    conflicted is done again; after an error, a crash or a deploy the work
    goes on behind the last batch that was committed.
    """

    #: A batch is committed after so many items, or so many seconds.  As all
    #: hooks, these are looked up on the class (a property will do, too).
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
        state = stateOf(self)
        done = 0
        if state.cursor is not None and state.progress is not None:
            done = int(state.progress[0] or 0)
        state.setProgress(done, _call(self, 'countItems'))
        while True:
            cursor, count = _batch(self, state)
            done += count
            state.setProgress(done)
            if cursor is None:
                return _call(self, 'getResult', done)
            state.checkpoint(cursor)


def _batch(job, state):
    """Return (cursor to go on behind, None at the end; items done)."""
    size = _number(job, 'batch_size')
    deadline = time.monotonic() + _number(job, 'batch_seconds')
    count = 0
    for cursor, item in _items(job, state.cursor):
        state.checkStop()
        _call(job, 'processItem', item)
        count += 1
        if count >= size or time.monotonic() >= deadline:
            return cursor, count
    return None, count


def _items(job, cursor):
    """Yield what `ItemsJob.items` of *job* gives: pairs."""
    who = _name(job, 'items')
    items = hookOf(job, 'items')(cursor)
    if not isinstance(items, types.GeneratorType):
        checkValue(who, items)
    try:
        items = iter(items)
    except TypeError:
        raise _unfit(who, 'an iterable of (cursor, item)', items) from None
    for pair in items:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise _unfit(who, 'pairs (cursor, item)', pair)
        if pair[0] is None:
            raise _unfit(who, 'a cursor to go on behind', None)
        yield pair


def _call(job, name, *args):
    return callHook(_name(job, name), hookOf(job, name), *args)


def _number(job, name):
    value = hookOf(job, name)
    if isinstance(value, (int, float)) and value >= 0:
        return value
    raise _unfit(_name(job, name), 'a number that is not negative', value)


def _name(job, name):
    return '%s.%s' % (type(job).__name__, name)


def _unfit(who, expected, got):
    return TypeError('%s: expected %s, got %s' % (
        who, expected, cleanLine('%s %s' % (type(got).__name__,
                                            safeRepr(got, 200)))))


def makeWorker(worker_type, input, site_db, site_oid, site_name, user_name):
    """Return a worker of that type; the rest as `BackgroundWorkerThread`."""
    place = site_db, site_oid, site_name, user_name
    if worker_type.handler is not None:
        return HandlerJob(
            worker_type.name, worker_type.handler, *place, input)
    worker = worker_type.factory(*place, **input)
    state = stateOf(worker)
    if not state.is_set_up:
        raise TypeError(
            'worker %r: expected %s.__init__ to call super().__init__(), got '
            'one that does not; call it with site_db, site_oid, site_name '
            'and user_name' % (worker_type.name, type(worker).__name__))
    state.input = input
    return worker
