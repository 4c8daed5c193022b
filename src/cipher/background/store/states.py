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
"""The stored states of the schedules and services of a registry."""
from persistent import Persistent


class ScheduleState(Persistent):
    """The ticks of one schedule in one registry."""

    expression = None   # from which next_at was computed
    next_at = None      # time of the next tick
    others = ()         # (expression, next_at) of other processes
    last_at = None      # time of the last tick that started a run
    last_run = None     # (lane, serial)
    # (time, lane, serial) of the last ticks, oldest first; lane and serial are
    # None if the tick was missed or its start failed.
    recent = ()
    pause = None        # (principal, asked_at, reason) while it is paused


class ServiceState(Persistent):
    """One instance of a service."""

    run = None    # (lane, serial) of its current or last run
    is_stopped = False   # a person stopped it, and its run was removed
    deaths = 0    # number in a row, each soon after a start
    not_before = 0.0   # earliest time of the next try after a failed one
