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
"""Base classes of workers: threads that work in a site of an application."""
import threading
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

from zope.interface import implementer

from cipher.background.interfaces import IBackgroundWorkerThread
from cipher.background.work.loop import OnePiece
from cipher.background.work.loop import WorkLoop
from cipher.background.work.loop import log
from cipher.background.work.loop import setUp
from cipher.background.work.worker import stateOf


if TYPE_CHECKING:
    from ZODB.DB import DB


__all__ = ['BackgroundJob', 'BackgroundWorkerThread', 'log']

_Thread = TypeVar('_Thread', bound='BackgroundWorkerThread')


@implementer(IBackgroundWorkerThread)
class BackgroundWorkerThread(WorkLoop, threading.Thread):
    """A worker that loops until it is stopped; each iteration calls `doWork`.

    *site_db*, *site_oid* and *site_name* name the site.  *user_name* is
    recorded in the transactions.
    """

    description = "background worker thread (%(class_name)s) for %(site_name)s"

    def __init__(self, site_db: 'DB', site_oid: bytes, site_name: str,
                 user_name: str | None, daemon: bool = True) -> None:
        setUp(self, site_db, site_oid, site_name, user_name)
        super().__init__(
            name=self.description % {'class_name': type(self).__name__,
                                     'site_name': site_name,
                                     'user_name': user_name},
            daemon=True if daemon else None)

    @classmethod
    def forSite(cls: type[_Thread], site: Any, user_name: str | None,
                daemon: bool = True) -> _Thread:
        """Return a thread for *site*, which must be stored."""
        return cls(site._p_jar.db(), site._p_oid, site.__name__, user_name,
                   daemon=daemon)


class BackgroundJob(OnePiece, BackgroundWorkerThread):
    """A worker that does one piece of work: it ends after one iteration.

    Override `doWork`; its return value is the result of the run.  Further
    keywords of the constructor are the `input`.
    """

    def __init__(self, site_db: 'DB', site_oid: bytes, site_name: str,
                 user_name: str | None, daemon: bool = True,
                 **input: Any) -> None:
        super().__init__(site_db, site_oid, site_name, user_name, daemon)
        stateOf(self).input = input
