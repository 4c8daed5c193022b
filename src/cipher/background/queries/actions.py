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
"""The lists of administrators' acts, newest first."""
import heapq

from cipher.background.queries import visibility
from cipher.background.store.journal import Action


def listActions(owners, registry, limit, before):
    """Return (actions, key of the next page or None), newest first.

    *owners* have the journals.  Acts on worker types that the reader may not
    see in *registry* are left out.
    """
    key = _parse(before)
    trees = [rows for owner in owners
             for rows in (owner.journal.recent, owner.journal.lasting)]
    found = []
    last = None
    for order, row in heapq.merge(
            *[_newest(rows, index, len(trees), key)
              for index, rows in enumerate(trees)], reverse=True):
        action = Action(*row)
        if all(visibility.maySee(registry, name) for name in action.types):
            if len(found) == limit:
                return found, str(last)
            found.append(action)
            last = order
    return found, None


def _newest(rows, index, step, before):
    """Yield (position in the order of all trees, row), greatest first."""
    last = None if before is None else (before - index - 1) // step
    for number in reversed(rows.keys(max=last)):
        yield number * step + index, rows[number]


def _parse(before):
    if before is None:
        return None
    if not (isinstance(before, str) and before.isascii() and before.isdigit()
            and len(before) < 19):
        raise ValueError(
            'before: expected the key that the page before gave, got %.50r; '
            'begin at the newest' % (before,))
    return int(before)
