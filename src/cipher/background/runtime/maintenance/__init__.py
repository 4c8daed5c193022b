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
`heartbeat`, `liveness`, `clockwatch`, `invalidations`
    This process, the other processes, the clock, and the storage.
`homes`, `spill`, `taker`, `unblocking`, `hastening`
    The lanes of this process, and the waiting runs in them.
`rescuer`, `stopping`, `pruner`, `scheduler`, `caretaker`
    Dead processes, stop requests, old runs, schedules and services.

Rules for all of them: only the control thread calls them, unless a docstring
says otherwise.  Each step has short transactions of its own, and is called
outside of any transaction.  The argument *connection* is a connection to the
runtime's database.  A method called `turn` does one batch of work; it returns
whether the next turn follows at once.
"""
