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
"""The ZCML directives that start workers: triggers and schedules."""
import logging
import math

from zope.component import provideHandler
from zope.component import provideUtility
from zope.configuration.exceptions import ConfigurationError
from zope.configuration.fields import GlobalObject
from zope.configuration.fields import Tokens
from zope.interface import Interface
from zope.schema import Choice
from zope.schema import Float
from zope.schema import Int
from zope.schema import TextLine

from cipher.background.interfaces import UNIQUE
from cipher.background.interfaces import ISchedule
from cipher.background.schedule import Schedule
from cipher.background.schedule import checkCron
from cipher.background.schedule import getZone
from cipher.background.trigger import Trigger
from cipher.background.workertype import queryWorkerType


log = logging.getLogger(__name__)

# After all that registers anything.
_LAST = 1000000

# Seconds, a hundred years: what is longer no clock can tell.
_LONGEST = 100 * 366 * 86400.0


class ITriggerDirective(Interface):
    """Start a worker when something happens."""

    for_ = Tokens(
        title="For",
        description="An event interface, or the interfaces of an object and "
                    "of the event, as in <subscriber>.",
        # So that "*" is taken, for None, as by <subscriber>.
        value_type=GlobalObject(missing_value=object()))

    worker = TextLine(
        title="Worker",
        description="The name of the worker type to start.")

    condition = GlobalObject(
        title="Condition",
        description="Called with the object and the event, or the event; "
                    "nothing is started unless it returns something true.",
        required=False)

    input = GlobalObject(
        title="Input",
        description="Called likewise; returns the input, a dict.  Default: "
                    "no input.",
        required=False)

    unique = Choice(
        title="Unique",
        description="Takes the place of what the worker type says.",
        values=UNIQUE, required=False)

    delay = Float(
        title="Delay",
        description="Seconds that the run waits at least.  Default: 0.",
        min=0.0, max=_LONGEST, required=False, default=0.0)

    priority = Int(
        title="Priority",
        description="Takes the place of what the worker type says.",
        min=-1000, max=1000, required=False)


def trigger(_context, for_, worker, condition=None, input=None, unique=None,
            delay=0.0, priority=None):
    """Subscribe a `Trigger`."""
    who = 'trigger of %r' % worker
    if len(for_) not in (1, 2):
        raise ConfigurationError(
            '%s: expected for with an event interface, or with those of an '
            'object and an event, got %d' % (who, len(for_)))
    _check_callable(who, condition=condition, input=input)
    if math.isnan(delay):
        raise ConfigurationError(
            '%s: expected a delay in seconds, got %r' % (who, delay))
    _context.action(
        discriminator=None, callable=provideHandler,
        args=(Trigger(worker, condition, input, unique, delay, priority),
              for_))
    _check_worker_at_the_end(_context, who, worker)


class IScheduleDirective(Interface):
    """Start a worker by the clock."""

    worker = TextLine(
        title="Worker",
        description="The name of the worker type to start.")

    cron = TextLine(
        title="Cron expression",
        description="Minute, hour, day of the month, month, day of the week. "
                    "Either this or 'every'.",
        required=False)

    every = Float(
        title="Every",
        description="Seconds from one start to the next.  Either this or "
                    "'cron'.",
        required=False)

    timezone = TextLine(
        title="Time zone",
        description="Of the cron expression, as Europe/Vilnius.  Default: "
                    "UTC.",
        required=False, default='UTC')

    input = GlobalObject(
        title="Input",
        description="Called without arguments; returns the input, a dict.  "
                    "Default: no input.",
        required=False)

    name = TextLine(
        title="Name",
        description="Of the schedule, unique.  Default: that of the worker.",
        required=False)


def schedule(_context, worker, cron=None, every=None, timezone='UTC',
             input=None, name=None):
    """Register a `Schedule` as a named utility."""
    name = name or worker
    who = 'schedule %r' % name
    if (cron is None) == (every is None):
        raise ConfigurationError(
            '%s: expected exactly one of cron and every, got %s'
            % (who, 'neither' if cron is None else 'both'))
    _check_callable(who, input=input)
    try:
        getZone(timezone)
        if cron is not None:
            checkCron(cron)
        elif not 0 < every <= _LONGEST:
            raise ValueError(
                'every: expected seconds greater than 0, a hundred years at '
                'the most, got %r' % every)
    except ValueError as error:
        raise ConfigurationError('%s: %s' % (who, error)) from None
    _context.action(
        discriminator=('cipher.background.schedule', name),
        callable=provideUtility,
        args=(Schedule(name, worker, cron, every, timezone, input),
              ISchedule, name))
    _check_worker_at_the_end(_context, who, worker)


def _check_callable(who, **values):
    for name, value in values.items():
        if value is not None and not callable(value):
            raise ConfigurationError(
                '%s: %s must be callable, got %r' % (who, name, value))


def _check_worker_at_the_end(_context, who, worker):
    _context.action(discriminator=None, callable=_check_worker, order=_LAST,
                    args=(who, worker, _context.info))


def _check_worker(who, worker, info):
    if queryWorkerType(worker) is None:
        log.warning('%s: expected the name of a declared worker type, got %r, '
                    'which nobody declares; nothing will be started (%s)',
                    who, worker, info)
