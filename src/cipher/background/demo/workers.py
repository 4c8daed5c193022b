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
"""The workers of the demo: functions and a service.

Jobs with many steps are in `jobs`.  Each function gets the worker, an
`~cipher.background.interfaces.IWorker`, and the input as keyword arguments.
"""
import json
import random
import time

from zope.component.hooks import getSite

from cipher.background import BackgroundWorkerThread
from cipher.background import Cancel
from cipher.background.demo.interfaces import DOCUMENTS
from cipher.background.demo.interfaces import DRAFT
from cipher.background.demo.interfaces import PUBLISHED
from cipher.background.demo.interfaces import IDocument
from cipher.background.demo.rendering import render
from cipher.background.demo.reporting import make_report


PUBLISH = 'publish'

#: Seconds.  A stubborn worker that is not asked to stop ends after this time.
STUBBORN_LIMIT = 300.0


def publish(worker, pause=0.0):
    """Render the document that the run is about and publish it.

    The states of the document and of the run change in one commit.
    """
    document = get_document(worker, PUBLISH)

    def tick(done, total, title):
        worker.setProgress(done, total, 'Rendered "%s"' % title)
        worker.wait(pause)
        worker.checkStop()

    def warn(message):
        worker.log.warning('%s', message)

    worker.checkStop()
    html = render(document.body, tick, warn, document.title)
    document.publish(html)
    worker.log.info('Published "%s"', document.title)
    return 'published'


def is_publication(event):
    """Return whether the event is about the publication of a document."""
    return event.object.type == PUBLISH


def notify(worker):
    """Add the news that a document was published."""
    document = get_document(worker, 'notify')
    getSite()[DOCUMENTS].addNews(document)
    return 'told of "%s"' % document.title


def reindex(worker):
    """Put the words of a document into the index."""
    document = get_document(worker, 'reindex')
    return '%d words' % index_document(getSite()[DOCUMENTS], document)


def index_document(documents, document):
    """Put the words of *document* into the index; return their number."""
    return documents.index.add(
        document.__name__, '%s\n%s' % (document.title, document.body))


def unindex(worker, name):
    """Remove a deleted document from the index."""
    documents = getSite()[DOCUMENTS]
    if name in documents:
        return 'there is another one of that name'
    documents.index.remove(name)
    return 'removed'


def describe_removed(document, event):
    """Return the input of `unindex` for a document that is removed."""
    return {'name': event.oldName}


def report(worker):
    """Make the nightly report about the time since the last one."""
    documents = getSite()[DOCUMENTS]
    last = documents.report
    documents.report = make_report(
        documents, since=last['made_at'] if last else 0.0)
    return '%d documents, %d published since the last report' % (
        len(documents), documents.report['published'])


def get_document(worker, name):
    """Return the document that the run is about.

    Raise `Cancel` without one: an automatic retry would not help.
    """
    document = worker.context
    if not IDocument.providedBy(document):
        raise Cancel(
            '%s: expected a run about a document, got one about %s; start it '
            'from the page of a document' % (
                name, 'nothing' if document is None
                else 'a %s' % type(document).__name__))
    return document


class Housekeeping(BackgroundWorkerThread):
    """A loop that drops stale renderings of documents.

    An iteration that finds nothing to drop writes nothing.
    """

    description = 'Housekeeping of %(site_name)s'

    def __init__(self, *args, interval=5.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.interval = interval
        self.first = True

    def scheduleNextWork(self):
        if self.first:
            self.first = False
            return not self.stop_requested
        return not self.wait(self.interval)

    def doWork(self):
        documents = list(getSite()[DOCUMENTS].values())
        for document in documents:
            if document.dropStale():
                self.log.info('Dropped the stale rendering of "%s"',
                              document.title)
        states = [document.wf_state for document in documents]
        self.setProgress(len(documents), None, '%d %s, %d %s' % (
            states.count(DRAFT), DRAFT, states.count(PUBLISHED), PUBLISHED))


def flaky(worker, chance=0.5):
    """Read a reply of a network that is sometimes cut short."""
    reply = '{"sky": "clear", "wind": 3}'
    worker.log.info('Asking for the weather')
    if random.random() < chance:
        reply = reply[:random.randrange(len(reply))]
        worker.log.warning('The reply has %d characters', len(reply))
    return 'The sky is %s' % _parse_weather(reply)['sky']


def _parse_weather(reply):
    return json.loads(reply)


def stubborn(worker, seconds=10.0, clock=time.monotonic, sleep=time.sleep):
    """Work until asked to stop, then *seconds* seconds more; then obey."""
    began = clock()
    while not worker.wait(0.5):
        elapsed = clock() - began
        if elapsed >= STUBBORN_LIMIT:
            return 'nobody asked me to stop'
        worker.setProgress(
            round(elapsed), STUBBORN_LIMIT, 'Busy until somebody stops me')
    worker.log.warning('Asked to stop; going on for %g s', seconds)
    asked = clock()
    while clock() - asked < seconds:
        left = seconds - (clock() - asked)
        worker.setProgress(
            round(clock() - began), STUBBORN_LIMIT,
            'Asked to stop; going on for %.0f s more' % left)
        sleep(min(0.2, max(left, 0)))
    worker.checkStop()
