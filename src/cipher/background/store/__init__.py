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
"""The stored data: every persistent class, and the value classes in it.

Modules here import `interfaces`, `util`, `declarations` and the context
managers, and no other package of ours.

The rules for all of them:

- Pickles contain the dotted names of the classes, so a stored class keeps its
  name and module.  A test pins names, attributes and state shapes; see
  `structure` and `evolve` for a change of them.
- Functions join the open transaction; only those of `evolve` commit.
- Each object has one writer at a time in the normal course, so that no two
  transactions conflict.
- Objects that are written often store a tuple instead of a dict: the pickle
  is much smaller.
- A transaction that only read an object but depends on it calls
  ``readCurrent``.  That call ignores a ghost, so the object is activated
  first.
- Times are seconds since the epoch.  Keys of entries and moments of chunks
  are whole microseconds.  A clock may be wrong for a while: a stored time
  further ahead than `clock.LEAP` is moved or forgotten when it is noticed.

The words for the parts of a lane:

- *recent*: the newest entries of a log, stored whole in one object;
- *spill*: move them into a chunk, `chunks.SPILL` at a time;
- *chunk*: a stored tuple of older entries, in a tree by key;
- *writer*: the process whose transactions start and finish runs in the lane;
- *home*: the process that begins the runs of the lane.
"""
