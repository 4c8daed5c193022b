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
"""Messages to systemd, as ``sd_notify(3)`` describes them.

A unit with ``Type=notify`` sets the variable ``NOTIFY_SOCKET``.  Without it
nothing is sent.
"""
import logging
import os
import socket


log = logging.getLogger(__name__)


class Notifier:
    """Sends the state of this process; an error never ends it.

    *environment* is that of the process: no process that the work starts
    shall send messages, so the variables are removed from it.
    """

    def __init__(self, environment=os.environ):
        self._address = environment.pop('NOTIFY_SOCKET', '')
        #: Seconds between two signs of life that systemd expects at most;
        #: None if it expects none.
        self.watchdog = _readWatchdog(environment)
        self._status = None

    def send(self, **values):
        """Send ``NAME=value`` lines; a name is written in upper case."""
        if not self._address:
            return
        address = self._address
        if address.startswith('@'):
            address = '\0' + address[1:]   # in the abstract namespace
        text = '\n'.join('%s=%s' % (name.upper(), value)
                         for name, value in values.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(1.0)
                sock.sendto(text.encode(), address)
        except OSError as error:
            log.warning('systemd: %s; nothing is sent any more', error)
            self._address = ''

    def say(self, status):
        """Send *status*, a line for ``systemctl status``, if it is news."""
        if status != self._status:
            self._status = status
            self.send(status=status)


def _readWatchdog(environment):
    usec = environment.pop('WATCHDOG_USEC', '')
    pid = environment.pop('WATCHDOG_PID', str(os.getpid()))
    if not (usec.isdecimal() and int(usec)) or pid != str(os.getpid()):
        return None
    return int(usec) / 1e6
