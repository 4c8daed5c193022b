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
"""A small document management system that works in the background.

Documents (`documents`) hold reStructuredText.  The worker types of
`workers.zcml` publish, import and index them, tell of them and keep house
(`workers`, `jobs`); what starts these, an event or the clock, is declared
there too.  The pages are in `pages` and `forms`, the server is in `server`.
Start it with ``cipher-background demo``.
"""
