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
"""After a commit, tell the runtime of this process to look."""
from cipher.background import switchboard


def wakeAfterCommit(connection):
    """Let the runtime look at the database when this transaction commits."""
    connection.transaction_manager.get().addAfterCommitHook(
        _wake, (connection.db(),))


def _wake(success, db):
    if success:
        switchboard.wake(db)
