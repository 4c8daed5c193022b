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
"""The steps that keep the records of a runtime and its database in order.

`turn`, `steps`, `troubles`
    The list of steps, the loop that calls them, and their failures.
`record`, `reports`, `heartbeat`, `leaving`
    The record of this process, from its first turn to its end.
`liveness`, `clockwatch`, `invalidations`, `evolving`
    The other processes, the clock, the storage, and the stored structure.
`homes`, `bookmarks`, `taker`, `unblocking`, `runnow`
    The lanes of this process, and the waiting runs in them.
`deadprocesses`, `rescuer`, `stopping`, `pruner`, `scheduler`, `caretaker`
    Dead processes, stop requests, old runs, schedules and services.

Rules for all of them: only the control thread calls them, unless a docstring
says otherwise.  Each step has short transactions of its own, and is called
outside of any transaction.  The argument *connection* is a connection to the
runtime's database.  A method called `turn` does one batch of work; it returns
whether the next turn follows at once.
"""
