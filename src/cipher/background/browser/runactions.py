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
"""The acts on one run: begin, stop, retry and remove.

Each page asks for confirmation and a reason first.
"""
from zope.browserpage import ViewPageTemplateFile
from zope.security.interfaces import Unauthorized

from cipher.background.browser.administration import REASON_LIMIT
from cipher.background.browser.administration import getReason
from cipher.background.browser.page import ACTION
from cipher.background.browser.page import FORM
from cipher.background.browser.page import READ
from cipher.background.browser.page import Page
from cipher.background.browser.page import Refused
from cipher.background.browser.runpage import GONE
from cipher.background.browser.runpage import Run
from cipher.background.browser.verbs import POSSIBLE_IF
from cipher.background.i18n import _
from cipher.background.interfaces import ALREADY_DUE
from cipher.background.interfaces import INPUT_UNFIT
from cipher.background.interfaces import IS_SERVICE
from cipher.background.interfaces import KEPT_BACK
from cipher.background.interfaces import LIMIT_REACHED
from cipher.background.interfaces import NOT_FINISHED
from cipher.background.interfaces import NOT_WAITING
from cipher.background.interfaces import PROCESS_GONE
from cipher.background.interfaces import RETRIED
from cipher.background.interfaces import START_FAILED
from cipher.background.interfaces import STOP_WORKERS
from cipher.background.interfaces import TYPE_PAUSED
from cipher.background.interfaces import TYPE_UNDECLARED
from cipher.background.interfaces import RunNotBeginnable
from cipher.background.interfaces import RunNotFound
from cipher.background.interfaces import RunNotRemovable
from cipher.background.interfaces import RunNotRetryable
from cipher.background.interfaces import RunNotStoppable


#: {cause: message why a run cannot be retried}
OBSTACLES = {
    NOT_FINISHED: _('This run cannot be retried: it is not finished.  Wait '
                    'for its end, or stop it.'),
    RETRIED: _('This run cannot be retried again: it was retried as '
               '${run}.  If that one fails, retry it.'),
    TYPE_UNDECLARED: _('This run cannot be retried: the worker type '
                       '"${type}" is not declared.'),
    IS_SERVICE: _('This run cannot be retried: it belongs to a service.  '
                  'Start the service instead.'),
    START_FAILED: _('This run cannot be retried: its start failed, so '
                    'there is nothing to retry.  Start a new run.'),
    INPUT_UNFIT: _('This run cannot be retried: its input no longer fits '
                   'the form of its worker type.  Start a new run.'),
}


#: Why a run cannot run now.
BEGIN_OBSTACLES = {
    NOT_WAITING: _('This run cannot run now: it does not wait.'),
    PROCESS_GONE: _('This run cannot run now: its process died.  It begins '
                    'as soon as another process has rescued it.'),
    TYPE_UNDECLARED: _('This run cannot run now: no process takes runs of '
                       '"${type}".'),
    TYPE_PAUSED: _('This run cannot run now: the worker type "${type}" is '
                   'paused.  Resume that type.'),
    LIMIT_REACHED: _('This run is already due: it begins when a run of '
                     '"${type}" has finished.  No more of them may run at '
                     'once.'),
    KEPT_BACK: _('This run cannot run now: it came with a copy of the '
                 'registry and is held.  Release it on the overview.'),
    ALREADY_DUE: _('This run is already due: it begins as soon as a thread '
                   'is free.'),
}


def checkStop(view):
    """Raise ``Unauthorized`` unless the reader may stop the run of *view*.

    The starter may without the permission, so ZCML cannot ask for it.
    """
    if not view.checked.mayStop(view.run_id):
        raise Unauthorized(view.context, 'requestStop', STOP_WORKERS)


