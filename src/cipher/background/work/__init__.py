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
"""The worker's own thread: the loop of a worker, and what records its work.

`worker`, `loop`
    What an author's class inherits, and the loop that calls it.
`shared`
    A job in a transaction that it shares with others.
`observer`, `recorder`, `outcome`
    The observers of a loop, and what they write into the run.
`liverun`, `passing`, `runlog`, `stack`
    What memory knows of a run in work: its state, slot, log and stack.
`environment`, `announcing`, `unstorable`
    The principals of the work, events, and explanations of failed commits.

Functions that write a run join the open transaction and never commit, except
where their docstring names a transaction of their own.  A method without a
docstring is described by the interface that its class names.
"""
