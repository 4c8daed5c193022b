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
"""JSON for scripts that act: start, begin, stop, retry and remove.

A script gets a token from ``token.json`` and sends it with each POST in the
header `TOKEN_HEADER`.  See docs/reference/json.rst.
"""
import json

from cipher.background.browser import csrf
from cipher.background.browser.administration import REASON_LIMIT
from cipher.background.browser.jsonview import JSONView
from cipher.background.browser.page import ACTION
from cipher.background.browser.page import Refused
from cipher.background.browser.paths import NoSuchObject
from cipher.background.browser.paths import findObject
from cipher.background.browser.processes import GONE as GONE_PROCESS
from cipher.background.browser.runactions import checkStop
from cipher.background.browser.runpage import GONE
from cipher.background.browser.runpage import Run
from cipher.background.browser.text import cleanLine
from cipher.background.browser.types import noteStart
from cipher.background.browser.types import refuseFlood
from cipher.background.i18n import _
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import BackgroundError
from cipher.background.interfaces import ProcessNotFound
from cipher.background.interfaces import RunNotBeginnable
from cipher.background.interfaces import RunNotFound
from cipher.background.interfaces import RunNotRemovable
from cipher.background.interfaces import RunNotRetryable
from cipher.background.interfaces import RunNotStoppable
from cipher.background.interfaces import TooManyWaiting


TOKEN_HEADER = 'X-CSRF-Token'
#: Bytes.  A longer body is refused.
BODY_LIMIT = 1000000


class TokenJSON(JSONView):
    """Returns a token for the POSTs of a script."""

    is_compressed = False

    def collect(self):
        """Return the token and the name of its header."""
        return {'csrf_token': self.tokens.make(), 'header': TOKEN_HEADER}


class JSONAction(JSONView):
    """Base: takes a POST with a JSON object and answers with another one."""

    methods = ACTION
    status = 200

    def checkForgery(self):
        """Refuse a request that another site may have sent."""
        content_type = self.request.getHeader('Content-Type') or ''
        if content_type.partition(';')[0].strip().lower() != (
                'application/json'):
            raise Refused(415, _('Expected a body of type application/json.'))
        self.checkSender()

    def checkSender(self):
        """Refuse a request that has no token, or came from another site."""
        try:
            csrf.checkOrigin(self.request)
            self.tokens.check(self.request.getHeader(TOKEN_HEADER) or '')
        except csrf.Forged as forged:
            raise Refused(403, forged.args[0])

    def update(self):
        self.data = self.act(self._read())
        self.request.response.setStatus(self.status)

    def collect(self):
        """Return what `act` gave."""
        return self.data

    def act(self, body):
        """Do it; return the answer."""
        raise NotImplementedError

    def _read(self):
        stream = self.request.bodyStream
        raw = stream.read(BODY_LIMIT + 1)
        if len(raw) > BODY_LIMIT:
            raise Refused(413, _('The body is too long.'))
        try:
            body = json.loads(
                raw.decode('utf-8'),
                parse_constant=_refuse_constant) if raw.strip() else {}
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise Refused(400, _('Expected a JSON object as the body.'))
        return body

    def getText(self, body, name, limit=REASON_LIMIT):
        """Return the text *name* of *body*, or None.

        The text is cut to *limit* characters.
        """
        value = body.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise Refused(400, _('"${name}" must be a string.',
                                 mapping={'name': name}))
        return cleanLine(value, limit) or None

    def answer(self, run_id, state):
        """Return the id and state of a run and the paths of its pages."""
        url = '%s/%s' % (self.registry_url, run_id)
        self.request.response.setHeader('Location', url + '/index.json')
        return {'id': run_id, 'state': state, 'url': url + '/index.html',
                'status_url': url + '/index.json'}


