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
"""Whether a runtime begins anything new: quiet, drain, a copied database."""
import _thread
import logging
import threading

from cipher.background.work.stack import isInSignalHandler


log = logging.getLogger(__name__)


class Admission:
    """Whether the process *name* begins anything new.  Any thread may call.

    *running* are its `RunningRuns`, *backlog* is its `Backlog`.  *wake* wakes
    its control thread, *drain* ends the runtime in good order.
    """

    def __init__(self, name, running, backlog, wake, drain):
        self._name = name
        self._running = running
        self._backlog = backlog
        self._wake = wake
        self._drain = drain
        self._lock = threading.Lock()
        self._is_drain_asked = False
        self.is_asked_quiet = False
        self.copied = None      # deployment.Copied: the database is a copy
        self.requested_quiet = None   # of this process; to be written
        self.drain_asked = None   # of the `ProcessRequest` that drains it

    @property
    def is_quiet(self):
        """Whether it is to begin nothing new, for whatever reason."""
        return self.is_asked_quiet or self.copied is not None

    @property
    def is_taking(self):
        """Whether it begins anything new."""
        return not (self.is_quiet or self._running.is_draining)

    def quiet(self, is_quiet=True):
        """See `~cipher.background.interfaces.IRuntime`."""
        if isInSignalHandler():
            _thread.start_new_thread(self.quiet, (is_quiet,))
            return
        with self._lock:
            self.requested_quiet = is_quiet
            self._set_quiet(is_quiet)
        self._wake()

    def applyRequest(self, written, is_quiet, is_draining):
        """Do what the record of the process asks for.

        *written* is the request of this process that was written there, or
        None.
        """
        with self._lock:
            if self.requested_quiet == written:
                self.requested_quiet = None   # else another one came
            if (self.requested_quiet is None
                    and is_quiet != self.is_asked_quiet):
                self._set_quiet(is_quiet)
        if is_draining and not (
                self._running.is_draining or self._is_drain_asked):
            # Not here: it waits for the control thread.
            threading.Thread(target=self._drain, name='background-drain',
                             daemon=True).start()
            self._is_drain_asked = True

    def _set_quiet(self, is_quiet):
        log.info('Process %s: %s', self._name, 'quiet, begins nothing new'
                 if is_quiet else 'not quiet any more')
        self.is_asked_quiet = is_quiet
        self._backlog.setQuiet(self.is_quiet)

    def setCopied(self, copied, reason):
        """Begin nothing as long as the database counts as *copied*.

        *copied* is a `deployment.Copied` or None, *reason* a text for the
        log.
        """
        with self._lock:
            if copied == self.copied:
                return
            if copied is not None:
                log.warning(
                    'Process %s: the database is a copy: %s; it begins '
                    'nothing until an administrator lets it begin (overview, '
                    'or registry.adoptDatabase)', self._name, reason)
            else:
                log.info('Process %s: the database belongs here now',
                         self._name)
            self.copied = copied
            self._backlog.setQuiet(self.is_quiet)
