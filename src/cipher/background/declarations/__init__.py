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
"""Declarations of ZCML or Python: worker types, schedules, settings.

The objects are immutable and live in memory only.  Modules here import
`interfaces` and `util`, and no other package of ours.

A worker type may have *former names*.  Runs keep the name that they were
started under.  All that runs of a type share, such as limits, services and
unique keys, goes by the name of today; see `workertype.nameToday`.
"""
