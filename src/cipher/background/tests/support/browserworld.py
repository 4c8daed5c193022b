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
"""Workers, their input and documents for the tests of the pages."""
from persistent import Persistent
from zope.interface import Interface
from zope.interface import implementer
from zope.location.interfaces import IContained
from zope.publisher.browser import BrowserPage
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Int
from zope.schema import List
from zope.schema import Password
from zope.schema import TextLine


class IPublishInput(Interface):
    """Input of the worker type ``publish``."""

    title = TextLine(title='Title', description='Shown in the <list>.')
    count = Int(title='Count', min=1, default=3)
    notify = Bool(title='Notify', required=False, default=False)
    secret = Password(title='Secret', required=False)
    parts = List(
        title='Parts', description='All of them are printed.',
        required=False,
        value_type=Choice(values=['text', 'pictures', 'notes']))


class IDocument(IContained):
    """A document."""


@implementer(IDocument)
class Document(Persistent):
    """A document that all principals may see."""

    __parent__ = __name__ = None

    def __init__(self, title=''):
        self.title = title


class SecretDocument(Document):
    """A document that needs a permission to be seen."""


def publish(worker, **input):
    """Do nothing."""


class LoginLogout(BrowserPage):
    """A host's view that its frame shows beside the user."""

    def __call__(self):
        return '<a href="logout.html">Log out</a>'
