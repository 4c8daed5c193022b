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
"""What changed in the registries of a database since the last message.

A problem is news when it appears and when it goes.  A failed run is news once:
the finishes of a lane have keys that grow, and a mark in each lane says up to
where they are reported.
"""
from typing import Any
from typing import NamedTuple

from cipher.background.interfaces import UNSUCCESSFUL_STATES
from cipher.background.queries import errors
from cipher.background.queries.problems import OF_PROCESSES
from cipher.background.store.process import getDirectory
from cipher.background.util.host import getHost
from cipher.background.util.plaindata import readNumber


#: Problems that count, worst first.  More of them at a time are not reported.
PROBLEMS_LIMIT = 200
#: Failed runs that one look loads, oldest first.  Others are counted alone.
RUNS_LIMIT = errors.LOOKS


class Problem(NamedTuple):
    """A problem and the path of its registry's site."""

    problem: Any         # an IProblem
    site: str | None     # None: a problem of a process, in each registry

    @property
    def key(self):
        one = self.problem
        return one.kind, one.subject, one.process, self.site


class Group:
    """Runs that failed for the same reason, in one site."""

    def __init__(self, key, error_type, message, site):
        self.key = key
        self.error_type = error_type
        self.message = message
        self.site = site
        self.number = 0
        self.types = {}   # name -> number
        self.last_at = None
        self.last_run = None

    def add(self, run):
        """Count a failed run; they come oldest first in each lane."""
        self.number += 1
        self.types[run.type] = self.types.get(run.type, 0) + 1
        at = readNumber(run.finished_at, 0.0)
        if self.last_at is None or at >= self.last_at:
            self.last_at, self.last_run = at, run.id


class News(NamedTuple):
    """The news since the last message."""

    problems: list   # of Problem that are new
    gone: dict       # {key: sentence} of those that went
    groups: list     # of Group, the greatest first
    more: int        # further failed runs, which were not loaded
    kept: dict       # the reported problems that are still there
    marks: dict      # the new marks

    def __bool__(self):
        return bool(self.problems or self.gone or self.groups or self.more)


def look(registry, state, now, with_failures=True):
    """Return the `News` for *state*, an `AlertState`.

    Those are of all registries in the database of *registry*.
    """
    directory = getDirectory(registry._p_jar)
    registries = (directory and directory.listRegistries()) or [registry]
    found, groups, marks, more = {}, {}, {}, 0
    for one in registries:
        site = getHost().pathOf(one.getSite())
        for problem in one.listProblems():
            listed = Problem(problem, None if problem.kind in OF_PROCESSES
                             else site)
            if len(found) < PROBLEMS_LIMIT:
                found.setdefault(listed.key, listed)
        if with_failures:
            more += _find_failures(one, site, state, now, groups, marks)
    return News(
        [problem for key, problem in found.items()
         if key not in state.problems],
        {key: said for key, said in state.problems.items()
         if key not in found},
        sorted(groups.values(), key=lambda group: -group.number), more,
        {key: said for key, said in state.problems.items() if key in found},
        marks)


def _find_failures(registry, site, state, now, groups, marks):
    """Add to *groups* and *marks*; return the number of runs left out."""
    more, loaded = 0, sum(group.number for group in groups.values())
    # A lane that was not there at the last look has later finishes alone.
    begin = now if state.looked_at is None else state.looked_at
    for number, lane in registry.lanes.items():
        place = registry._p_oid, number
        last = lane.finishes.last_key
        # A clock that was far ahead and was put right takes the keys back.
        mark = min(state.marks.get(place, int(begin * 1000000)), last)
        marks[place] = last
        for entry in lane.finishes.walkUp(mark + 1,
                                          states=UNSUCCESSFUL_STATES):
            if loaded >= RUNS_LIMIT:
                more += 1
                continue
            run = registry.getRun(entry.lane, entry.serial)
            if run is None:
                continue   # somebody removed it
            key, error_type, message = errors.keyOf(run)
            if (site, key) not in groups:
                groups[site, key] = Group(key, error_type, message, site)
            groups[site, key].add(run)
            loaded += 1
    return more
