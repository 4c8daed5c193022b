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
"""Keys of claims: equal for starts of unique types that are the same."""
import hashlib

from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import BY_CONTEXT
from cipher.background.interfaces import BY_INPUT
from cipher.background.interfaces import BY_TYPE
from cipher.background.util.plaindata import canonical
from cipher.background.util.principal import SYSTEM
from cipher.background.util.reference import oidOf


#: Begin of the keys of forms; those of other claims begin with an oid, or are
#: as long as a digest.
ONCE = b'once'
#: In the place of the oid where there is no context: b'' stands for the type.
NOWHERE = b'none'
#: Before the digest of whose rights the work has.
BY = b'by'


def uniqueKey(unique, type_name, reference, input, rights=None):
    """Return the key of the claim of such a run; None: it makes none.

    *rights* is what `rightsOf` gave: a run stands for no start whose work
    would have other rights.
    """
    oid = oidOf(reference) or b''
    if unique == BY_TYPE:
        key = b''
    elif unique == BY_CONTEXT:
        key = oid or NOWHERE
    elif unique == BY_INPUT:
        key = oid + _digest(input or {})
    else:
        return None
    # No two kinds of keys have the same length.
    return type_name, key if rights is None else key + BY + _digest(rights)


def rightsOf(worker_type, starter, asker=None):
    """Return (starter, asker) where the work has their rights, else None.

    None, too, where the system or nobody started it.
    """
    if worker_type.run_as != AS_STARTER:
        return None
    if starter in SYSTEM and asker is None:
        return None
    return starter, asker


def _digest(value):
    text = canonical(value).encode('utf-8', 'surrogatepass')
    return hashlib.sha256(text).digest()


def onceKey(type_name, principal, reference, input):
    """Return the key of what a principal starts by a form."""
    oid = oidOf(reference) or b''
    return type_name, ONCE + _digest((principal, oid, input))
