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
"""Opening of a database that other processes may open for the first time."""
import time
from typing import Any

from ZODB.DB import DB
from ZODB.POSException import ConflictError


#: Seconds.  The commit of the other process is over by then.
PAUSE = 0.1
TRIES = 50


def makeDB(storage: Any, **settings: Any) -> DB:
    """Return a ``DB`` of *storage*, made with *settings*.

    In an empty database each ``DB`` makes the root object, so of several
    processes that begin at the same moment all but one get a ConflictError.
    Another try finds the root.  The error of the last try is raised.
    """
    for _ in range(TRIES - 1):
        try:
            return DB(storage, **settings)
        except ConflictError:
            time.sleep(PAUSE)
    return DB(storage, **settings)
