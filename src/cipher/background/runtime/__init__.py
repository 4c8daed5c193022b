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
"""The live part: one runtime for each process and database.

`runtime`
    The runtime, which makes all the others and gives each what it uses.
`ownprocess`, `ownruns`, `running`, `admission`
    This process, its runs in memory, and whether it begins any.
`control`
    The control thread, which calls the steps of `maintenance` turn by turn.
`queue`
    What this process is about to begin, in memory.
`executors`
    The threads that carry out runs.
`preflight`
    The checks of a database before a runtime begins.
`standalone`
    The recording of threads that an application starts by hand.

Times that comments call "monotonic" are those of `time.monotonic`; all other
times are UTC timestamps.
"""
