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
"""The utility by which the pages get the health and the metrics."""
from contextlib import nullcontext

from zope.interface import implementer

from cipher.background.interfaces import IMonitor
from cipher.background.interfaces import MetricsUnavailable
from cipher.background.monitoring.health import checkHealth
from cipher.background.monitoring.health import isReachable
from cipher.background.util.forks import listDatabases
from cipher.background.util.host import getHost
from cipher.background.util.transient import isClosed


@implementer(IMonitor)
class Monitor:
    """See `~cipher.background.interfaces.IMonitor`."""

    def checkHealth(self, registry, sees_all=False):
        with _sight(sees_all):
            return checkHealth(registry)

    def makeMetrics(self, registry, sees_all=False):
        metrics = importMetrics()
        with _sight(sees_all):
            return metrics.CONTENT_TYPE, metrics.makeText(registry)

    def isReachable(self):
        return all(isReachable(db) for db in listDatabases()
                   if not isClosed(db))


def _sight(sees_all):
    return getHost().trusted() if sees_all else nullcontext()


def importMetrics():
    """Return the module `metrics`; raise `MetricsUnavailable`."""
    try:
        import cipher.background.monitoring.metrics as metrics
    except ImportError as error:
        raise MetricsUnavailable(
            'metrics: expected the extra [metrics] to be installed, got '
            '"%s"; run: pip install "cipher.background[metrics]"'
            % error) from None
    return metrics
