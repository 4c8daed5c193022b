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
"""What the demo does in the background: functions and a service.

Each function gets the worker, and its input as keyword arguments; see
`~cipher.background.interfaces.IWorker`.
"""
import json
import random
import time

from zope.component.hooks import getSite

from cipher.background.demo.documents import Document
from cipher.background.demo.importing import find_texts
from cipher.background.demo.importing import read_text
from cipher.background.demo.importing import title_of
from cipher.background.demo.interfaces import DRAFT
from cipher.background.demo.interfaces import PUBLISHED
from cipher.background.demo.rendering import render
from cipher.background.thread import BackgroundWorkerThread


DOCUMENTS = 'documents'

#: Seconds after which a stubborn worker that nobody stops is done.
STUBBORN_LIMIT = 300.0


def publish(worker, pause=0.0):
    """Render the document that the run is about, and publish it.

    That it is PUBLISHED and that the run has succeeded is one commit.
    """
    document = worker.context

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


def import_texts(worker, folder='.', pause=0.0):
    """Make a document of each text in a folder, or update the one it made.

    All of it is one commit: a run that is stopped leaves nothing behind.
    """
    documents = getSite()[DOCUMENTS]
    paths = find_texts(folder)
    counts = {'added': 0, 'changed': 0, 'unchanged': 0}
    worker.setProgress(0, len(paths))
    for done, path in enumerate(paths, 1):
        worker.checkStop()
        done_as = import_text(documents, path.name, read_text(path))
        counts[done_as] += 1
        worker.log.info('%s: %s', path.name, done_as)
        worker.setProgress(done, len(paths), path.name)
        worker.wait(pause)
    worker.checkStop()
    return ', '.join('%d %s' % (n, what) for what, n in counts.items() if n)


def import_text(documents, name, body):
    """Store one text; return whether it is added, changed or unchanged."""
    title = title_of(body) or name
    if name not in documents:
        documents[name] = Document(title, body)
        return 'added'
    changed = documents[name].update(title, body)
    return 'changed' if changed else 'unchanged'


class Housekeeping(BackgroundWorkerThread):
    """Looks at the documents for ever and drops stale renderings.

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
    """Read a reply that now and then is cut short, as networks have it."""
    reply = '{"sky": "clear", "wind": 3}'
    worker.log.info('Asking for the weather')
    if random.random() < chance:
        reply = reply[:random.randrange(len(reply))]
        worker.log.warning('The reply has %d characters', len(reply))
    return 'The sky is %s' % _parse_weather(reply)['sky']


def _parse_weather(reply):
    return json.loads(reply)


def stubborn(worker, seconds=10.0, clock=time.monotonic, sleep=time.sleep):
    """Work on until asked to stop, and *seconds* seconds more, then obey."""
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
