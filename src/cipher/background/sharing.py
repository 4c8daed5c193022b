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
"""Who consumes how many lanes of a registry: a pure plan, made by everybody.

Each process makes the same plan from what it sees, and gives away what that
says, nothing else.  Nobody takes what another one has.
"""
from typing import NamedTuple


class Stake(NamedTuple):
    """What a process consumes of the lanes of a registry."""

    own: int             # lanes that no other process writes
    guest: int           # lanes that anybody writes
    wanted: int = None   # own lanes that it needs; None: it takes nothing

    def spare(self):
        """Return how many of the own lanes it does not need."""
        return max(0, self.own - (self.wanted or 0))


class Move(NamedTuple):
    """A lane that one process is to give to another."""

    giver: str
    taker: str
    is_own: bool   # it must not be a guest lane


def plan(stakes):
    """Return the moves that make it fair: a list of `Move`.

    *stakes* is {process id: Stake}.  Who takes nothing gives all away.  All
    others get the own lanes that they need, as far as there are any to spare,
    and then as many of all other lanes as anybody else.  Where they cannot be
    divided, who has more already keeps more: what is fair stays as it is.
    """
    takers = sorted(name for name, stake in stakes.items()
                    if stake.wanted is not None)
    if not takers:
        return []
    moves = []
    stakes = dict(stakes)
    for taker in takers:
        for giver in sorted(stakes):
            number = min(stakes[giver].spare(),
                         stakes[taker].wanted - stakes[taker].own)
            for _ in range(number):
                moves.append(Move(giver, taker, True))
            if number > 0:
                stakes[giver] = _more_own(stakes[giver], -number)
                stakes[taker] = _more_own(stakes[taker], number)
    common = {name: stake.guest + stake.spare()
              for name, stake in stakes.items()}
    share, rest = divmod(sum(common.values()), len(takers))
    target = dict.fromkeys(stakes, 0)
    for rank, name in enumerate(
            sorted(takers, key=lambda name: (-common[name], name))):
        target[name] = share + (rank < rest)
    for taker in takers:
        for giver in sorted(stakes):
            number = min(common[giver] - target[giver],
                         target[taker] - common[taker])
            for _ in range(number):
                moves.append(Move(giver, taker, False))
            if number > 0:
                common[giver] -= number
                common[taker] += number
    return moves


def _more_own(stake, number):
    return stake._replace(own=stake.own + number)
