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

    The ``++background++`` traverser adds it to the request after the
    interfaces that the request has already.  So registrations for a host's
    own skin take precedence over ours.
    """


class IBackgroundView(Interface):
    """Marks our views: a URL cannot lead further from such a view."""


class IFramedPage(Interface):
    """The attributes of ``view`` for the macros of ``background_macros``.

    A host's view of that name has the macro ``page`` with the slots ``title``
    and ``body``.  It may use our macros ``head``, ``tabs``,
    ``breadcrumbs``, ``menu`` and ``keys``.  If its frame loads more than our
    pages do, the view has an attribute ``content_security_policy``.
    """

    title = TextLine(title="Title of the page", readonly=True)
    language = TextLine(title="Language of the page", readonly=True)
    time_zone = TextLine(title="Time zone of the times", readonly=True)
    css_url = TextLine(title="URL of the stylesheet", readonly=True)
    script_url = TextLine(title="URL of the script", readonly=True)
    icon_url = TextLine(title="URL of the icon", readonly=True)
    alert_icon_url = TextLine(
        title="URL of the icon while there are problems", readonly=True)
    theme = TextLine(
        title="Theme that the reader chose", readonly=True, required=False,
        description="For data-theme of the element html: light or dark; None "
                    "for the one of the system.")
    poll_url = TextLine(
        title="URL of the JSON", readonly=True, required=False,
        description="The script loads it to keep the page live; None if "
                    "nothing on the page changes.")
    user_title = TextLine(title="Title of the reader", readonly=True)
    home = Attribute("None or {'title', 'url'} of the site")
    tabs = Attribute("A list of {'title', 'url', 'key', 'current', 'wrong'}; "
                     "the key follows g as a shortcut; wrong is None, 0 or "
                     "{'number', 'text'} of the problems there")
    breadcrumbs = Attribute("A list of {'title', 'url'}, without the site")


class IStartContext(Interface):
    """The context of a run, as the field of a form."""

    path = TextLine(
        title=_('Context'),
        description=_('Path of the object that the work is about, from the '
                      'site: folder/document.  Leave it empty if there is '
                      'none.'),
        required=False, max_length=1000)


class IInputView(Interface):
    """Shows the input of a run; for people with the details permission.

    A view of an `IWorkerRun`.  A view that is named like a worker type is used
    for the runs of that type; the one without a name for all others.  The page
    sets its attributes: plain data, with all secrets masked.
    """

    run = Attribute("The data of the run on the page, a dict")
    items = Attribute("A list of {'id', 'title', 'value'}, texts")

    def render():
        """Return the HTML for the section "Input" of the page."""
