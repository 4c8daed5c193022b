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
"""The observer that observes nothing."""
from zope.interface import implementer

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.interfaces import IWorkObserver


@implementer(IWorkObserver)
class WorkObserver:
    """Observes nothing: for workers that nobody records."""

    def started(self, worker):
        """See `~cipher.background.interfaces.IWorkObserver`."""

    def connect(self, worker):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        return ZodbConnection(worker.site_db)

    def participations(self, worker, connection):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        return ()

    def opened(self, worker, connection):
        """See `~cipher.background.interfaces.IWorkObserver`."""

    def began(self, worker, connection):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        return False

    def done(self, worker, connection, result):
        """See `~cipher.background.interfaces.IWorkObserver`."""

    def conflicted(self, worker, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""

    def failed(self, worker, connection, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""

    def cleaned(self, worker, connection):
        """See `~cipher.background.interfaces.IWorkObserver`."""

    def cleanupFailed(self, worker, connection, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""

    def ended(self, worker, error):
        """See `~cipher.background.interfaces.IWorkObserver`."""

    def checkpoint(self, worker, cursor):
        """See `~cipher.background.interfaces.IWorkObserver`."""
        raise RuntimeError(
            '%s: expected a checkpoint in a job that is recorded, got one '
            'elsewhere; let a registry start it, or do without' % worker.name)
