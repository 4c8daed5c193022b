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
"""The rules of a run's life: pure functions without clock, I/O or database."""
import random

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import UNIQUE
from cipher.background.interfaces import IllegalTransition
from cipher.background.util.text import safeRepr


#: Interruptions after which a run fails.  The run itself may be what kills
#: its process, and would do so for ever.
MAX_INTERRUPTIONS = 3

#: Seconds after which a loop counts as healthy: it did not kill its process,
#: and its earlier interruptions are forgotten.  Otherwise every loop would
#: fail at the third crash in its long life.
STEADY_AFTER = 600.0

#: Seconds: ten years.  A longer delay is a mistake, such as milliseconds.
LONGEST_DELAY = 10 * 366 * 86400.0

#: The greatest priority; the least is its negative.
MAX_PRIORITY = 1000

# state -> states that may follow.  A run whose work needs no claim is not
# stored as running: it goes from pending to a finished state.
_FOLLOWING = {
    PENDING: {RUNNING, SUCCEEDED, FAILED, STOPPED, INTERRUPTED},
    RUNNING: {PENDING, SUCCEEDED, FAILED, STOPPED, INTERRUPTED},
}


def checkTransition(run_id, old, new):
    """Raise `IllegalTransition` unless a run may go from *old* to *new*."""
    if new not in _FOLLOWING.get(old, ()):
        raise IllegalTransition(
            'run %r: expected a state that may follow %r, got %r'
            % (run_id, old, new))


def isFinished(state):
    """Return whether *state* is one of `FINISHED_STATES`."""
    return state in FINISHED_STATES


def countInterruption(interruptions, is_loop, ran_for):
    """Return the number of interruptions of a run, with the present one.

    *interruptions* is the number so far.  *ran_for* is the time in seconds
    since the run began, or None if it is unknown.
    """
    if is_loop and ran_for is not None and ran_for >= STEADY_AFTER:
        return 1
    return interruptions + 1


def afterInterruption(must_not_rerun, interruptions, stop_asked):
    """Return the new state of a run whose process ended while it ran.

    *interruptions* includes this one.  *stop_asked* says whether the run had
    a stop request.
    """
    if stop_asked or must_not_rerun:
        return INTERRUPTED
    if interruptions >= MAX_INTERRUPTIONS:
        return FAILED
    return PENDING


def backOff(count, base=0.01, cap=30.0, rand=random.random):
    """Return the seconds to wait after *count* (>= 1) failures in a row.

    The delay doubles from *base* up to *cap*.  A random part of up to a half
    is taken off, so that two that collided do not collide again.
    """
    delay = min(cap, base * 2 ** min(count - 1, 60))
    return delay * (0.5 + 0.5 * rand())


def cleanDelay(seconds):
    """Return *seconds*, any number, as a delay from 0 to `LONGEST_DELAY`."""
    # NaN is not greater than 0.
    return min(float(seconds), LONGEST_DELAY) if seconds > 0 else 0.0


def checkOptions(delay=0.0, unique=None, priority=None):
    """Raise ``ValueError`` unless a run can be started with these options.

    None stands for the option of the worker type.
    """
    if not _is_number(delay, (int, float)) or not 0 <= delay <= LONGEST_DELAY:
        raise ValueError(
            'delay: expected seconds, a number from 0 to %d, got %s; start it '
            'at another time' % (LONGEST_DELAY, safeRepr(delay, 100)))
    if unique is not None and unique not in UNIQUE:
        raise ValueError(
            'unique: expected one of %s, got %s; leave it out for the value '
            'of the worker type' % (
                ', '.join(UNIQUE), safeRepr(unique, 100)))
    if priority is not None and not (
            _is_number(priority, int)
            and -MAX_PRIORITY <= priority <= MAX_PRIORITY):
        raise ValueError(
            'priority: expected a whole number from %d to %d, got %s; leave '
            'it out for the value of the worker type' % (
                -MAX_PRIORITY, MAX_PRIORITY, safeRepr(priority, 100)))


def _is_number(value, kinds):
    return isinstance(value, kinds) and not isinstance(value, bool)


def isSilent(silent_for, lease):
    """Return whether a process counts as dead after *silent_for* seconds.

    *lease* is the silence in seconds that it may keep.  The caller measures
    by its own monotonic clock.
    """
    return silent_for > lease
