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
"""The principals of the current interaction, and titles of principals."""
import unicodedata
from contextlib import contextmanager
from contextvars import ContextVar

from cipher.background.util.host import getHost
from cipher.background.util.text import fold


def currentPrincipal():
    """Return the id of the interaction's first principal, or None."""
    return currentPrincipals()[0]


def currentPrincipals():
    """Return the ids of the interaction's first two principals.

    An id is None if there is no such principal.  A security policy allows an
    action only if all principals of the interaction may do it.
    """
    return (*getHost().currentPrincipals(), None, None)[:2]


_caller = ContextVar('cipher.background.caller', default=None)


@contextmanager
def actingAs(name):
    """Name the caller of trusted code in the block, for the journal.

    The name is no principal: it has no rights and starts nothing.
    """
    token = _caller.set(name)
    try:
        yield
    finally:
        _caller.reset(token)


def currentActor():
    """Return the id of the first principal, or the name of trusted code.

    None if there is neither.
    """
    return currentPrincipal() or _caller.get()


def _compose(text):
    return unicodedata.normalize('NFC', text)


def getTitle(principal_id):
    """Return the title of the principal; None if the principal is unknown."""
    try:
        return getHost().getPrincipal(principal_id).title or ''
    except Exception:
        # It is unknown, or the authentication is out of order: the page is
        # shown all the same.
        return None


class Starters:
    """A filter of principals by ids, or by words of their titles.

    A name that is the id of a principal selects that principal alone.  An
    empty filter has every principal.
    """

    def __init__(self, names):
        self._names = frozenset(map(_compose, names))
        self._words = None   # folded words of titles; None: not computed yet
        self._titles = {}    # id -> folded title

    def has(self, principal_id):
        """Return whether the filter has the principal; None is nobody."""
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
