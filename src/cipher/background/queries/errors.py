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
"""Runs that failed for the same reason, as one group.

The reason is the class of the error and its message, in which numbers, ids and
quoted words are replaced.
"""
import hashlib
import re
import time

from cipher.background.interfaces import ID_PART
from cipher.background.interfaces import NUMBER_PART
from cipher.background.interfaces import TEXT_PART
from cipher.background.interfaces import UNSUCCESSFUL_STATES
from cipher.background.queries import merging
from cipher.background.queries import visibility
from cipher.background.queries.merging import Wanted
from cipher.background.queries.resolving import Unresolved
from cipher.background.queries.status import ErrorGroup
from cipher.background.queries.status import Errors
from cipher.background.store.stats import HOUR
from cipher.background.util import clock
from cipher.background.util.plaindata import readError
from cipher.background.util.plaindata import readNumber


#: Failed runs that one list loads, newest first; older ones do not count.  And
#: seconds that it may take: a person waits for the page.
LOOKS = 2000
TIME_LIMIT = 1.0

#: Hours of the small charts.
HOURS = 24

#: Characters of a message that count; the rest may differ.
LENGTH = 300

# A quote within a word, as in "can't", begins and ends nothing.  Each part
# matches in one way only, so no message takes long.
_QUOTED = re.compile(
    r"(?<!\w)'[^']*'(?!\w)|(?<!\w)\"[^\"]*\"(?!\w)|`[^`]*`|“[^“”]*”|„[^„“]*“"
    r'|‘[^‘’]*’|«[^«»]*»')
_ID = re.compile(
    r'\b(?:0x[0-9a-f]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
    r'|(?=[a-f]*[0-9])[0-9a-f]{8,64}|[0-9]+-[0-9]+)\b', re.I)
_NUMBER = re.compile(r'(?<![^\W\d_])[+-]?[0-9]+(?:[.,:][0-9]+)*')


def normalise(message):
    """Return *message* as one line, with its changing parts replaced."""
    line = ' '.join((message or '')[:LENGTH].split())
    for pattern, replacement in (
            (_QUOTED, TEXT_PART), (_ID, ID_PART),
            (_NUMBER, NUMBER_PART)):
        line = pattern.sub(replacement, line)
    return line


def keyOf(run):
    """Return (key of the group of *run*, class of the error, message)."""
    error_type, error_text = readError(run.error)
    message = normalise(error_text)
    key = hashlib.sha256(('%s\n%s' % (error_type or '', message)).encode(
        'utf-8', 'surrogatepass')).hexdigest()[:16]
    return key, error_type, message


def listErrors(registry, types=(), limit=LOOKS):
    """Return the `Errors` of at most *limit* runs of the type names *types*.
    """
    wanted = Wanted(
        frozenset(UNSUCCESSFUL_STATES),
        frozenset(visibility.visibleTypes(registry, types)))
    unresolved = Unresolved(registry)
    end = (int(clock.now()) // HOUR + 1) * HOUR
    deadline = time.monotonic() + TIME_LIMIT
    groups, looked_at, is_cut = {}, 0, False
    for candidate in merging.byFinish(registry.lanes, wanted, None):
        is_cut = looked_at >= limit or (
            looked_at > 0 and time.monotonic() >= deadline)
        if is_cut:
            break
        run = candidate.run
        if run is None or run.is_removed:
            continue
        looked_at += 1
        key, error_type, message = keyOf(run)
        if key not in groups:
            groups[key] = ErrorGroup(
                key, error_type, message, 0, 0, None, None, {}, [0] * HOURS,
                run.id)
        _add(groups[key], run, unresolved.has(run), end)
        if candidate.is_new:
            run._p_deactivate()
    return Errors(list(groups.values()), looked_at, is_cut)


def _add(group, run, is_unresolved, end):
    at = readNumber(run.finished_at, 0.0)
    group.number += 1
    group.unresolved += is_unresolved
    group.first_at = at   # they come newest first
    group.last_at = at if group.last_at is None else group.last_at
    group.types[run.type] = group.types.get(run.type, 0) + 1
    # A clock that was set back leaves finishes in the future.
    index = min(HOURS - 1, int((at - end) // HOUR) + HOURS)
    if index >= 0:
        group.hours[index] += 1
