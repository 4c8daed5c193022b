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
"""The forms of a document, read and checked by z3c.form.

z3c.form itself acts on a GET and has no token.  The page around the form
accepts only a POST with a token.
"""
import re

from z3c.form.button import buttonAndHandler
from z3c.form.field import Fields
from z3c.form.form import Form
from zope.browserpage import ViewPageTemplateFile
from zope.container.interfaces import INameChooser
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser import FORM
from cipher.background.browser import Refused
from cipher.background.browser import cleanLine
from cipher.background.browser import cleanText
from cipher.background.browser import getURL
from cipher.background.demo.documents import Document
from cipher.background.demo.i18n import _
from cipher.background.demo.interfaces import BODY_LIMIT
from cipher.background.demo.interfaces import IDocument
from cipher.background.demo.interfaces import IDocumentContent
from cipher.background.demo.jobs import change
from cipher.background.demo.pages import DemoPage
from cipher.background.demo.pages import redirect


NAME_LIMIT = 60


class DocumentForm(Form):
    """The fields of a document; a valid form fills `data`."""

    fields = Fields(IDocumentContent)
    prefix = 'document.'
    data = None

    def getContent(self):
        # A copy: the document itself changes only by its method `update`.
        return {name: getattr(self.context, name, None)
                for name in self.fields}

    def update(self):
        is_post = self.request.method == 'POST'
        self.ignoreRequest = not is_post
        self.updateWidgets()
        self.updateActions()
        if is_post:
            self.actions.execute()

    @buttonAndHandler(_('Save'), name='save')
    def handleSave(self, action):
        data, errors = self.extractData()
        if errors:
            self.status = self.formErrorsMessage
        else:
            self.data = data


class DocumentFormPage(DemoPage):
    """A page with the form of a document."""

    methods = FORM
    template = ViewPageTemplateFile('templates/form.pt')

    def update(self):
        # A widget expects one text for its field.
        if not all(isinstance(value, str)
                   for value in self.request.form.values()):
            raise Refused(400, _('The form is not valid.'))
        self.form = DocumentForm(self.context, self.request)
        self.form.ignoreContext = not IDocument.providedBy(self.context)
        self.form.update()
        self.fields = [describe_widget(widget)
                       for widget in self.form.widgets.values()]
        self.save = self.form.actions['save'].name
        if self.form.data is not None:
            title = ' '.join(cleanLine(self.form.data['title'], 200).split())
            body = cleanText(self.form.data['body'], BODY_LIMIT)
            redirect(self, getURL(
                self.store(title, body), self.request))

    def store(self, title, body):
        """Store the texts; return the document."""
        raise NotImplementedError


class AddDocument(DocumentFormPage):
    """Adds a document."""

    title = _('Add a document')

    @property
    def cancel_url(self):
        return self.documents_url + '/index.html'

    def store(self, title, body):
        document = Document(title, body)
        chooser = INameChooser(removeSecurityProxy(self.context))
        name = chooser.chooseName(make_name(title), document)
        self.context[name] = document
        return self.context[name]


class EditDocument(DocumentFormPage):
    """Changes a document, which becomes a draft again."""

    @property
    def title(self):
        return self.presenter.say(
            _('Edit "${title}"'), title=cleanLine(self.context.title))

    @property
    def cancel_url(self):
        return getURL(self.context, self.request) + '/index.html'

    def store(self, title, body):
        change(self.context, title, body)
        return self.context


def make_name(title):
    """Return the name for the URL of a document with that title."""
    return re.sub(r'[^a-z0-9]+', '-', title.lower()).strip('-')[:NAME_LIMIT]


def describe_widget(widget):
    """Return a widget as plain data for the template."""
    field = widget.field
    # The security checker of an error allows less than its interface has.
    error = removeSecurityProxy(widget.error)
    described_by = ['-error'] * (error is not None) + (
        ['-hint'] * bool(field.description))
    return {
        'id': widget.id,
        'name': widget.name,
        'value': cleanText(widget.value, BODY_LIMIT),
        'label': widget.label,
        'hint': field.description,
        'required': field.required,
        'length': field.max_length,
        'is_long': field.__name__ == 'body',
        'error': error.message if error is not None else None,
        'is_invalid': 'true' if error is not None else None,
        'described_by': ' '.join(
            widget.id + suffix for suffix in described_by) or None,
    }
