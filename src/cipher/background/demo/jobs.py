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
"""The jobs of the demo that work in steps, with a commit for each.

After a crash or a deploy the work continues after the last step.
"""
from zope.component.hooks import getSite
from zope.event import notify
from zope.lifecycleevent import Attributes
from zope.lifecycleevent import ObjectModifiedEvent

from cipher.background import ItemsJob
from cipher.background.demo.documents import Document
from cipher.background.demo.importing import find_texts
from cipher.background.demo.importing import read_text
from cipher.background.demo.importing import title_of
from cipher.background.demo.interfaces import DOCUMENTS
from cipher.background.demo.interfaces import IDocumentContent
from cipher.background.demo.workers import index_document


class ImportTexts(ItemsJob):
    """Makes or updates a document for each text in a folder.

    A text is one step, so documents appear one by one.  The cursor is the name
    of the last file.
    """

    batch_size = 1
    _paths = None

    def items(self, cursor):
        for path in self._find():
            if cursor is None or path.name > cursor:
                yield path.name, path

    def _find(self):
        # Read once for the run, not once for each step.
        if self._paths is None:
            self._paths = find_texts(self.input['folder'])
        return self._paths

    def countItems(self):
        return len(self._find())

    def processItem(self, path):
        self.setProgress(self.progress[0], message=path.name)
        done_as = import_text(
            getSite()[DOCUMENTS], path.name, read_text(path))
        self.log.info('%s: %s', path.name, done_as)
        self.wait(self.input['pause'])

    def getResult(self, done):
        return '%d texts' % done


def import_text(documents, name, body):
    """Store one text; return whether it is added, changed or unchanged."""
    title = title_of(body) or name
    if name not in documents:
        documents[name] = Document(title, body)
        return 'added'
    return 'changed' if change(documents[name], title, body) else 'unchanged'


def change(document, title, body):
    """Change a document and send the event; return whether it changed."""
    if not document.update(title, body):
        return False
    notify(ObjectModifiedEvent(
        document, Attributes(IDocumentContent, 'title', 'body')))
    return True


class ReindexAll(ItemsJob):
    """Puts the words of all documents into the index."""

    def items(self, cursor):
        for name, document in getSite()[DOCUMENTS].items(cursor):
            if name != cursor:
                yield name, document

    def countItems(self):
        return len(getSite()[DOCUMENTS])

    def processItem(self, document):
        index_document(getSite()[DOCUMENTS], document)

    def getResult(self, done):
        return '%d documents' % done