class ConfirmPage(Run, Page):
    """Base: asks for confirmation and a reason; then acts on a run."""

    template = ViewPageTemplateFile('templates/confirm.pt')
    tab = 'runs.html'
    methods = FORM
    verb = None         # name of the button and of the view
    impossible = None   # class of the error if the act is not possible
    question = None     # the title; with `id` of the run
    explanation = None  # what it does
    button = None       # what its button says
    too_late = None     # why it is not possible by now
    problem = None
    reason = None
    reason_limit = REASON_LIMIT

    def update(self):
        self.data = self.getStatus()
        self.reason = getReason(self.request)
        asked = self.verb in self.request.form
        if self.request.method in READ:
            if asked:
                self.refuseMethod(ACTION)
        elif asked:
            self._try_to_act()

    def _try_to_act(self):
        try:
            url = self.act()
        except RunNotFound:
            raise Refused(404, GONE)
        except self.impossible:
            self.problem = self.say_why()
            self.request.response.setStatus(409)
        else:
            self.request.response.redirect(url, status=303)

    def act(self):
        """Do it; return the URL of the next page."""
        raise NotImplementedError

    @property
    def is_possible(self):
        """Whether the act is possible, so that the form is shown."""
        return self.problem is None and self.data[POSSIBLE_IF[self.verb]]

    def say_why(self):
        """Return the reason why the act is not possible."""
        return self.say(self.too_late)

    @property
    def title(self):
        return _(self.question, mapping={'id': self.run_id})

    @property
    def texts(self):
        """The texts of the template in the language of the request."""
        return {'explanation': self.say(self.explanation),
                'button': self.say(self.button),
                'too_late': self.say_why()}

    @property
    def breadcrumbs(self):
        return super().breadcrumbs + [
            {'title': _('Runs'), 'url': self.registry_url + '/runs.html'},
            {'title': _('Run ${id}', mapping={'id': self.run_id}),
             'url': self.run_url + '/index.html'}]


class BeginPage(ConfirmPage):
    """Makes a waiting run due now."""

    verb = 'begin'
    impossible = RunNotBeginnable
    is_dangerous = False
    question = _('Run ${id}: run it now?')
    explanation = _('The run no longer waits for its due time: it begins '
                    'as soon as a thread is free.')
    button = _('Run it now')
    too_late = BEGIN_OBSTACLES[NOT_WAITING]

    def say_why(self):
        return self.say(
            BEGIN_OBSTACLES.get(self.getStatus()['begin_obstacle'],
                                self.too_late), type=self.data['type'])

    def act(self):
        self.checked.beginNow(self.run_id, self.reason)
        return self.run_url + '/index.html'


class StopPage(ConfirmPage):
    """Asks a run to stop."""

    verb = 'stop'
    impossible = RunNotStoppable
    is_dangerous = True
    question = _('Stop run ${id}?')
    explanation = _('A waiting run is stopped at once.  A running one is '
                    'asked to stop; its changes since its last commit are '
                    'undone.')
    button = _('Stop the run')
    too_late = _('The run is finished or was already asked to stop: there '
                 'is nothing to stop.')

    def checkMethod(self):
        checkStop(self)
        super().checkMethod()

    def act(self):
        self.checked.requestStop(self.run_id, self.reason)
        return self.run_url + '/index.html'


class RetryPage(ConfirmPage):
    """Retries a finished run."""

    verb = 'retry'
    impossible = RunNotRetryable
    is_dangerous = False
    question = _('Retry run ${id}?')
    explanation = _('A new run starts with the same input, context and '
                    'starter.  It continues after the last checkpoint, '
                    'unless this run succeeded.  If the work has the '
                    'rights of its starter, it may do only what both the '
                    'starter and you may do.  This run is kept as it is.')
    button = _('Retry the run')
    too_late = _('This run cannot be retried.')

    @property
    def is_possible(self):
        return super().is_possible and self.checked.mayRetry(self.run_id)

    def say_why(self):
        obstacle = self.getStatus()['retry_obstacle']
        if obstacle is None and not self.checked.mayRetry(self.run_id):
            return self.say(_(
                'You cannot retry this run: you may not start its worker '
                'type.'))
        return self.say(OBSTACLES.get(obstacle, self.too_late),
                        type=self.data['type'],
                        run=self.data['retried_as'] or '')

    def act(self):
        run = self.checked.retry(self.run_id, self.reason)
        return '%s/%s/index.html' % (self.registry_url, run.id)


class RemovePage(ConfirmPage):
    """Removes a finished run."""

    verb = 'remove'
    impossible = RunNotRemovable
    is_dangerous = True
    question = _('Remove run ${id}?')
    explanation = _('The run disappears from all lists, with its input, '
                    'result and log.  The effects of its work stay.')
    button = _('Remove the run')
    too_late = _('Only a finished run can be removed.  Stop it first.')

    def act(self):
        self.checked.remove(self.run_id, self.reason)
        return self.registry_url + '/runs.html'
