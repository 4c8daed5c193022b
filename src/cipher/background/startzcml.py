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

from zope.component import provideHandler
from zope.component import provideUtility
from zope.configuration.exceptions import ConfigurationError
from zope.configuration.fields import Bool
from zope.configuration.fields import GlobalObject
from zope.configuration.fields import MessageID
from zope.configuration.fields import Tokens
from zope.interface import Interface
from zope.schema import Choice
from zope.schema import Float
from zope.schema import Int
from zope.schema import TextLine

from cipher.background.declaring import LONGEST
from cipher.background.declaring import checkStart
from cipher.background.declaring import makeSchedule
from cipher.background.declaring import makeTrigger
from cipher.background.interfaces import UNIQUE
from cipher.background.interfaces import InvalidDeclaration
from cipher.background.interfaces import ISchedule
from cipher.background.workertype import queryWorkerType


log = logging.getLogger(__name__)

# After all that registers anything.
_LAST = 1000000


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
        min=0.0, max=LONGEST, required=False, default=0.0)

    priority = Int(
        title="Priority",
        description="Takes the place of what the worker type says.",
        min=-1000, max=1000, required=False)

    name = TextLine(
        title="Name",
        description="Of the trigger, unique, for overrides.  Default: the "
                    "worker and what it is for.",
        required=False)

    enabled = Bool(
        title="Enabled",
        description="Whether it starts anything; with 'no' an override "
                    "switches it off.  Default: yes.",
        required=False, default=True)


def trigger(_context, for_, worker, condition=None, input=None, unique=None,
            delay=0.0, priority=None, name=None, enabled=True):
    """Subscribe a `Trigger`."""
    who = 'trigger of %r' % worker
    made = _checked(makeTrigger, worker, for_, condition, input, unique,
                    delay, priority)
    if name is None:
        # Without a name of its own it is known by what it is for.
        name = '%s: %s (give each a name="…" of its own)' % (
            worker, ' '.join(map(_say_interface, for_)))
    _context.action(
        discriminator=('cipher.background.trigger', name),
        callable=provideHandler if enabled else None, args=(made, for_))
    _check_at_the_end(_context, 'trigger', name, who, worker, input, enabled)


def _say_interface(interface):
    return getattr(interface, '__identifier__', None) or (
        '*' if interface is None else '%s.%s' % (
            interface.__module__, interface.__qualname__))


class IScheduleDirective(Interface):
    """Start a worker by the clock."""

    worker = TextLine(
        title="Worker",
        description="The name of the worker type to start.")

    cron = TextLine(
        title="Cron expression",
        description="Minute, hour, day of the month, month, day of the week; "
                    "or @hourly, @daily, @weekly, @monthly, @yearly.  Either "
                    "this or 'every'.",
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

    context = GlobalObject(
        title="Context",
        description="Called without arguments, in the site; returns the "
                    "object that the run is about.  Default: none.",
        required=False)

    unique = Choice(
        title="Unique",
        description="Takes the place of what the worker type says.",
        values=UNIQUE, required=False)

    priority = Int(
        title="Priority",
        description="Takes the place of what the worker type says.",
        min=-1000, max=1000, required=False)

    description = MessageID(
        title="Description",
        description="What it is for, for administrators.",
        required=False)

    misfire = Float(
        title="Misfire",
        description="Seconds that a start may be late, after a time without "
                    "any process; what is later is left out.  Default: "
                    "however late it is, it starts, once.",
        required=False)

    enabled = Bool(
        title="Enabled",
        description="Whether it starts anything; with 'no' an override "
                    "switches it off.  Default: yes.",
        required=False, default=True)


def schedule(_context, worker, cron=None, every=None, timezone='UTC',
             input=None, name=None, context=None, unique=None, priority=None,
             description=None, misfire=None, enabled=True):
    """Register a `Schedule` as a named utility."""
    name = name or worker
    made = _checked(
        makeSchedule, name, worker, cron, every, timezone, input, context,
        unique=unique, priority=priority, description=description or '',
        misfire=misfire)
    _context.action(
        discriminator=('cipher.background.schedule', name),
        callable=provideUtility if enabled else None,
        args=(made, ISchedule, name))
    _check_at_the_end(_context, 'schedule', name, 'schedule %r' % name,
                      worker, input, enabled)


def _checked(make, *args, **kwargs):
    try:
        return make(*args, **kwargs)
    except InvalidDeclaration as error:
        raise ConfigurationError(str(error)) from None


def _check_at_the_end(_context, kind, name, who, worker, input, enabled):
    # Known by the name of what it checks, so that an override of that is one
    # of this, too.
    _context.action(
        discriminator=('cipher.background.check', kind, name),
        callable=_check if enabled else None, order=_LAST,
        args=(who, worker, input, _context.info))


def _check(who, worker, input, info):
    worker_type = queryWorkerType(worker)
    if worker_type is None:
        log.warning('%s: expected the name of a declared worker type, got %r, '
                    'which nobody declares; nothing will be started (%s)',
                    who, worker, info)
    else:
        _checked(checkStart, who, worker_type, input)
