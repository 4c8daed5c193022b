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
"""The journal: actions of administrators, with person, time and reason.

Rows of actions that cannot be undone are kept for a time.  Of all others a
fixed number is kept.
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
from cipher.background.util.principal import currentActor
from cipher.background.util.text import CUT
from cipher.background.util.text import NOTE_LIMIT
from cipher.background.util.text import SHOWS_ALL
from cipher.background.util.text import cleanLine
from cipher.background.util.text import safeStr


#: Rows that are kept beside the lasting ones.
LIMIT = 1000
#: Rows above a limit before any are dropped.  If each new row dropped an old
#: one, all transactions with an action would conflict.
SURPLUS = 100

#: Seconds in which the same action by the same person on the same subject is
#: counted in one row.
SAME_ACT = 3600.0

#: Verbs of actions that cannot be undone.  Other rows never displace theirs.
LASTING = ('remove', 'drain process', 'remove registry', 'adopt database',
           'remove kept')
#: Seconds that the rows of these actions are kept, at least: 90 days.
LASTING_FOR = 90 * 86400.0

#: Characters of the note of a transaction.  A transaction with many actions
#: notes the first ones only: a note of over 64 kB would fail the commit.
NOTES_LIMIT = 8000

_RUN_VERBS = ('begin', 'stop', 'retry', 'remove')


class Journal(Persistent):
    """The actions on a registry, or on the processes of a database.

    Each tree is {microseconds: row}; see `Action.toRow`.
    """

    def __init__(self):
        self.recent = LOBTree()    # about LIMIT rows
        self.lasting = LOBTree()   # rows of LASTING actions


@implementer(IAction)
class Action(NamedTuple):
    """One action, or the same action several times."""

    verb: str
    subject: str
    principal: str
    at: float
    reason: str
    types: tuple = ()      # names of the worker types concerned
    times: int = 1
    last_at: float = None
    packed: bytes = b''    # the compressed ids of many runs
    number: int = 1
    filter: str = None

    @property
    def run_ids(self):
        return zlib.decompress(self.packed).decode('ascii').split() if (
            self.packed) else []

    def toRow(self):
        """Return the stored form: a tuple without trailing defaults."""
        defaults = (None,) * 5 + tuple(self._field_defaults.values())
        size = len(self)
        while size > 5 and self[size - 1] == defaults[size - 1]:
            size -= 1
        return tuple(self[:size])


def askedNow(reason, run=None):
    """Return (principal, time, reason or None) for a request made now.

    The principal is that of the interaction, or the name that trusted code
    gives itself by `principal.actingAs`.

    If the request is about *run*, the secrets of the run are masked in the
    reason.
    """
    if reason:
        masker = SHOWS_ALL if run is None else maskerOf(run)
        reason = cleanLine(safeStr(reason), masker=masker).strip()
    return currentActor(), clock.now(), reason or None


def record(owner, verb, subject, asked, types=()):
    """Add an action to the journal, and a note to the transaction.

    *owner* has the journal: a registry, or the `process.Directory`.  *verb*
    is one of `ACTIONS`.  *asked* is the result of `askedNow`.  *types* are
    names of the worker types concerned.  Two transactions that add an action
    each do not conflict, unless both do the same to the same subject.
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
    """Add one row for an action on many runs, as `record` does.

    *filter* is the text of the filter that found the runs, or None.
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
    """Return the key of the row that counts *action* as well, or None."""
    since = int((action.at - SAME_ACT) * 1000000)
    for number in reversed(rows.keys(min=since)):
        row = rows[number]
        if row[:3] == action[:3] and not Action(*row).packed:
            return number
    return None


def _merge(old, new):
    reason = old.reason
    if new.reason and not (reason and new.reason in reason):
        # The reason of the first action is never lost.
        reason = cleanLine('; '.join(filter(None, (reason, new.reason))))
    return old._replace(times=old.times + 1, last_at=new.at, reason=reason)


def _add(owner, action):
    # The key is the time, but above all others even if the clock was set back.
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
    """Give keys of the past to rows of a clock that was far ahead.

    The times in the rows stay as they are.
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
    """Drop rows that were kept long enough, `SURPLUS` or more at a time."""
    last = int((now - LASTING_FOR) * 1000000)
    if rows.minKey() <= last:
        overdue = list(rows.keys(max=last))
        for number in overdue if len(overdue) >= SURPLUS else ():
            del rows[number]


def _trim(rows):
    """Drop rows down to `LIMIT`.

    Each dropped row is one of the person with the most rows, and the oldest
    one of that person's most frequent action.  So nobody can displace the
    rows of a person who has fewer.
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
