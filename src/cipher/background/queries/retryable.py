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
"""Whether a finished run can be retried, and why not."""
from typing import NamedTuple

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.interfaces import INPUT_UNFIT
from cipher.background.interfaces import IS_SERVICE
from cipher.background.interfaces import NOT_FINISHED
from cipher.background.interfaces import START_FAILED
from cipher.background.interfaces import TYPE_UNDECLARED
from cipher.background.interfaces import InvalidInput


class Obstacle(NamedTuple):
    """Why a run cannot be retried; see `IRunStatus.retry_obstacle`.

    *expected*, *got* and *advice* are parts of the message of an error.
    """

    cause: str
    expected: str
    got: str
    advice: str


def findObstacle(run, state, site):
    """Return the `Obstacle` to a retry of *run*, or None.

    *state* is the state that an administrator sees.  *site* is the site of the
    registry without a security proxy, or None; vocabularies are bound to it.
    Neither the reader's permissions nor an existing retry are checked.
    """
    if not run.isFinished():
        return Obstacle(NOT_FINISHED, 'finished run', 'one that is %r' % state,
                        'wait for its end, or stop it')
    worker_type = queryWorkerType(run.type)
    if worker_type is None:
        return Obstacle(TYPE_UNDECLARED, 'run of a declared worker type',
                        'one of %r' % run.type,
                        'declare that with <background:worker … />')
    if worker_type.autostart:
        return Obstacle(IS_SERVICE, 'run that is not a service',
                        'one of %r' % run.type, 'start the service')
    if run.is_start_failure:
        return Obstacle(START_FAILED, 'run that could be started',
                        'one whose start failed', 'start a new one')
    try:
        worker_type.fitInput(run.input, site)
    except InvalidInput as error:
        # Readers who may not see the input see this as well.
        return Obstacle(INPUT_UNFIT, 'input that fits its type',
                        'another (%s)' % error.public, 'start a new one')
    return None
