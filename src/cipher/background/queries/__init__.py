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
"""Answers to questions about a registry, for pages and the JSON.

`snapshot` joins stored and live data; `status` has the plain data that it
returns.  `paging`, `merging`, `filtering` and `resolving` make lists of runs.
`problems`, `failures`, `summary`, `timetable` and `actions` make the other
lists.  `waits` and `retryable` give reasons, `visibility` hides worker types.

Nothing here writes to the database or commits.  An object that is "valid for
one call" keeps what it read: make a new one for each call.
"""
