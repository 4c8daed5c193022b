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
from zope.security.management import system_user


#: Ids of who may do everything: work without a starter is the system's.
SYSTEM = (None, system_user.id)


def currentPrincipal():
    """Return the id of the interaction's principal, None without one."""
    return currentPrincipals()[0]


def currentPrincipals():
    """Return (id, id of the second one) of the interaction's principals.

    None for one that is missing.  A security policy allows what all of them
    may do.
    """
    interaction = queryInteraction()
    ids = [str(participation.principal.id) for participation
           in getattr(interaction, 'participations', ())
           if participation.principal is not None]
    return (*dict.fromkeys(ids), None, None)[:2]
