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

Documents (`documents`) hold reStructuredText.  `workers.zcml` declares the
worker types that publish, import, index and report documents, and the triggers
and schedules that start them.  Their code is in `workers` and `jobs`.  The
pages are in `pages` and `forms`, the server is in `server`.  Start the demo
with ``cipher-background demo``.

Like an application, the demo uses only the public API of the package.
"""
