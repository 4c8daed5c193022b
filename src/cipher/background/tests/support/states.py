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
"""Every page in every state that it can be in, for a real browser.

A demo cannot show a broken record beside a silent process.  Here the states
are stored or, for problems, made up, and served on loopback.
"""
import time
from base64 import b64encode
from contextlib import ExitStack
from contextlib import contextmanager
from typing import NamedTuple
from unittest import mock

import transaction
from zope.component import getGlobalSiteManager
from zope.interface import Interface
from zope.schema import Bytes
from zope.schema import Date
from zope.schema import Datetime
from zope.schema import Int
from zope.schema import List
from zope.schema import Text

from cipher.background.interfaces import BROKEN_RUN
from cipher.background.interfaces import BUSY_THREADS
from cipher.background.interfaces import CLOCK_JUMP
from cipher.background.interfaces import COPIED_DATABASE
from cipher.background.interfaces import FAILING_RESCUE
from cipher.background.interfaces import FAILING_STEP
from cipher.background.interfaces import FAILING_SUBSCRIBER
from cipher.background.interfaces import FAILING_TYPE
from cipher.background.interfaces import KEPT_RUNS
from cipher.background.interfaces import LATE_SCHEDULE
from cipher.background.interfaces import NEWER_DATABASE
from cipher.background.interfaces import NO_RUNTIME
from cipher.background.interfaces import OLDER_PROCESS
from cipher.background.interfaces import PAUSED_TYPE
from cipher.background.interfaces import SCHEDULE_ELSEWHERE
from cipher.background.interfaces import SILENT_PROCESS
from cipher.background.interfaces import STALLED_RUN
from cipher.background.interfaces import STUCK_PROCESS
from cipher.background.interfaces import UNDECLARED_TYPE
from cipher.background.interfaces import UNRESPONSIVE_RUN
from cipher.background.interfaces import IWorkerType
from cipher.background.queries.health import Health
from cipher.background.queries.status import Problem
from cipher.background.tests.demo.test_server import LIMIT
from cipher.background.tests.support.browser import PATH
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.browser import serve
from cipher.background.tests.support.chromium import launchBrowser
from cipher.background.tests.support.live import declareWorker


LONG_NAME = 'a-worker-type-with-a-rather-long-name-that-somebody-gave-it'
TRACEBACK = '''\
Traceback (most recent call last):
  File "/srv/dms/lib/python3.11/site-packages/dms/publishing.py", line 17, in p
    raise ValueError('expected a title, got nothing')
ValueError: expected a title, got nothing
'''
LOG = ('2026-11-28 16:38:06,123 INFO dms Rendering part 1\n'
       '2026-11-28 16:38:07,001 WARNING dms Part 2 has no title\n'
       '2026-11-28 16:38:09,888 ERROR dms Part 3 is '
       'not_to_be_broken_anywhere_as_it_is_one_very_long_word' + 'x' * 90
       + '\n' + TRACEBACK)
STACK = '''\
  File "/usr/lib/python3.11/threading.py", line 1002, in _bootstrap
    self._bootstrap_inner()
  File "/srv/dms/lib/python3.11/site-packages/dms/publishing.py", line 17, in p
    for part in document.parts: render(part)
  File "/srv/dms/lib/python3.11/site-packages/ZODB/Connection.py", line 7, in s
    self._storage.load(oid)
'''


def listProblems():
    """Return problems of each kind."""
    since = time.time() - 3 * 60
    process = 'host:8:abc'
    return [
        Problem(NO_RUNTIME, number=3),
        Problem(SILENT_PROCESS, 'host:7:abc', since),
        Problem(UNRESPONSIVE_RUN, '1-17', since),
        Problem(LATE_SCHEDULE, 'nightly', since),
        Problem(UNDECLARED_TYPE, LONG_NAME, number=2),
        Problem(STUCK_PROCESS, 'schedules', since, process=process,
                stack=STACK),
        Problem(FAILING_STEP, 'schedule nightly', since, process=process,
                error='KeyError'),
        Problem(BROKEN_RUN, '1-18', since, process=process,
                error='POSKeyError'),
        Problem(FAILING_RESCUE, '1-19', since, process=process,
                error='ValueError'),
        Problem(FAILING_SUBSCRIBER, '1-20', since, process=process,
                error='SystemExit'),
        Problem(CLOCK_JUMP, '+3600', since, process=process),
        Problem(STALLED_RUN, '1-21', since, usual=62.0),
        Problem(BUSY_THREADS, '1-23', since),
        Problem(FAILING_TYPE, LONG_NAME, None, 6, total=8, usual=0.025),
        Problem(SCHEDULE_ELSEWHERE, 'nightly', since),
        Problem(PAUSED_TYPE, 'mail', since, 2),
        Problem(NEWER_DATABASE, '2', since, process=process),
        Problem(OLDER_PROCESS, 'host:9:abc', since, process=process),
        Problem(COPIED_DATABASE, 'live', since, process=process),
        Problem(KEPT_RUNS, number=2)]


