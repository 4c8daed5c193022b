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
"""Contracts of the pages, for a host that puts them into its own frame."""
from z3c.form.interfaces import IFormLayer
from zope.interface import Attribute
from zope.interface import Interface
from zope.publisher.interfaces.browser import IDefaultBrowserLayer
from zope.schema import TextLine

from cipher.background.i18n import _


class IBackgroundLayer(IFormLayer, IDefaultBrowserLayer):
    """Marks a request for our pages.

    The ``++background++`` traverser puts it on the request, after the
    interfaces that are there already: what a host registers for its own skin
    is found before what we register.
    """


class IBackgroundView(Interface):
    """Marks a view of ours: a URL leads no further from it."""


class IFramedPage(Interface):
    """What the macros of ``background_macros`` may ask of ``view``.

    A host that overrides that view has the macro ``page`` with the slots
    ``title`` and ``body``, and may use our macros ``head``, ``tabs`` and
    ``breadcrumbs`` in it.  Where its frame loads what our pages do not, its
    view has the attribute ``content_security_policy``.
    """

    title = TextLine(title="Title of the page", readonly=True)
    language = TextLine(title="Language of the page", readonly=True)
    time_zone = TextLine(title="Time zone of what it tells", readonly=True)
    css_url = TextLine(title="URL of the stylesheet", readonly=True)
    script_url = TextLine(title="URL of the script", readonly=True)
    icon_url = TextLine(title="URL of the icon", readonly=True)
    poll_url = TextLine(
        title="URL of the JSON", readonly=True, required=False,
        description="What the script asks to keep the page live; None where "
                    "nothing moves.")
    user_title = TextLine(title="Who looks at it", readonly=True)
    home = Attribute("None or {'title', 'url'} of the site")
    tabs = Attribute("A list of {'title', 'url', 'current'}")
    breadcrumbs = Attribute("A list of {'title', 'url'}, without the site")


class IStartContext(Interface):
    """What a run is about, said in a form."""

    path = TextLine(
        title=_('Context'),
        description=_('Path of the object that the work is about, from the '
                      'site: folder/document.  Leave it empty if there is '
                      'none.'),
        required=False, max_length=1000)


class IInputView(Interface):
    """Shows the input of a run; for people with the details permission.

    A view of an `IWorkerRun`.  One that is named like a worker type is taken
    for the runs of that type; the one without a name for all others.  What
    is set on it is plain data, with all secrets masked.
    """

    run = Attribute("What the page shows of the run, a dict")
    items = Attribute("A list of {'id', 'title', 'value'}, texts")

    def render():
        """Return HTML to stand below the heading "Input"."""
