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
"""What administrators did: who, when, why.

Pickles name `Journal`: it stays here.
"""
import zlib
from collections import deque
from operator import itemgetter
from typing import NamedTuple

from BTrees.LOBTree import LOBTree
from persistent import Persistent
from zope.interface import implementer

from cipher.background.declarations.workertype import maskerOf
from cipher.background.interfaces import IAction
from cipher.background.store import structure
from cipher.background.util import clock
from cipher.background.util.principal import currentPrincipal
from cipher.background.util.text import CUT
from cipher.background.util.text import NOTE_LIMIT
from cipher.background.util.text import SHOWS_ALL
from cipher.background.util.text import cleanLine
from cipher.background.util.text import safeStr


#: Rows that are kept beside the lasting ones, and how many more there are at
#: most: if one went at each new one, all transactions would conflict.
LIMIT = 1000
SURPLUS = 100

#: Seconds: the same act by the same person on the same thing is one row.
SAME_ACT = 3600.0

#: Acts that cannot be undone.  No number of other rows takes theirs away.
LASTING = ('remove', 'drain process', 'remove registry', 'adopt database',
           'remove kept')
#: Seconds that rows of those acts are kept at least: 90 days.
LASTING_FOR = 90 * 86400.0

#: Characters.  The note of a transaction with many actions has the first
#: ones only: over 64 kB it would fail the commit.
NOTES_LIMIT = 8000

_RUN_VERBS = ('begin', 'stop', 'retry', 'remove')


class Journal(Persistent):
    """The actions on a registry, or on the processes of a database.

    Each tree is {microseconds: `Action` as a tuple without its last defaults}.
    """

    def __init__(self):
        self.recent = LOBTree()    # about LIMIT rows
        self.lasting = LOBTree()   # those of LASTING acts


@implementer(IAction)
class Action(NamedTuple):
    """See `~cipher.background.interfaces.IAction`."""

    verb: str
    subject: str
    principal: str
    at: float
    reason: str
    types: tuple = ()      # names of the worker types that it was about
    times: int = 1
    last_at: float = None
    packed: bytes = b''    # what _pack made of the ids of many runs
    number: int = 1
    filter: str = None

    @property
    def run_ids(self):
        """See `~cipher.background.interfaces.IAction`."""
        return zlib.decompress(self.packed).decode('ascii').split() if (
            self.packed) else []

    def toRow(self):
        """Return what is stored: a tuple without the last defaults."""
        defaults = (None,) * 5 + tuple(self._field_defaults.values())
        size = len(self)
        while size > 5 and self[size - 1] == defaults[size - 1]:
            size -= 1
        return tuple(self[:size])


def askedNow(reason, run=None):
    """Return (principal, time, reason or None) of who asks for something.

    The secrets of *run*, if it is about one, are masked in the reason.
    """
    if reason:
        masker = SHOWS_ALL if run is None else maskerOf(run)
        reason = cleanLine(safeStr(reason), masker=masker).strip()
    return currentPrincipal(), clock.now(), reason or None


def record(owner, verb, subject, asked, types=()):
    """Keep an action, one of `ACTIONS`, in the open transaction.

    *owner* has the journal: a registry, or the `process.Directory`.  *asked*
    is what `askedNow` gave, *types* names the worker types that the action is
    about.  Two transactions that keep one action each do not conflict, unless
    it is the same act on the same thing.  The transaction is given a note.
    """
    structure.checkVersion(owner)
    action = Action(verb, cleanLine(subject), *asked, types=tuple(types))
    rows = _rows(owner, verb)
    number = None if verb in LASTING else _find_same(rows, action)
    if number is None:
        _add(owner, action)
    else:
        rows[number] = _merge(Action(*rows[number]), action).toRow()
    _note(owner, action, ('run ' if verb in _RUN_VERBS else '')
          + action.subject)


