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
"""The runs that this process is about to begin: found, ranked, in memory.

`backlog`
    All runs that wait or work here, as tickets.
`poller`, `sorting`
    Find new runs in the lanes, and the condition that each of them waits for.
`ranking`, `starters`
    The order in which runs begin, and the number of runs of each starter.
`claims`, `undeclared`
    The runs that were claimed, and the types that nothing here declares.

Nothing here writes into the database.  A "birth" is a run as its lane lists
it, by serial number; a "look" reads the births that no ticket stands for yet.
"""
