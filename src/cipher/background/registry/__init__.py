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
"""The registry of a site, and everything that changes it for a caller.

`registry` has the persistent class `WorkerRegistry`; `reader` and
`administration` are its mix-ins.  `installation` adds, finds and removes
registries.  `verbs` is the registry for a person, with permission checks.
`triggers`, `schedules`, `services` and `unattended` start runs without a
person.  `retry`, `uniqueness` and `bound` are the rules of a start.

All of this joins the transaction of the caller.  Nothing here commits.
Pickles name `registry.WorkerRegistry`, so it keeps its dotted name.
"""
