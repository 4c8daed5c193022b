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
"""Send the events for what the control thread does to a run."""
from zope.event import notify

from cipher.background.contextmanagers import ZopeSite
from cipher.background.declarations.workertype import maskerOf
from cipher.background.interfaces import FAILING_SUBSCRIBER
from cipher.background.interfaces import RegistryNotFound
from cipher.background.util.transient import isTransient


def siteOf(registry):
    """Return the site of *registry*; None if it is gone."""
    try:
        return registry.getSite()
    except RegistryNotFound:
        return None


def announce(event, troubles):
    """Send *event*, an `IRunEvent`, with the site of its registry set.

    Subscribers run without an interaction.  If one fails, even with a
    SystemExit, the changes of all subscribers are rolled back; the change of
    the run stays.  The error is noted in *troubles*, a `Troubles`.

    Raise transient errors: the caller has to repeat its transaction.
    """
    registry = event.registry
    savepoint = registry._p_jar.transaction_manager.savepoint(optimistic=True)
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
