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
"""Jobs for functions and for many items, and the making of workers."""
import copy
import time
import types
from collections.abc import Iterable
from typing import Any

from cipher.background.thread import BackgroundJob
from cipher.background.util.calling import callHook
from cipher.background.util.calling import callWork
from cipher.background.util.calling import checkValue
from cipher.background.util.text import cleanLine
from cipher.background.util.text import safeRepr
from cipher.background.util.walking import walk
from cipher.background.work.loop import OnePiece
from cipher.background.work.loop import setUp
from cipher.background.work.worker import hookOf
from cipher.background.work.worker import stateOf


class HandlerJob(OnePiece):
    """The job of a plain function, ``handler(worker, **input)``.

    It is not a thread: a thread of the executor carries it out.
    """

    def __init__(self, name, handler, site_db, site_oid, site_name, user_name,
                 input):
        state = setUp(self, site_db, site_oid, site_name, user_name)
        state.input = input
        self.name = name
        self._handler = handler
        self._who = 'worker %r: its handler' % name

    def doWork(self):
        input = stateOf(self).input
        # The handler gets a copy, so that worker.input stays unchanged.
        return callWork(self._who, self._handler, self,
                        **(copy.deepcopy(input) if input else {}))


class ItemsJob(BackgroundJob):
    """A job over many items, in many commits; each item takes effect once.

    Override `processItem`, and `getCollection` where the items are not in the
    context.  After a conflict only the batch in conflict is done again.  After
    an error, a crash or a deploy the work goes on behind the last committed
    batch.
    """

    #: Items, and seconds, after which a batch is committed.  Like all hooks,
    #: these are looked up on the class; a property works, too.
    batch_size = 100
    batch_seconds = 5.0

    def getCollection(self) -> Any:
        """Return the collection of the items; by default, the context.

        The items are the values of a BTree, of a container or of another
        mapping, and the members of a set, of a sequence or of another
        iterable.  They may be added and removed meanwhile: an item that is
        added behind the last one done is processed as well, and no item is
        processed twice.

        A BTree and a container of BTrees take the same time for each batch,
        in the order of their keys.  Of any other collection each batch looks
        at all that is there.  A mapping needs keys that can be sorted; they
        are visited in that order.  Members of other collections are stored
        objects or plain data.  An iterator has to be made anew at each call,
        and must not change while a batch goes through it.
        """
        context = stateOf(self).context
        if context is None:
            raise TypeError(
                '%s: expected a context with the items, got none; start it '
                'with a context, or override getCollection()'
                % type(self).__name__)
        return context

    def items(self, cursor: Any) -> Iterable[tuple[Any, Any]]:
        """Yield (cursor, item) for each item behind *cursor*, in order.

        *cursor* is None at first, later one that was yielded before.  A
        cursor is plain data from which the next item can be found at once,
        such as a key of a BTree.  This is called for each batch.

        Override it for items that are in no collection, or in another order.
        """
        return walk(_name(self, 'getCollection'),
                    hookOf(self, 'getCollection'), cursor)

    def processItem(self, item: Any) -> Any:
        """Do the work for *item*; the effect is committed with its batch."""
        raise NotImplementedError(
            '%s: override processItem(item)' % type(self).__name__)

    def countItems(self) -> int | None:
        """Return the number of all items; None if counting costs too much."""
        return None

    def getResult(self, done: int) -> Any:
        """Return the result of the run after *done* items."""
        return '%d items' % done

    def doWork(self) -> Any:
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
    """Process one batch; return (cursor, number of items processed).

    The next batch goes on behind the cursor.  It is None at the end.
    """
    size = _number(job, 'batch_size')
    deadline = time.monotonic() + _number(job, 'batch_seconds')
    count = 0
    for cursor, item in _items(job, state.cursor):
        state.checkStop()
        _call(job, 'processItem', item)
        count += 1
        if count >= size or time.monotonic() >= deadline:
            return cursor() if callable(cursor) else cursor, count
    return None, count


def _items(job, cursor):
    """Yield the checked pairs of the hook ``items`` of *job*."""
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
            raise _unfit(who, 'a cursor from which to go on', None)
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
    """Return a worker of *worker_type* with *input*.

    The others are the arguments of `BackgroundWorkerThread`.  Raise
    ``TypeError`` if a constructor of the application does not call that of
    its base.
    """
    place = site_db, site_oid, site_name, user_name
    if worker_type.handler is not None:
        return HandlerJob(
            worker_type.name, worker_type.handler, *place, input)
    worker = worker_type.factory(*place, **input)
    state = stateOf(worker)
    if not state.is_set_up:
        raise TypeError(
            'worker %r: expected %s.__init__ to call super().__init__(), got '
            'no such call; call it with site_db, site_oid, site_name and '
            'user_name' % (worker_type.name, type(worker).__name__))
    state.input = input
    return worker
