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
"""Unique keys: equal for starts that one pending run may stand for."""
import hashlib

from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import BY_CONTEXT
from cipher.background.interfaces import BY_INPUT
from cipher.background.interfaces import BY_TYPE
from cipher.background.util.host import SYSTEM
from cipher.background.util.plaindata import canonical
from cipher.background.util.reference import oidOf


#: The beginning of keys of forms.  Other keys begin with an oid, or are as
#: long as a digest.
ONCE = b'once'
#: Stands for the oid if a run has no context; b'' stands for the type alone.
NOWHERE = b'none'
#: Comes before the digest of the principals whose rights the work has.
BY = b'by'


def uniqueKey(unique, type_name, reference, input, rights=None):
    """Return the unique key of a start; None if it is not unique.

    *unique* is one of `UNIQUE`.  *rights* is the result of `rightsOf`: a run
    never stands for a start whose work would have other rights.
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
    """Return (starter, asker) if the work has their rights, else None.

    Return None as well if the system or nobody started the run.
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
    """Return the key of a start by *principal* through a form.

    It is the same if the form is sent twice.
    """
    oid = oidOf(reference) or b''
    return type_name, ONCE + _digest((principal, oid, input))
