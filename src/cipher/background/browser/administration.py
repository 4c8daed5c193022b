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
"""Base of the pages with buttons in their rows.

These are the pages of schedules, worker types and processes.
"""
from functools import cached_property

from cipher.background.browser.page import ACTION
from cipher.background.browser.page import FORM
from cipher.background.browser.page import READ
from cipher.background.browser.page import Page
from cipher.background.browser.page import getParameter
from cipher.background.browser.text import cleanLine


#: Characters.  A longer reason is cut.
REASON_LIMIT = 200


def getReason(request):
    """Return the reason in a form, or None."""
    return cleanLine(getParameter(request, 'reason'), REASON_LIMIT) or None


class AdministrationPage(Page):
    """A list.  A POST that names a verb and a row acts and leads back."""

    methods = FORM
    verbs = ()
    reason_limit = REASON_LIMIT
    #: Name of a method of `IVerbs`.  Without its permission there are no
    #: buttons.
    asks = None
    #: {word of the template: message on a button or beside it}
    words = {}

    def update(self):
        asked = [verb for verb in self.verbs if verb in self.request.form]
        if not asked:
            self.collect()
        elif self.request.method in READ:
            self.refuseMethod(ACTION)
        else:
            view = self.act(asked[0], getParameter(self.request, 'name'),
                            getReason(self.request))
            self.request.response.redirect(
                '%s/%s' % (self.registry_url, view or self.tab), status=303)

    @property
    def action_url(self):
        """URL that the buttons in the rows post to."""
        return '%s/%s' % (self.registry_url, self.tab)

    @property
    def texts(self):
        """The `words` in the language of the request."""
        return {name: self.say(word) for name, word in self.words.items()}

    def collect(self):
        """Collect the data of the page."""
        raise NotImplementedError

    def act(self, verb, name, reason):
        """Do *verb* to the row *name*; return the next view, or None.

        None leads back to this view.
        """
        raise NotImplementedError

    @cached_property
    def may_manage(self):
        """Whether the principal may use the buttons of this page."""
        return self.checked.may(self.asks)
