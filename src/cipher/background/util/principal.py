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
"""Who acts: the principal of the current interaction, and their titles."""
import unicodedata

from zope.authentication.interfaces import IAuthentication
from zope.component import queryUtility
from zope.security.management import queryInteraction
from zope.security.management import system_user

from cipher.background.util.text import fold


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


def _compose(text):
    return unicodedata.normalize('NFC', text)


def getTitle(principal_id):
    """Return the title of a principal; None where nobody knows it."""
    authentication = queryUtility(IAuthentication)
    if authentication is None:
        return None
    try:
        return authentication.getPrincipal(principal_id).title or ''
    except Exception:
        # PrincipalLookupError where it is gone; but neither may an
        # authentication that is out of order take a page away.
        return None


class Starters:
    """A choice of principals: by their ids, or by words of their titles.

    What is the id of a principal stands for that one alone.  Empty, it is no
    choice: it has all.
    """

    def __init__(self, names):
        self._names = frozenset(map(_compose, names))
        self._words = None   # folded, of the titles; not known yet
        self._titles = {}    # id -> folded title

    def has(self, principal_id):
        """Return whether a principal is among them; None: nobody."""
        if not self._names:
            return True
        if not isinstance(principal_id, str):
            return False
        if _compose(principal_id) in self._names:
            return True
        if self._words is None:
            self._words = [fold(name) for name in self._names if name
                           and getTitle(name) is None]
        if not self._words:
            return False
        if principal_id not in self._titles:
            self._titles[principal_id] = fold(getTitle(principal_id) or '')
        return any(word in self._titles[principal_id]
                   for word in self._words)