def recordMany(registry, verb, run_ids, asked, types, filter=None):
    """Keep one row for an action on many runs, as `record` does.

    *filter* is the text of the filter that found them, or None.
    """
    structure.checkVersion(registry)
    action = Action(
        verb, None, *asked, types=tuple(sorted(types)),
        packed=zlib.compress(' '.join(run_ids).encode('ascii'), 9),
        number=len(run_ids), filter=filter and cleanLine(filter))
    _add(registry, action)
    _note(registry, action, '%d runs' % action.number)


def _rows(owner, verb):
    journal = owner.journal
    return journal.lasting if verb in LASTING else journal.recent


def _find_same(rows, action):
    """Return the number of the row to which *action* adds, or None."""
    since = int((action.at - SAME_ACT) * 1000000)
    for number in reversed(rows.keys(min=since)):
        row = rows[number]
        if row[:3] == action[:3] and not Action(*row).packed:
            return number
    return None


def _merge(old, new):
    reason = old.reason
    if new.reason and not (reason and new.reason in reason):
        # What the first one says is never lost.
        reason = cleanLine('; '.join(filter(None, (reason, new.reason))))
    return old._replace(times=old.times + 1, last_at=new.at, reason=reason)


def _add(owner, action):
    # By the time, and behind all others, though the clock was set back.
    journal, rows = owner.journal, _rows(owner, action.verb)
    number = int(action.at * 1000000)
    trees = [tree for tree in (journal.recent, journal.lasting) if tree]
    if any(clock.isAhead(tree.maxKey() / 1000000, action.at)
           for tree in trees):
        _leave_future(trees, number)
    number = max([number, *(tree.maxKey() + 1 for tree in trees if tree)])
    rows[number] = action.toRow()
    if action.verb in LASTING:
        _drop_overdue(rows, action.at)
    elif len(rows) > LIMIT + SURPLUS:
        _trim(rows)


def _leave_future(trees, now):
    """Give rows of a clock that was far ahead keys of the past.

    The rows keep the times that they state.
    """
    wrong = sorted(((key, tree[key], tree) for tree in trees
                    for key in tree.keys(min=now, excludemin=True)),
                   key=itemgetter(0))
    for key, _, tree in wrong:
        del tree[key]
    last = max((tree.maxKey() for tree in trees if tree), default=0)
    for last, (_, row, tree) in enumerate(wrong, last + 1):
        tree[last] = row


def _drop_overdue(rows, now):
    """Drop what was kept long enough, many at a time."""
    last = int((now - LASTING_FOR) * 1000000)
    if rows.minKey() <= last:
        overdue = list(rows.keys(max=last))
        for number in overdue if len(overdue) >= SURPLUS else ():
            del rows[number]


def _trim(rows):
    """Drop rows down to `LIMIT`.

    Of the person with the most rows it takes the oldest of the act that this
    person did most often.  So a person can drive out rows of another only
    while the other one has more, however many kinds of acts there are.
    """
    people = {}   # {person: {verb: numbers of rows, oldest first}}
    for number, row in rows.items():
        people.setdefault(row[2], {}).setdefault(
            row[0], deque()).append(number)
    sizes = {person: sum(map(len, acts.values()))
             for person, acts in people.items()}
    for _ in range(len(rows) - LIMIT):
        person = max(sizes, key=sizes.get)
        sizes[person] -= 1
        del rows[max(people[person].values(), key=len).popleft()]


def _note(owner, action, subject):
    if owner._p_jar is None:
        return
    txn = owner._p_jar.transaction_manager.get()
    text = 'cipher.background: %s %s%s%s' % (
        action.verb, subject,
        '' if action.principal is None else ' by ' + action.principal,
        '' if action.reason is None else ': ' + action.reason)
    room = NOTES_LIMIT - len(txn.description)
    if room > NOTE_LIMIT:
        txn.note(cleanLine(text, NOTE_LIMIT))
    elif not txn.description.endswith(CUT):
        txn.note(CUT)
