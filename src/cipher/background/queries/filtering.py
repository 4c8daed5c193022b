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
"""The filters of a list of runs that have to load each run."""
import math

from zope.security.proxy import removeSecurityProxy

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import ORDERS
from cipher.background.interfaces import UNSUCCESSFUL_STATES
from cipher.background.queries import visibility
from cipher.background.queries.digests import getDigests
from cipher.background.queries.digests import listTexts
from cipher.background.queries.digests import readShownInput
from cipher.background.queries.errors import keyOf
from cipher.background.queries.merging import Wanted
from cipher.background.queries.resolving import Unresolved
from cipher.background.util.principal import Starters
from cipher.background.util.reference import oidOf
from cipher.background.util.text import fold
from cipher.background.util.text import safeRepr


#: Seconds.  No time is further from the epoch than this.  In microseconds it
#: fits into the 64 bits of a tree's keys.
_FAR = 9e12


class Filter:
    """The filters of `~cipher.background.interfaces.IWorkerRegistry.listRuns`.

    Raise ``ValueError`` for an unknown order and for an invalid time.
    """

    def __init__(self, snapshot, states, types, contexts, starters, text,
                 since, until, order, unresolved=False, error=None):
        if order not in ORDERS:
            raise ValueError('order: expected one of %s, got %s'
                             % (', '.join(ORDERS), safeRepr(order, 50)))
        self._snapshot = snapshot
        if unresolved or error:
            states = states or UNSUCCESSFUL_STATES
        self._unresolved = Unresolved(
            snapshot.registry) if unresolved else None
        self.wanted = Wanted(
            frozenset(states), frozenset(types),
            _microseconds('since', since), _microseconds('until', until),
            order)
        # An object that is not stored has no oid; no run is about it.
        self._oids = {removeSecurityProxy(context)._p_oid or b''
                      for context in contexts}
        self._starters = Starters(starters)
        self._error = error
        self._text = fold((text or '').strip())
        self._in_inputs = bool(self._text) and visibility.maySeeDetails(
            snapshot.registry)
        self._titles = {}   # type name -> whether its title has the text
        self.digests = getDigests(snapshot.registry._p_jar)
        # Whether all runs must be loaded to find those of the list.
        self.is_search = bool(self._text or self._oids or starters)

    def excludes(self, digest):
        """Return whether no run of the chunk of *digest* belongs in the list.
        """
        return (
            bool(self._oids) and self._oids.isdisjoint(digest.oids)
            or not any(map(self._starters.has, digest.starters))
            or bool(self._text) and self._text not in digest.text
            and not any(map(self._is_in_title, digest.untitled))
            and not (self._in_inputs and self._text in digest.inputs))

    def matches(self, run):
        """Return whether *run* belongs in the list."""
        wanted = self.wanted
        return ((not wanted.types or run.type in wanted.types)
                and self._starters.has(run.starter)
                and (not self._oids or oidOf(run.reference) in self._oids)
                and (not wanted.states
                     or self._snapshot.state(run) in wanted.states)
                and (not self._text or self._has_text(run))
                and (not self._error or keyOf(run)[0] == self._error)
                and (self._unresolved is None or self._unresolved.has(run)))

    def _has_text(self, run):
        live = self._snapshot.live(run)
        texts = listTexts(run, live and live.progress or run.progress)
        return any(self._text in text for text in texts) or (
            not run.title and self._is_in_title(run.type)) or (
            self._in_inputs and self._text in readShownInput(run))

    def _is_in_title(self, name):
        if name not in self._titles:
            worker_type = queryWorkerType(name)
            self._titles[name] = worker_type is not None and (
                self._text in fold(worker_type.title))
        return self._titles[name]


def _microseconds(name, at):
    if at is None:
        return None
    # math.isfinite() raises OverflowError for big integers.
    if not -math.inf < at < math.inf:
        raise ValueError('%s: expected a time in seconds, got %r'
                         % (name, at))
    return int(max(-_FAR, min(_FAR, at)) * 1000000)
