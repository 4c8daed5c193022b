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
"""The nightly report: plain data about the documents."""
from collections import Counter

from cipher.background import now
from cipher.background.demo.interfaces import PUBLISHED


#: Documents that a report names.
TITLES_LIMIT = 20


def make_report(documents, since=0.0):
    """Return how many documents there are, and which are news since *since*.

    A dict: ``made_at``, ``since``; ``counts``, {state: number};
    ``published``, how many were published and still are; ``names`` of those,
    the last ones first, not more than `TITLES_LIMIT`.
    """
    counts = Counter()
    published = []
    for name, document in documents.items():
        counts[document.wf_state] += 1
        if (document.wf_state == PUBLISHED
                and document.published_at > since):
            published.append((document.published_at, name))
    published.sort(reverse=True)
    return {
        'made_at': now(),
        'since': since,
        'counts': dict(counts),
        'published': len(published),
        'names': [name for _at, name in published[:TITLES_LIMIT]],
    }
