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
"""Contracts of the demo: its documents, permissions and inputs."""
from zope.container.constraints import containers
from zope.container.constraints import contains
from zope.container.interfaces import IContainer
from zope.interface import Attribute
from zope.interface import Interface
from zope.location.interfaces import IContained
from zope.schema import Choice
from zope.schema import Float
from zope.schema import Text
from zope.schema import TextLine

from cipher.background.demo.i18n import _
from cipher.background.demo.settings import default_folder


#: Name of the folder of the documents in the site.
DOCUMENTS = 'documents'

DRAFT = 'DRAFT'
PUBLISHED = 'PUBLISHED'

VIEW_DOCUMENTS = 'cipher.background.demo.ViewDocuments'
EDIT_DOCUMENTS = 'cipher.background.demo.EditDocuments'
PUBLISH_DOCUMENTS = 'cipher.background.demo.PublishDocuments'

#: Characters.  A longer text is too long for a form.
BODY_LIMIT = 500000


class IDocumentContent(Interface):
    """The parts of a document that a person writes."""

    title = TextLine(title=_("Title"), max_length=200)
    body = Text(
        title=_("Text"), max_length=BODY_LIMIT, required=False, default='',
        missing_value='',
        description=_("In reStructuredText."))


class IDocument(IDocumentContent, IContained):
    """A document; it is a draft until its text is published."""

    containers('cipher.background.demo.interfaces.IDocuments')

    wf_state = Choice(title="State", values=(DRAFT, PUBLISHED),
                      readonly=True, default=DRAFT)
    html = Attribute("The text as rendered when it was published, safe to "
                     "show; '' for none.  Stale in a draft.")
    modified_at = Float(title="Modified", readonly=True)
    published_at = Float(title="Published", required=False, readonly=True)

    def update(title, body):
        """Set title and body; return whether that changed anything.

        A changed document is a draft again.
        """

    def publish(html):
        """Store the rendered text and mark the document as published."""

    def dropStale():
        """Drop the rendered text of a draft; return whether there was one.
        """


class IDocuments(IContainer):
    """The folder of the documents."""

    contains(IDocument)

    index = Attribute("The `ITextIndex` of the documents")
    news = Attribute("What happened last, newest first: (time, name, title) "
                     "of documents that were published")
    report = Attribute("The last `make_report`, or None")

    def search(text):
        """Return the sorted names of documents that have all words of *text*.

        A word is found by its beginning.  Changes of the last second may not
        be in the index yet.
        """

    def addNews(document):
        """Add the news that *document* was published; drop the oldest news."""


class ITextIndex(Interface):
    """An index of the words in texts, which have names."""

    def add(name, text):
        """Index the words of *text* as *name*; return their number.

        Replaces the words that *name* has; writes only the differences.
        """

    def remove(name):
        """Remove a text; do nothing if it is unknown."""

    def search(text):
        """Return the sorted names of the texts that have all words of *text*.

        A word is found by its beginning.  None for a text without a word.
        """


class IDocumentChanges(Interface):
    """The changes of a document by an editor; they need a permission."""

    def update(title, body):
        """See `IDocument`."""


class IPublishInput(Interface):
    """Input of the worker type *publish*."""

    pause = Float(
        title=_("Pause"), min=0.0, max=60.0, default=0.2,
        description=_("Seconds to pause after each section, so that you "
                      "can watch."))


class IImportInput(Interface):
    """Input of the worker type *import*."""

    folder = TextLine(
        title=_("Folder"), max_length=500, defaultFactory=default_folder,
        description=_("Folder with the .rst and .txt files, inside the "
                      "import folder of this server."))
    pause = Float(
        title=_("Pause"), min=0.0, max=60.0, default=0.5,
        description=_("Seconds to pause after each document, so that you "
                      "can watch."))


class IUnindexInput(Interface):
    """Input of the worker type *unindex*."""

    name = TextLine(title=_("Name"), max_length=1000,
                    description=_("Name of the removed document."))


class IHousekeepingInput(Interface):
    """Input of the worker type *housekeeping*."""

    interval = Float(
        title=_("Interval"), min=0.5, max=3600.0, default=5.0,
        description=_("Seconds between two passes over the documents."))


class IFlakyInput(Interface):
    """Input of the worker type *flaky*."""

    chance = Float(
        title=_("Probability of failure"), min=0.0, max=1.0, default=0.5,
        description=_("0 never fails, 1 always does."))


class IStubbornInput(Interface):
    """Input of the worker type *stubborn*."""

    seconds = Float(
        title=_("Seconds"), min=0.0, max=600.0, default=10.0,
        description=_("How long the worker continues after a stop request."))
