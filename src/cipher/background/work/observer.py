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
"""The observer of workers that are not recorded."""
from zope.interface import implementer

from cipher.background.contextmanagers import ZodbConnection
from cipher.background.interfaces import IWorkObserver


@implementer(IWorkObserver)
class WorkObserver:
    """An observer that records nothing; the base of the recorders."""

    def started(self, worker):
        pass

    def connect(self, worker):
        return ZodbConnection(worker.site_db)

    def participations(self, worker, connection):
        return ()

    def opened(self, worker, connection):
        pass

    def began(self, worker, connection):
        return False

    def done(self, worker, connection, result):
        pass

    def conflicted(self, worker, error):
        pass

    def failed(self, worker, connection, error):
        pass

    def cleaned(self, worker, connection):
        pass

    def cleanupFailed(self, worker, connection, error):
        pass

    def ended(self, worker, error):
        pass

    def checkpoint(self, worker, cursor):
        raise RuntimeError(
            '%s: expected a checkpoint in a job that is recorded, got one '
            'elsewhere; start the job by a registry, or remove the checkpoint'
            % worker.name)
