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
"""Paths of objects.  People see and enter paths, never oids."""
from unicodedata import normalize

from persistent.interfaces import IPersistent
from zope.security.interfaces import Forbidden
from zope.security.interfaces import Unauthorized
from zope.security.proxy import removeSecurityProxy

from cipher.background.util.host import getHost


class NoSuchObject(Exception):
    """A path leads nowhere, or to an object hidden from the principal."""


def traversePath(site, path):
    """Return the object at *path* below *site*, with a security proxy.

    Each step needs the permission of the principal.  A step is a name, never
    a view, a namespace or a way up.  The object is a stored object, not a
    method or a value.  Raise `NoSuchObject` in every other case.
    """
    ob = getHost().protect(site)
    for name in path.strip('/').split('/'):
        ob = _step(ob, name)
        if ob is None:
            raise NoSuchObject(path)
    if not IPersistent.providedBy(removeSecurityProxy(ob)):
        raise NoSuchObject(path)
    return ob


def _step(ob, name):
    """Return the object *name* in *ob*, or None.

    The name may be written in composed or decomposed Unicode.
    """
    for form in dict.fromkeys((name, normalize('NFC', name),
                               normalize('NFD', name))):
        if not form or form.startswith(('@', '+', '.', '_')):
            return None
        try:
            return getHost().traverse(ob, form)
        except (LookupError, AttributeError, ValueError, Unauthorized,
                Forbidden, TypeError):
            pass
    return None


def findObject(site, path):
    """Return the object that `traversePath` finds; None for an empty path."""
    path = (path or '').strip()
    return traversePath(site, path) if path.strip('/ ') else None
