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
"""Monitoring: the health of a database, and its metrics.

`serveMetrics` needs the extra [metrics], the others do not.
"""
from cipher.background import lazy


# As in `cipher.background`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from cipher.background.monitoring.health import checkDatabase
    from cipher.background.monitoring.health import checkHealth
    from cipher.background.monitoring.server import serveMetrics
else:
    __getattr__, __dir__ = lazy(__name__, {
        'checkDatabase': 'cipher.background.monitoring.health',
        'checkHealth': 'cipher.background.monitoring.health',
        'serveMetrics': 'cipher.background.monitoring.server',
    })

__all__ = ['checkDatabase', 'checkHealth', 'serveMetrics']
