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
    """Return a dict about the documents and the news since the time *since*.

    Its keys: ``made_at`` and ``since``, times; ``counts``, {state: number};
    ``published``, the number of documents published since and still published;
    ``names`` of at most `TITLES_LIMIT` of those, newest first.
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
