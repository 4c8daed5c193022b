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
"""Documents: the persistent content of the demo."""
from persistent import Persistent
from zope.container.btree import BTreeContainer
from zope.container.contained import Contained
from zope.interface import implementer

from cipher.background import now
from cipher.background.demo.indexing import TextIndex
from cipher.background.demo.interfaces import DRAFT
from cipher.background.demo.interfaces import PUBLISHED
from cipher.background.demo.interfaces import IDocument
from cipher.background.demo.interfaces import IDocuments


#: Number of news that are kept.
NEWS_LIMIT = 5


@implementer(IDocument)
class Document(Persistent, Contained):
    """A document; a draft until it is published."""

    wf_state = DRAFT
    html = ''
    published_at = None

    def __init__(self, title='', body=''):
        self.title = title
        self.body = body
        self.modified_at = now()

    def update(self, title, body):
        if (title, body) == (self.title, self.body):
            return False
        self.title = title
        self.body = body
        self.wf_state = DRAFT
        self.modified_at = now()
        return True

    def publish(self, html):
        self.html = html
        self.wf_state = PUBLISHED
        self.published_at = now()

    def dropStale(self):
        if self.wf_state != DRAFT or not self.html:
            return False
        self.html = ''
        return True


@implementer(IDocuments)
class Documents(BTreeContainer):
    """The folder of the documents, with index, news and report."""

    # Folders of earlier versions have no attribute of their own.
    index = None
    news = ()
    report = None

    def __init__(self):
        super().__init__()
        self.index = TextIndex()

    def search(self, text):
        # The index may still have a document that was just removed.
        return [name for name in self.index.search(text) if name in self]

    def addNews(self, document):
        entry = now(), document.__name__, document.title
        self.news = (entry, *self.news)[:NEWS_LIMIT]
