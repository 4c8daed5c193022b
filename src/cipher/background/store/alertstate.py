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
"""What an alerts worker type has reported, and the message that is on its way.
"""
from persistent import Persistent


class AlertState(Persistent):
    """The state of one alerts worker type; its runs alone write it."""

    looked_at = None   # time of the last look that counted
    sent_at = None     # time when the last message was accepted
    message = None     # plain data of a message that is not accepted yet

    def __init__(self):
        # {(kind, subject, process, site): the sentence that was reported}
        self.problems = {}
        # {(oid of a registry, number of a lane): key of the last finish}
        self.marks = {}
