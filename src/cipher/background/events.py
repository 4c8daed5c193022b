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
"""The events about runs.

Each interface says when its event is sent, and in which transaction.
"""
from zope.interface import implementer
from zope.interface.interfaces import ObjectEvent

from cipher.background.interfaces import IRunCreatedEvent
from cipher.background.interfaces import IRunEvent
from cipher.background.interfaces import IRunFailedEvent
from cipher.background.interfaces import IRunInterruptedEvent
from cipher.background.interfaces import IRunRequeuedEvent
from cipher.background.interfaces import IRunStartedEvent
from cipher.background.interfaces import IRunStoppedEvent
from cipher.background.interfaces import IRunSucceededEvent
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun


@implementer(IRunEvent)
class RunEvent(ObjectEvent):
    """Base of the events about runs."""

    object: IWorkerRun
    registry: IWorkerRegistry

    def __init__(self, object: IWorkerRun, registry: IWorkerRegistry) -> None:
        super().__init__(object)
        self.registry = registry


@implementer(IRunCreatedEvent)
class RunCreatedEvent(RunEvent):
    """A run was created."""


@implementer(IRunStartedEvent)
class RunStartedEvent(RunEvent):
    """The work of a run begins."""


@implementer(IRunSucceededEvent)
class RunSucceededEvent(RunEvent):
    """A run has succeeded."""


@implementer(IRunFailedEvent)
class RunFailedEvent(RunEvent):
    """A run has failed."""


@implementer(IRunStoppedEvent)
class RunStoppedEvent(RunEvent):
    """A run was stopped."""


@implementer(IRunInterruptedEvent)
class RunInterruptedEvent(RunEvent):
    """A run was interrupted: its process ended, and it is not run again."""


@implementer(IRunRequeuedEvent)
class RunRequeuedEvent(RunEvent):
    """A run is pending again."""
