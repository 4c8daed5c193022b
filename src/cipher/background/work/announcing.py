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
"""Events that the control thread sends, for what it does to a run."""

import transaction
from zope.event import notify

from cipher.background.contextmanagers import ZopeSite
from cipher.background.declarations.workertype import maskerOf
from cipher.background.interfaces import FAILING_SUBSCRIBER
from cipher.background.interfaces import RegistryNotFound
from cipher.background.util.transient import isTransient


def siteOf(registry):
    """Return the site of *registry*, None where it is gone."""
    try:
        return registry.getSite()
    except RegistryNotFound:
        return None


def announce(event, troubles):
    """Send *event*, an `IRunEvent`, with the site of its registry set.

    There is no interaction.  The run is changed in any case: an error of a
    subscriber, an exit included, takes back the changes of subscribers and
    nothing else, and is noted in *troubles*.  Transient errors are raised:
    the transaction has to be done again.
    """
    registry = event.registry
    savepoint = transaction.savepoint(optimistic=True)
    try:
        with ZopeSite(siteOf(registry)):
            notify(event)
    except BaseException as error:
        if isTransient(error, registry._p_jar.db()):
            raise
        savepoint.rollback()
        run = event.object
        troubles.note(error, FAILING_SUBSCRIBER, run.id, registry._p_oid,
                      maskerOf(run))
