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
"""Schedules: the times at which a worker is started.  Pure arithmetic."""
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
    """A declared schedule, by a cron expression or an interval."""

    name: str
    worker: str
    cron: str = None
    every: float = None
    timezone: str = 'UTC'
    input: Callable = None
    context: Callable = None
    unique: str = None
    priority: int = None
    description: str = ''
    misfire: float = None

    def nextTick(self, after):
        if self.every is not None:
            return after + self.every
        begin = datetime.fromtimestamp(after, getZone(self.timezone))
        # In an hour that comes twice, when daylight saving time ends, the
        # first tick of CronSim may be before *after*.
        return next(tick for tick in map(
            datetime.timestamp, CronSim(_fields(self.cron), begin))
            if tick > after)

    def isMissed(self, due_at, now):
        if self.misfire is None or now - due_at <= self.misfire:
            return False
        if self.every is not None:
            return (now - due_at) % self.every > self.misfire
        # A tick that is late by exactly *misfire* seconds is not missed.
        return self.nextTick(now - self.misfire - 0.001) > now

    @property
    def expression(self):
        if self.every is not None:
            return 'every %.15g s' % self.every
        return '%s %s' % (self.cron, self.timezone)


def getZone(name):
    """Return the tzinfo called *name*; raise ``ValueError`` if none is."""
    if name == 'UTC':
        return utc_offset.utc
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, RecursionError):
        raise ValueError(
            'timezone: expected the name of a time zone such as '
            'Europe/Vilnius, got %.200r' % name) from None


#: Words for common cron expressions, as in crontab(5).
WORDS = {
    '@hourly': '0 * * * *',
    '@daily': '0 0 * * *',
    '@midnight': '0 0 * * *',
    '@weekly': '0 0 * * 0',
    '@monthly': '0 0 1 * *',
    '@yearly': '0 0 1 1 *',
    '@annually': '0 0 1 1 *',
}


def _fields(expression):
    return WORDS.get(expression.strip().lower(), expression)


def checkCron(expression):
    """Raise ``ValueError`` unless *expression* is valid and has a next tick.
    """
    try:
        fields = _fields(expression)
        if len(fields.split()) != 5:
            raise CronSimError('neither five fields nor a word like @daily')
        next(CronSim(fields, datetime(2024, 1, 1)))
    except (CronSimError, StopIteration) as error:
        raise ValueError(
            'cron: expected minute, hour, day of the month, month, day of '
            'the week, such as "0 3 * * *", or one of %s, got %r (%s)'
            % (', '.join(WORDS), expression, error or 'never')) from None
