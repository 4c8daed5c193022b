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
"""Schedules: when a worker is started by the clock.  Pure arithmetic."""
from dataclasses import dataclass
from datetime import datetime
from datetime import timezone as utc_offset
from typing import Callable
from zoneinfo import ZoneInfo

from cronsim import CronSim
from cronsim import CronSimError
from zope.interface import implementer

from cipher.background.interfaces import ISchedule


@implementer(ISchedule)
@dataclass(frozen=True, eq=False)
class Schedule:
    """See `~cipher.background.interfaces.ISchedule`."""

    name: str
    worker: str
    cron: str = None
    every: float = None
    timezone: str = 'UTC'
    input: Callable = None

    def nextTick(self, after):
        """See `~cipher.background.interfaces.ISchedule`."""
        if self.every is not None:
            return after + self.every
        begin = datetime.fromtimestamp(after, getZone(self.timezone))
        # In an hour that comes twice the first may lie before *after*.
        return next(tick for tick in map(
            datetime.timestamp, CronSim(self.cron, begin)) if tick > after)

    @property
    def expression(self):
        """See `~cipher.background.interfaces.ISchedule`."""
        if self.every is not None:
            return 'every %.15g s' % self.every
        return '%s %s' % (self.cron, self.timezone)


def getZone(name):
    """Return the tzinfo of that name; raise ``ValueError``."""
    if name == 'UTC':
        return utc_offset.utc
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, RecursionError):
        raise ValueError(
            'timezone: expected the name of a time zone as Europe/Vilnius, '
            'got %.200r' % name) from None


def checkCron(expression):
    """Raise ``ValueError`` unless *expression* is one that comes to pass."""
    try:
        if len(expression.split()) != 5:
            raise CronSimError('not five fields')
        next(CronSim(expression, datetime(2024, 1, 1)))
    except (CronSimError, StopIteration) as error:
        raise ValueError(
            'cron: expected minute, hour, day of the month, month, day of '
            'the week, as "0 3 * * *", got %r (%s)'
            % (expression, error or 'never')) from None
