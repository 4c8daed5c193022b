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
"""The work of an alerts worker type: look, write a message, send it.

The message is committed before it is sent, and marked as accepted after.  So
it is sent at least once.  It is sent twice, with the same id, only if the
process or the database fails between the answer of the server and the commit.
"""
import uuid
from typing import Any

from zope.component import getUtility

from cipher.background.alerts import news
from cipher.background.interfaces import IAlertTexts
from cipher.background.registry.installation import getRegistry
from cipher.background.store.alertstate import AlertState
from cipher.background.util import clock
from cipher.background.util.text import cleanLine


class Alerts:
    """The handler of an alerts worker type called *name*.

    *channel* is a `Mail` or a `Webhook`.  *interval* is the least number of
    seconds between two messages.  *language* is that of the messages, *url*
    the address of the database's root on the web, or None.
    """

    def __init__(self, name, channel, interval=900.0, failures=True,
                 language='en', url=None):
        self.name = name
        self.channel = channel
        self.interval = interval
        self.failures = failures
        self.language = language
        self.url = url
        self._accepted = None   # id of the last message

    def __call__(self, worker):
        """Send what is new; return a sentence for the result of the run."""
        registry: Any = getRegistry()
        state = registry.alerts.get(self.name)
        if state is None:
            state = registry.alerts[self.name] = AlertState()
        if state.message is None:
            said = self._write(registry, state)
            if said is not None:
                return said
            worker.checkpoint()
        message = state.message
        # A conflict after the server's answer does this again.
        if self._accepted != message['id']:
            refused = self.channel.send(message)
            self._accepted = message['id']
            for address, reply in refused.items():
                worker.log.warning('%s was refused: %s', address,
                                   cleanLine(str(reply)))
        state.message = None
        state.sent_at = clock.now()
        return 'sent: ' + message['subject']

    def _write(self, registry, state):
        """Write the message on what is new into *state*.

        Return why there is none, or None.
        """
        now = clock.now()
        found = news.look(registry, state, now, self.failures)
        if found and self._is_early(state, now):
            return 'the next message may be sent at %s' % clock.isoOf(
                state.sent_at + self.interval)
        if found:
            message, said = getUtility(IAlertTexts).compose(
                found, now, self.language, self.url)
            state.message = {'id': uuid.uuid4().hex, 'at': now, **message}
            state.problems = {**found.kept, **said}
        if state.marks != found.marks or state.looked_at is None:
            state.marks = found.marks
            state.looked_at = now
        return None if found else 'nothing new'

    def _is_early(self, state, now):
        # A time in the future is that of a clock that was put right.
        return state.sent_at is not None and (
            state.sent_at <= now < state.sent_at + self.interval)
