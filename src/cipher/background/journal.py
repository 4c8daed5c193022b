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
"""What administrators did: who, when, why; the last actions are kept."""
from typing import NamedTuple

from zope.interface import implementer

from cipher.background import clock
from cipher.background import sight
from cipher.background.interfaces import IAction
from cipher.background.principal import currentPrincipal
from cipher.background.text import CUT
from cipher.background.text import NOTE_LIMIT
from cipher.background.text import cleanLine
from cipher.background.text import safeStr


#: Actions that a registry keeps, and how many more it has at the most: were
#: one forgotten at each new one, they would all conflict.
LIMIT = 1000
SURPLUS = 100

#: Characters.  The note of a transaction with many actions tells the first
#: ones: over 64 kB it would fail the commit.
NOTES_LIMIT = 8000

_RUN_VERBS = ('stop', 'retry', 'remove')
_TYPE_VERBS = ('pause type', 'resume type')


@implementer(IAction)
class Action(NamedTuple):
    """See `~cipher.background.interfaces.IAction`."""

    verb: str
    subject: str
    principal: str
    at: float
    reason: str


def askedNow(reason):
    """Return (principal, time, reason or None) of who asks for something."""
    reason = cleanLine(safeStr(reason)).strip() if reason else None
    return currentPrincipal(), clock.now(), reason or None


def record(registry, verb, subject, asked):
    """Keep an action, one of `ACTIONS`, in the open transaction.

    *asked* is what `askedNow` gave.  Two transactions that keep one at a time
    do not conflict, but for a few.  The transaction is given a note.
    """
    action = Action(verb, cleanLine(subject), *asked)
    actions = registry.journal
    # By the time: two that begin alike have different numbers.
    number = int(action.at * 1000000)
    if actions:
        last = actions.maxKey()
        if clock.isAhead(last / 1000000, action.at):
            last = _come_back(actions, number)
        number = max(number, last + 1)
    actions[number] = tuple(action)
    if len(actions) > LIMIT + SURPLUS:
        for oldest in list(actions.keys())[:-LIMIT]:
            del actions[oldest]
    if registry._p_jar is not None:
        _note(registry._p_jar.transaction_manager.get(), action)


def _come_back(actions, now):
    """Give actions of a clock that was far ahead keys of the past.

    Return the last key.  The actions say their times themselves.
    """
    wrong = [(key, actions[key])
             for key in actions.keys(min=now, excludemin=True)]
    for key, _ in wrong:
        del actions[key]
    last = actions.maxKey() if actions else 0
    for last, (_, action) in enumerate(wrong, last + 1):
        actions[last] = action
    return last


def listActions(registry, limit, before):
    """Return (actions, key of the next page or None), newest first."""
    actions = registry.journal
    key = _parse(before)
    numbers = actions.keys(max=key, excludemax=key is not None)
    found = []
    last = None
    is_all = not sight.hiddenTypes(registry)
    for number in reversed(numbers):
        action = Action(*actions[number])
        if is_all or _may_see(registry, action):
            if len(found) == limit:
                return found, str(last)
            found.append(action)
            last = number
    return found, None


def _may_see(registry, action):
    if action.verb in _RUN_VERBS:
        # Nobody knows of which type a run was that is gone.
        return registry.get(action.subject) is not None
    if action.verb.endswith('schedule'):
        return sight.maySeeSchedule(registry, action.subject)
    return action.verb not in _TYPE_VERBS or sight.maySee(
        registry, action.subject)


def _parse(before):
    if before is None:
        return None
    if not (isinstance(before, str) and before.isascii() and before.isdigit()
            and len(before) < 19):
        raise ValueError(
            'before: expected the key that the page before gave, got %.50r; '
            'begin at the newest' % (before,))
    return int(before)


def _note(txn, action):
    text = 'cipher.background: %s %s%s%s%s' % (
        action.verb, 'run ' if action.verb in _RUN_VERBS else '',
        action.subject,
        '' if action.principal is None else ' by ' + action.principal,
        '' if action.reason is None else ': ' + action.reason)
    room = NOTES_LIMIT - len(txn.description)
    if room > NOTE_LIMIT:
        txn.note(cleanLine(text, NOTE_LIMIT))
    elif not txn.description.endswith(CUT):
        txn.note(CUT)