class IListed(Interface):
    """Input with lists, a file and a password."""

    numbers = List(title='Numbers', required=False, value_type=Int())
    day = Date(title='Day', required=False)
    at = Datetime(title='At', description='The first time.', required=False)
    file = Bytes(title='File', required=False)
    text = Text(title='Text', required=False)


class State(NamedTuple):
    """A page in a state; *patches* are {name of a method: its result}."""

    name: str
    path: str
    user: str = 'admin'
    prepare: object = None    # called with the page of playwright
    patches: dict = {}
    status: int = 200


def fillWrongly(page):
    """Send the start form with a mistake in each field that takes one."""
    page.fill('[name="form.widgets.title"]', '')
    page.fill('[name="form.widgets.count"]', 'many')
    page.locator('main form').first.evaluate('(form) => form.noValidate = 1')
    with page.expect_navigation():
        page.get_by_role('button', name='Start').click()
    page.locator('.cb-note-error a').first.wait_for()


def addRows(page):
    """Add two rows to the list, one of them wrong."""
    for _ in range(2):
        with page.expect_navigation():
            page.locator('[name$="buttons.add"]').click()
    page.locator('[name="form.widgets.numbers.0"]').fill('many')
    with page.expect_navigation():
        page.get_by_role('button', name='Start').click()
    page.locator('.cb-note-error a').first.wait_for()


def openMenus(page):
    """Open whatever can be opened."""
    page.evaluate('document.querySelectorAll("main details").forEach('
                  '(element) => { element.open = true; })')


def select(page):
    """Select rows, so that the bar of verbs is shown."""
    for box in page.locator('[name=run]').all()[:2]:
        box.check()


