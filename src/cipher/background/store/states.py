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
"""What a registry stores of its schedules and services.

Pickles name the classes of this module: they stay here.
"""
from persistent import Persistent


class ScheduleState(Persistent):
    """The ticks of one schedule in one registry."""

    expression = None   # that next_at was computed from
    next_at = None
    others = ()         # (expression, next_at) that other processes declare
    last_at = None      # of the last tick that started a run
    last_run = None     # (lane, serial)
    pause = None        # (principal, asked_at, reason) while it is paused


class ServiceState(Persistent):
    """The run that is an instance of a service."""

    run = None    # (lane, serial)
    is_stopped = False   # by a person, and its run was removed
    deaths = 0    # in a row, each soon after the start
    not_before = 0.0   # time of the next try, after one that failed
