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
"""One act on many runs: the selected ones, or all that match a filter."""
import time

from zope.browserpage import ViewPageTemplateFile
from zope.security.interfaces import Unauthorized

from cipher.background.browser.administration import REASON_LIMIT
from cipher.background.browser.administration import getReason
from cipher.background.browser.page import FORM
from cipher.background.browser.page import Page
from cipher.background.browser.page import Refused
from cipher.background.browser.page import getParameter
from cipher.background.browser.page import getParameters
from cipher.background.browser.plurals import OUTCOMES
from cipher.background.browser.plurals import sayFailed
from cipher.background.browser.plurals import sayPossible
from cipher.background.browser.plurals import saySkipped
from cipher.background.browser.runs import Runs
from cipher.background.browser.text import cleanLine
from cipher.background.browser.verbs import CHANGEABLE
from cipher.background.browser.verbs import METHODS
from cipher.background.browser.verbs import POSSIBLE_IF
from cipher.background.browser.verbs import mayDo
from cipher.background.i18n import _
from cipher.background.interfaces import RunNotFound


#: Runs that one request changes at most; others do not count.  It bounds the
#: size of the transaction.
BULK_LIMIT = 1000
#: Seconds that one request may search for them: a person waits for the page.
TIME_LIMIT = 10.0

#: Errors that are shown, each with its run.
SHOWN = 20

#: The text in the journal for a filter that matches every run.
ALL = '*'

QUESTIONS = {
    'begin': _('Run these runs now?'),
    'stop': _('Stop these runs?'),
    'retry': _('Retry these runs?'),
    'remove': _('Remove these runs?'),
}
BUTTONS = {
    'begin': _('Run them now'),
    'stop': _('Stop them'),
    'retry': _('Retry them'),
    'remove': _('Remove them'),
}


class BulkPage(Runs, Page):
    """Asks for confirmation and a reason; then acts on many runs."""

    template = ViewPageTemplateFile('templates/bulk.pt')
    tab = 'runs.html'
    methods = FORM
    reason_limit = REASON_LIMIT
    verb = None
    selected = ()   # ids of runs
    states = ()     # states that the search added to the filter
    failed = ()     # lines: a run and its error
    outcome = None

    def update(self):
        self.readFilter()
        self.is_selection = bool(getParameter(self.request, 'selected'))
        self.verb = getParameter(
            self.request, 'selected' if self.is_selection else 'all')
        if self.verb not in METHODS:
            raise Refused(400, _('The form is not valid.'))
        if not mayDo(self.checked, self.verb):
            raise Unauthorized(self.registry, METHODS[self.verb])
        self.reason = getReason(self.request)
        self._find()
        if self.request.method == 'POST':
            acted = self.checked.actOnRuns(
                self.verb, self.possible, self.reason, self._say_filter())
            done = len(acted)
            if acted.failed:
                self._show_failed(acted)
                return
            self.request.response.redirect(self.getURL(
                did=self.verb, done='%d' % done,
                skipped='%d' % (self.skipped + len(self.possible) - done),
                more='1' if self.is_cut else None), status=303)

    def _show_failed(self, acted):
        """Show the outcome and the errors in place of the question."""
        presenter = self.presenter
        self.failed = [
            '%s: %s' % (cleanLine(run_id), cleanLine(': '.join(described)))
            for run_id, described in list(acted.failed.items())[:SHOWN]]
        self.outcome = '  '.join([
            presenter.say(OUTCOMES[self.verb](len(acted))),
            sayFailed(presenter, len(acted.failed))])
        self.possible = []

    def _say_filter(self):
        """Return the filter as a text for the journal; None of a selection."""
        if self.is_selection:
            return None
        return ' '.join('%s=%s' % pair for pair in self.query.getPairs(
            order=None)) or ALL

    def _find(self):
        """Find the runs that can change; count the others."""
        self.possible, self.skipped = [], 0
        self.is_cut, self.older = False, None
        if self.is_selection:
            self._find_selected()
        else:
            self._find_matching()

    def _find_selected(self):
        selected = getParameters(self.request, 'run')
        if len(selected) > BULK_LIMIT:
            raise Refused(400, _('Too many runs are selected.  Select '
                                 'fewer.'))
        self.selected = list(dict.fromkeys(selected))
        for run_id in self.selected:
            try:
                self._sort(self.checked.getStatus(run_id))
            except RunNotFound:
                pass   # it was removed since the list was shown

    def _find_matching(self):
        query, before = self.query, self.query.before
        changes = {}
        if query.is_counted and not before:
            # The number of runs in other states is known without a search.
            self.states = [state for state in CHANGEABLE[self.verb]
                           if not query.states or state in query.states]
            changes['states'] = tuple(self.states)
            if not self.states:
                self.skipped = self._count()
                return
        deadline = time.monotonic() + TIME_LIMIT
        while True:
            page = self.listRuns(BULK_LIMIT, **changes, before=before)
            for status in page.items:
                self._sort(status)
            before = page.older
            if len(self.possible) > BULK_LIMIT:
                del self.possible[BULK_LIMIT:]
                self.is_cut = True
                break
            if before is None:
                break
            if time.monotonic() >= deadline:
                self.is_cut = True
                self.older = before
                break
        if query.is_counted:
            self.skipped = max(0, self._count() - len(self.possible))
        if self.is_cut or query.before:
            self.skipped = 0   # unknown for the rest

    def _sort(self, status):
        if getattr(status, POSSIBLE_IF[self.verb]) and (
                self.verb != 'retry' or self.checked.mayRetry(status.id)):
            self.possible.append(status.id)
        else:
            self.skipped += 1

    @property
    def title(self):
        # A refused form may lack the verb.
        return QUESTIONS.get(self.verb, _('Runs'))

    @property
    def button(self):
        """The text of the button."""
        return self.say(BUTTONS[self.verb])

    @property
    def is_dangerous(self):
        """Whether the act cannot be undone."""
        return self.verb not in ('begin', 'retry')

    @property
    def scope(self):
        """Name of the field with the verb: for a selection or for all."""
        return 'selected' if self.is_selection else 'all'

    @property
    def hidden_pairs(self):
        """The filter and the selection as hidden fields."""
        fields = [('run', run_id) for run_id in self.selected]
        if self.query.before:
            fields.append(('before', self.query.before))
        return self.query.getFields() + fields

    @property
    def numbers(self):
        """The numbers of runs that can and cannot change, as texts."""
        presenter, possible = self.presenter, len(self.possible)
        return {'possible': sayPossible(presenter, self.verb, possible),
                'skipped': saySkipped(presenter, self.skipped),
                'limit': presenter.format.number(BULK_LIMIT)}

    @property
    def on_url(self):
        """URL to go on with a search that took too long; None if it ended."""
        return self.older and self.getURL(
            'bulk.html', all=self.verb, before=self.older,
            state=self.states or self.query.values['state'])

    @property
    def breadcrumbs(self):
        url = self.registry_url + '/runs.html'
        return super().breadcrumbs + [{
            'title': _('Runs'),
            'url': url if self.refusal else self.getURL()}]
