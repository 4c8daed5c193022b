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
"""Who acts: the principal of the current interaction."""
from zope.security.management import queryInteraction


def currentPrincipal():
    """Return the id of the interaction's principal, None without one."""
    interaction = queryInteraction()
    for participation in getattr(interaction, 'participations', ()):
        principal = participation.principal
        if principal is not None:
            return str(principal.id)
    return None
