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
"""The claims of this process: runs that commits have given to it.

A claim is a commit that gives a run to this process and raises its epoch.
The process remembers the epoch, so it can tell its claim from a later one of
another process.  If the reply to the commit is lost, the claim is in doubt
until a look at the run settles it.
"""


class Claims:
    """The claims of one process.  Any thread may call."""

    def __init__(self):
        self._epochs = {}     # (registry oid, run id) -> epoch we gave it
        self._doubtful = []   # tickets of claims whose reply may be lost

    def note(self, ticket, epoch):
        """Remember that *ticket* was, or may have been, claimed at *epoch*."""
        self._epochs[ticket.registry_oid, ticket.run_id] = epoch

    def forget(self, ticket, epoch=None):
        """The run of *ticket* is over, or another process may begin it.

        A claim that is later than *epoch* stays.  Work that was taken over
        may end here after this process has claimed its run again.
        """
        key = ticket.registry_oid, ticket.run_id
        if epoch is None or self._epochs.get(key, epoch) <= epoch:
            self._epochs.pop(key, None)

    def has(self, registry_oid, run):
        """Return whether this process claimed *run*, and may begin it."""
        return self._epochs.get((registry_oid, run.id)) == run.epoch

    def list(self):
        """Return [(registry oid, run id)] of all claims."""
        return list(self._epochs)

    def clear(self):
        """Forget all claims; those in doubt stay to be settled."""
        self._epochs.clear()

    def doubt(self, ticket):
        """Record that the claim of *ticket* may or may not be committed."""
        self._doubtful.append(ticket)

    def listDoubtful(self):
        """Return the tickets of the claims in doubt."""
        return list(self._doubtful)

    def settle(self, ticket, is_ours):
        """End the doubt about *ticket*; forget its claim unless *is_ours*."""
        self._doubtful.remove(ticket)
        if not is_ours:
            self.forget(ticket)
