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
"""Log the worker types that wait here for their declaration."""
import logging

from cipher.background.declarations.workertype import queryWorkerType


log = logging.getLogger(__name__)


class Undeclared:
    """The types that one process has logged.  Any thread may call."""

    def __init__(self):
        self._names = set()   # each is logged once

    def note(self, run):
        """Log, once for each type, that nothing here declares that of *run*.

        Do nothing if it is declared, but left out by the settings.
        """
        if run.type not in self._names and queryWorkerType(run.type) is None:
            self._names.add(run.type)
            log.warning('Run %s: no ZCML declares the worker type %r here; '
                        'it waits, and others like it', run.id, run.type)
