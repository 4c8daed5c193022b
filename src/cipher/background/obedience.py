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
"""What is asked of a runtime: to begin nothing new, to end."""
import _thread
import logging
import threading

from cipher.background.atwork import AtWork
from cipher.background.stack import isInSignalHandler


log = logging.getLogger(__name__)


class Obedience(AtWork):
    """A runtime that does what it is asked for.  Any thread may call."""

    def __init__(self):
        super().__init__()
        self.is_asked_quiet = False
        self.copied = None      # deployment.Copied: the database is a copy
        self.quiet_wish = None  # of this process; to be written by the keeper
        self._quiet_lock = threading.Lock()
        self._is_drain_asked = False
        self.drain_asked = None   # of the `process.Wish` that drains it
        self.left_over = set()    # keys of runs that its end put back

    @property
    def is_quiet(self):
        """Whether it is to begin nothing new, for whatever reason."""
        return self.is_asked_quiet or self.copied is not None

    @property
    def is_taking(self):
        """Whether it begins anything new."""
        return not (self.is_quiet or self._draining.is_set())

    def quiet(self, is_quiet=True):
        """See `~cipher.background.interfaces.IRuntime`."""
        if isInSignalHandler():
            _thread.start_new_thread(self.quiet, (is_quiet,))
            return
        with self._quiet_lock:
            self.quiet_wish = is_quiet
            self._set_quiet(is_quiet)
        self._control.wish()

    def obey(self, written, is_quiet, is_draining):
        """Do what the record of the process asks for.

        *written* is our own wish that it tells, or None.
        """
        with self._quiet_lock:
            if self.quiet_wish == written:
                self.quiet_wish = None   # else it is one that came meanwhile
            if self.quiet_wish is None and is_quiet != self.is_asked_quiet:
                self._set_quiet(is_quiet)
        if is_draining and not (self.is_draining or self._is_drain_asked):
            # Not here: it waits for the control thread.
            threading.Thread(target=self.shutdown, name='background-drain',
                             daemon=True).start()
            self._is_drain_asked = True

    def _set_quiet(self, is_quiet):
        log.info('Process %s: %s', self.name, 'quiet, begins nothing new'
                 if is_quiet else 'not quiet any more')
        self.is_asked_quiet = is_quiet
        self.tickets.setQuiet(self.is_quiet)

    def setCopied(self, copied, reason):
        """Begin nothing as long as the database counts as *copied*.

        *copied* is a `deployment.Copied` or None, *reason* a text for the
        log.
        """
        with self._quiet_lock:
            if copied == self.copied:
                return
            if copied is not None:
                log.warning(
                    'Process %s: the database is a copy: %s; it begins '
                    'nothing until an administrator lets it begin (overview, '
                    'or registry.adoptDatabase)', self.name, reason)
            else:
                log.info('Process %s: the database belongs here now',
                         self.name)
            self.copied = copied
            self.tickets.setQuiet(self.is_quiet)