class StartJSON(JSONAction):
    """Starts a worker: {"type": …, "input": {…}, "context": path}."""

    status = 202

    def act(self, body):
        _refuse_unknown(set(body) - {'type', 'input', 'context'})
        name = self.getText(body, 'type')
        worker_type = self.checked.queryWorkerType(name)
        if worker_type is None:
            raise Refused(404, _('There is no such worker type.'))
        given = body.get('input') or {}
        if not isinstance(given, dict):
            raise Refused(400, _('"${name}" must be an object.',
                                 mapping={'name': 'input'}))
        # "context" is an argument of startByPrincipal, so it cannot be the
        # name of an input.
        _refuse_unknown(set(given) & {'context'})
        try:
            run = self.checked.startByPrincipal(
                name, self._get_context(body), **given)
        except TooManyWaiting as error:
            refuseFlood(error)
        except BackgroundError as error:
            raise Refused(400, cleanLine(error))
        noteStart(name, run.id)
        return self.answer(run.id, run.state)

    def _get_context(self, body):
        try:
            return findObject(self.checked.getSite(),
                              self.getText(body, 'context', 1000))
        except NoSuchObject:
            raise Refused(400, _('The context path does not lead to an '
                                 'object that you may see.'))


class RunAction(Run, JSONAction):
    """Base of the acts on one run: {"reason": …}."""

    impossible = None

    def do(self, reason):
        """Do it; return the answer."""
        raise NotImplementedError

    def act(self, body):
        reason = self.getText(body, 'reason')
        try:
            return self.do(reason)
        except RunNotFound:
            raise Refused(404, GONE)
        except self.impossible as error:
            raise Refused(409, cleanLine(error))

    def collect(self):
        """Return what `act` gave."""
        return self.data


class BeginJSON(RunAction):
    """Makes a waiting run due now."""

    status = 202
    impossible = RunNotBeginnable

    def do(self, reason):
        """Make the run due; return the answer."""
        self.checked.beginNow(self.run_id, reason)
        return self.answer(self.run_id, PENDING)


class StopJSON(RunAction):
    """Asks a run to stop."""

    status = 202
    impossible = RunNotStoppable

    def checkMethod(self):
        checkStop(self)
        super().checkMethod()

    def do(self, reason):
        """Ask the run to stop; return the answer."""
        return self.answer(
            self.run_id, self.checked.requestStop(self.run_id, reason))


class RetryJSON(RunAction):
    """Retries a finished run."""

    status = 202
    impossible = RunNotRetryable

    def do(self, reason):
        """Retry the run; return the answer, which is about the new run."""
        run = self.checked.retry(self.run_id, reason)
        return self.answer(run.id, run.state)


class RemoveJSON(RunAction):
    """Removes a finished run."""

    impossible = RunNotRemovable

    def do(self, reason):
        """Remove the run; return its id."""
        self.checked.remove(self.run_id, reason)
        return {'id': self.run_id}


class CopyAction(JSONAction):
    """Base of the acts on runs that came with a copy and are kept back."""

    takes = {'reason'}

    def do(self, reason):
        """Do it; return how many runs it was about."""
        raise NotImplementedError

    def act(self, body):
        _refuse_unknown(set(body) - self.takes)
        return {'number': self.do(self.getText(body, 'reason'))}


class BeginKeptJSON(CopyAction):
    """Releases the runs that are kept back: {"reason": …}."""

    def do(self, reason):
        """Release the runs; return their number."""
        return self.checked.beginKept(reason)


class RemoveKeptJSON(CopyAction):
    """Removes the runs that are kept back: {"reason": …}."""

    def do(self, reason):
        """Remove at most 1,000 runs; return their number."""
        return self.checked.removeKept(reason)


class AdoptJSON(JSONAction):
    """Adopts the database for a deployment.

    Takes {"process": id, "keep_back": …, "reason": …}.
    """

    def act(self, body):
        _refuse_unknown(set(body) - {'process', 'keep_back', 'reason'})
        keep_back = body.get('keep_back', False)
        if not isinstance(keep_back, bool):
            raise Refused(400, _('"${name}" must be true or false.',
                                 mapping={'name': 'keep_back'}))
        try:
            is_news = self.checked.adoptDatabase(
                self.getText(body, 'process', 1000),
                self.getText(body, 'reason'), keep_back)
        except ProcessNotFound:
            raise Refused(404, GONE_PROCESS)
        return {'is_adopted': is_news}


def _refuse_constant(name):
    # NaN and Infinity are not JSON, and they pass comparisons.
    raise ValueError(name)


def _refuse_unknown(names):
    if names:
        raise Refused(400, _('Unknown names: ${names}.', mapping={
            'names': cleanLine(', '.join(sorted(names)), 200)}))
