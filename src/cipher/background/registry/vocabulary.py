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
"""The vocabulary of worker types."""
from zope.interface import provider
from zope.schema.interfaces import IVocabularyFactory
from zope.schema.vocabulary import SimpleTerm
from zope.schema.vocabulary import SimpleVocabulary

from cipher.background.queries.visibility import declaredTypes
from cipher.background.registry.installation import nearestRegistry


@provider(IVocabularyFactory)
def workerTypes(context):
    """Return the vocabulary of the declared worker types: names and titles.

    Types that the reader may not see in the current site's registry are left
    out.
    """
    return SimpleVocabulary([
        SimpleTerm(name, name, worker_type.title)
        for name, worker_type in sorted(
            declaredTypes(nearestRegistry()).items())])