class StatesTestCase(BrowserTests):
    """A registry with runs in each state, and a browser."""

    def setUp(self):
        super().setUp()
        self.browser = launchBrowser(self)
        self.url = serve(self, self.layer.make_wsgi_app(), 4, LIMIT)

    def makeStates(self):
        """Store runs in each state; return the `State` of each page."""
        declareWorker('listed', print, schema=IListed)
        self.addCleanup(getGlobalSiteManager().unregisterUtility,
                        provided=IWorkerType, name='listed')
        now = time.time()
        document = self.root['report']
        for number in range(6):
            failed = self.makeFailed(
                type='publish', traceback=TRACEBACK, log=LOG,
                error=(
                    'ValueError', 'Part %d: expected a title' % number))
        failed.input = {'title': 'Twelve', 'count': 7, 'notify': True,
                        'secret': 'Sesame', 'parts': ['text', 'notes']}
        self.retried = self.makeFailed(type='plain')
        transaction.commit()
        self.registry.retry(self.retried.id, 'The server is back')
        transaction.commit()
        waiting = self.makeRun('publish', document, title='Waits', count=1)
        delayed = self.makeDelayed()
        own = self.makeRun('plain')
        own.starter = 'test.viewer'
        stuck = self.makeRunning(
            title='Import of everything that the archive has',
            progress=(5, 300, 'Page 5 of a document with a long title'),
            starter='test.editor')
        record = self.addProcess()
        stubborn = self.registry.start('plain')
        stubborn.change('running', started_at=now - 500, owner=record.id)
        for run in stuck, stubborn:
            record.live.runs[self.registry._p_oid, run.id] = (
                run.started_at, getattr(run, 'progress', None), '', STACK)
        self.registry.stops[stubborn.id] = (
            'test.admin', now - 300, 'It blocks the import')
        self.registry.pauseType('odd/name & co', 'Until the disk is larger')
        transaction.commit()
        health = Health(
            usual=60.0, usual_most=100.0, rate=0.5,
            stalled_since=now - 720, unmoved_since=now - 240,
            process_id=record.id, beat_at=now - 3,
            neighbours=[self.registry.getStatus(stubborn.id)])
        return [
            State('problems', 'index.html', prepare=openMenus,
                  patches={'listProblems': listProblems()}),
            State('overview', 'index.html'),
            State('runs', 'runs.html', prepare=select),
            State('runs-open', 'runs.html?state=failed', prepare=openMenus),
            State('runs-none', 'runs.html?state=interrupted'),
            State('runs-wrong', 'runs.html?q=color:red&since=tomorrow',
                  status=400),
            State('errors', 'errors.html'),
            State('types', 'types.html', prepare=openMenus),
            State('type', 'type.html?name=publish', prepare=openMenus),
            State('type-new', 'type.html?name=odd%2Fname+%26+co'),
            State('type-unknown', 'type.html?name=none', status=404),
            State('schedules', 'schedules.html', prepare=openMenus),
            State('processes', 'processes.html', prepare=openMenus),
            State('journal', 'journal.html'),
            State('thresholds', 'thresholds.html'),
            State('thresholds-wrong', 'thresholds.html',
                  prepare=lambda page: (
                      page.fill('[name=busy_after]', '-1'), page.locator(
                          'main form').evaluate('f => f.noValidate = true'),
                      page.locator('[name=busy_after]').press('Enter'),
                      page.locator('[aria-invalid=true]').wait_for())),
            State('start', 'start.html?type=publish'),
            State('start-wrong', 'start.html?type=publish',
                  prepare=fillWrongly),
            State('start-rows', 'start.html?type=listed', prepare=addRows),
            State('start-unknown', 'start.html?type=none', status=404),
            State('again', 'start.html?type=publish&like=' + failed.id),
            State('failed', failed.id + '/index.html', prepare=openMenus),
            State('stuck', stuck.id + '/index.html', prepare=openMenus,
                  patches={'getHealth': health}),
            State('ignores', stubborn.id + '/index.html'),
            State('waiting', waiting.id + '/index.html'),
            State('delayed', delayed.id + '/index.html'),
            State('retried', self.retried.id + '/index.html'),
            State('stop', stuck.id + '/stop.html'),
            State('retry', failed.id + '/retry.html'),
            State('refused', stuck.id + '/retry.html'),
            State('remove', failed.id + '/remove.html'),
            State('uninstall', '/@@removeBackground.html'),
            State('own', own.id + '/index.html', 'viewer'),
            State('own-stop', own.id + '/stop.html', 'viewer'),
            State('own-runs', 'runs.html?q=user:test.viewer', 'viewer'),
            State('viewer', 'index.html', 'viewer'),
            State('forbidden', 'start.html?type=publish', 'viewer',
                  status=403),
            State('not-found', 'none.html', status=404),
            State('no-registry', '/other/@@background.html'),
        ]

    def makeEmptyStates(self):
        """Return the `State` of each page before anything has happened."""
        return [State(name + '-empty', name + '.html') for name in (
            'index', 'runs', 'errors', 'types', 'schedules', 'processes',
            'journal')]

    @contextmanager
    def shown(self, state, **options):
        """Show a state in a page of its own; return that page."""
        context = self.browser.new_context(**{
            'locale': 'en', 'viewport': {'width': 1280, 'height': 800},
            'extra_http_headers': {'Authorization': 'Basic ' + b64encode(
                b'%s:%s' % ((state.user.encode(),) * 2)).decode()},
            **options})
        context.set_default_timeout(LIMIT * 1000)
        with ExitStack() as stack:
            stack.callback(context.close)
            for name, value in state.patches.items():
                stack.enter_context(mock.patch.object(
                    type(self.registry), name,
                    lambda *args, value=value, **named: value))
            page = context.new_page()
            path = state.path if state.path.startswith('/') else (
                '%s/%s' % (PATH, state.path))
            response = page.goto(self.url + path)
            self.assertEqual(state.status, response.status, state.name)
            if state.prepare is not None:
                state.prepare(page)
            yield page
