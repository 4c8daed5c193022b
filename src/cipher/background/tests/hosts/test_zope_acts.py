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
"""The acts of people on runs, types and schedules in a real instance of Zope.

Each act is tried by HTTP as anonymous, viewer, editor and manager.  It needs
Zope with a catalog, which is not in the environment of the other tests.
"""
import contextlib
import json
import threading
import urllib.parse
from datetime import datetime
from datetime import timezone

import transaction

from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import RunNotFound
from cipher.background.tests.support.zopesite import BASE
from cipher.background.tests.support.zopesite import LIMIT
from cipher.background.tests.support.zopesite import ZopeCase


ZCML = """
  <background:worker
      name="touch"
      handler="cipher.background.tests.hosts.test_zope_acts.touch"
      title="Touch"
      permission="cipher.background.StartWorkers"
      />
  <background:worker
      name="hold"
      handler="cipher.background.tests.hosts.test_zope_acts.hold"
      title="Hold"
      permission="cipher.background.StartWorkers"
      />
  <background:worker
      name="welcome"
      handler="cipher.background.tests.hosts.test_zope_acts.touch"
      title="Welcome"
      />
  <background:trigger
      worker="welcome"
      for="OFS.interfaces.IFolder
           zope.lifecycleevent.interfaces.IObjectAddedEvent"
      />
  <background:worker
      name="catalog"
      handler="cipher.background.tests.hosts.test_zope_acts.catalogAll"
      title="Catalog"
      permission="cipher.background.StartWorkers"
      />
  <background:worker
      name="often"
      handler="cipher.background.tests.hosts.test_zope_acts.touch"
      title="Often"
      />
  <background:schedule worker="often" every="1" />
  <background:worker
      name="yearly"
      handler="cipher.background.tests.hosts.test_zope_acts.touch"
      title="Yearly"
      />
  <background:schedule worker="yearly" cron="@yearly" />
  <background:runtime poll="0.2" />
"""

#: Who may not manage.  The editor may start.
REFUSED = None, 'viewer', 'editor'

#: What a refused person gets: to log in, no permission, nothing to be seen.
REFUSALS = 401, 403, 404


def touch(worker):
    """Say in the title of the context that it was touched."""
    if worker.context is not None:
        worker.context.title = 'touched'
    return 'touched'


def hold(worker):
    """Work until somebody stops the run."""
    worker.setProgress(1, 2, 'holding')
    worker.wait(LIMIT)
    worker.checkStop()


class Gate:
    """Holds the worker `catalogAll` before it returns."""

    opened = threading.Event()
    reached = threading.Event()
    error = None


def catalogAll(worker):
    """Catalog the folders below the context."""
    catalog = worker.context.catalog
    for ob in worker.context.objectValues('Folder'):
        catalog.catalog_object(ob)
    Gate.reached.set()
    Gate.opened.wait(LIMIT)
    if Gate.error is not None:
        raise Gate.error
    return len(catalog)


class ActTests(ZopeCase):

    zcml = ZCML

    def act(self, path, user, **form):
        """Post a form with a token of *user*; return the status."""
        status, _headers, text = self.get(BASE + '/token.json', user)
        form['csrf_token'] = json.loads(text)[
            'csrf_token'] if status == 200 else ''
        return self.get('%s/%s' % (BASE, path), user, urllib.parse.urlencode(
            form).encode())[0]

    def ways(self, run, verb):
        """Yield (name, function of a user) for the ways to act on a run."""
        yield 'form', lambda user: self.act(
            '%s/%s.html' % (run.id, verb), user, **{
                verb: '1', 'reason': 'why'})
        yield 'JSON', lambda user: self.send(
            '/%s/%s.json' % (run.id, verb), user, {'reason': 'why'})[0]

    def assertOnlyManagers(self, act, look):
        """Let each person *act*; only what look() returns shows an effect."""
        before = look()
        for user in REFUSED:
            with self.subTest(user=user):
                self.assertIn(act(user), REFUSALS)
                transaction.begin()
                self.assertEqual(look(), before)
        self.assertIn(act('boss'), (200, 202, 303))
        transaction.begin()

    def pause(self, name, is_paused=True):
        self.registry.pauseType(name, is_paused)
        transaction.commit()

    def startWaiting(self, name='touch', context=None):
        """Return a run that waits as its type is paused."""
        self.pause(name)
        self.addCleanup(self.pause, name, False)
        run = self.registry.start(name, context)
        transaction.commit()
        self.addCleanup(self.end, run.id)
        return run

    def startRunning(self):
        """Return a run that runs until it is stopped."""
        run = self.registry.start('hold')
        transaction.commit()
        self.addCleanup(self.end, run.id)
        self.waitFor(lambda: self.state(run) == RUNNING, 'a run that runs')
        return run

    def startFinished(self):
        """Return a run that has succeeded."""
        run = self.registry.start('touch')
        transaction.commit()
        self.assertEqual(self.wait(run.id).state, SUCCEEDED)
        return run

    def end(self, run_id):
        transaction.begin()
        if self.registry.getStatus(run_id).is_stoppable:
            self.registry.requestStop(run_id)
            transaction.commit()
            self.wait(run_id)

    def state(self, run):
        return self.registry.getStatus(run.id).state

    def has(self, run):
        try:
            return bool(self.registry.getStatus(run.id))
        except RunNotFound:
            return False

    # Runs

    def test_running_run_is_stopped(self):
        for number in range(2):
            run = self.startRunning()
            name, act = list(self.ways(run, 'stop'))[number]
            with self.subTest(way=name):
                self.assertOnlyManagers(
                    act, lambda: self.registry.getStatus(run.id).stop)
                status = self.wait(run.id)
                self.assertEqual(
                    (status.state, status.stop.principal, status.stop.reason),
                    (STOPPED, '/:boss', 'why'))

    def test_waiting_run_is_stopped(self):
        for number in range(2):
            run = self.startWaiting()
            name, act = list(self.ways(run, 'stop'))[number]
            with self.subTest(way=name):
                self.assertOnlyManagers(act, lambda: self.state(run))
                self.assertEqual(self.wait(run.id).state, STOPPED)

    def test_starter_stops_its_own_run_without_the_permission(self):
        status, data = self.send('/start.json', 'editor', {'type': 'hold'})
        self.assertEqual(status, 202)
        self.addCleanup(self.end, data['id'])
        self.assertEqual(
            self.send('/%s/stop.json' % data['id'], 'editor', {})[0], 202)
        self.assertEqual(self.wait(data['id']).state, STOPPED)

    def test_starter_sees_the_progress_of_its_own_run(self):
        status, data = self.send('/start.json', 'editor', {'type': 'hold'})
        self.assertEqual(status, 202)
        self.addCleanup(self.end, data['id'])
        address = '%s/own.json?run=%s' % (BASE, data['id'])
        status, _headers, text = self.get(address, 'editor')
        self.assertEqual(status, 200)
        self.assertEqual(json.loads(text)['id'], data['id'])
        for user, expected in (
                (None, 401), ('viewer', 404), ('boss', 404)):
            with self.subTest(user=user):
                self.assertEqual(self.get(address, user)[0], expected)

    def test_finished_run_is_retried(self):
        for number in range(2):
            run = self.startFinished()
            name, act = list(self.ways(run, 'retry'))[number]
            with self.subTest(way=name):
                self.assertOnlyManagers(
                    act, lambda: self.registry.getStatus(run.id).retried_as)
                again = self.registry.getStatus(run.id).retried_as
                self.assertEqual(self.wait(again).state, SUCCEEDED)

    def test_finished_run_is_removed(self):
        for number in range(2):
            run = self.startFinished()
            name, act = list(self.ways(run, 'remove'))[number]
            with self.subTest(way=name):
                self.assertOnlyManagers(act, lambda: self.has(run))
                self.assertFalse(self.has(run))

    def test_run_that_waits_for_its_time_begins_at_once(self):
        for number in range(2):
            run = self.registry.submit('touch', delay=86400)
            transaction.commit()
            self.addCleanup(self.end, run.id)
            name, act = list(self.ways(run, 'begin'))[number]
            with self.subTest(way=name):
                self.assertOnlyManagers(act, lambda: self.state(run))
                self.assertEqual(self.wait(run.id).state, SUCCEEDED)

    # Types

    def test_type_is_paused_and_resumed(self):
        def look():
            status, = (one for one in self.registry.listTypes()
                       if one.name == 'touch')
            return status.is_paused, status.paused_by, status.pause_reason

        self.addCleanup(self.pause, 'touch', False)
        for page in 'types.html', 'type.html':
            with self.subTest(page=page):
                self.assertOnlyManagers(lambda user: self.act(
                    page, user, name='touch', pause='1', reason='too much'),
                    look)
                self.assertEqual(look(), (True, '/:boss', 'too much'))
                run = self.registry.start('touch')
                transaction.commit()
                self.addCleanup(self.end, run.id)
                # A later run of another type is done, but not this one.
                self.workElsewhere()
                self.assertEqual(self.state(run), PENDING)
                self.assertIn('too much', self.get(
                    BASE + '/types.html', 'viewer')[2])
                self.assertOnlyManagers(lambda user: self.act(
                    page, user, name='touch', resume='1'), look)
                self.assertFalse(look()[0])
                self.assertEqual(self.wait(run.id).state, SUCCEEDED)

    def workElsewhere(self):
        """Start a run of a type that is not paused; wait for its end."""
        run = self.registry.start('welcome')
        transaction.commit()
        self.wait(run.id)

    # Schedules

    def schedule(self, name):
        status, = (one for one in self.registry.listSchedules()
                   if one.name == name)
        return status

    def test_schedule_starts_runs(self):
        last = self.schedule('often').last_run
        self.waitFor(lambda: self.schedule('often').last_run not in (
            None, last), 'a run by the schedule')
        status = self.wait(self.schedule('often').last_run)
        self.assertEqual((status.state, status.starter, status.result),
                         (SUCCEEDED, None, 'touched'))

    def test_page_shows_the_next_time_of_a_schedule(self):
        self.waitFor(lambda: self.schedule('yearly').next_at, 'a next time')
        now = datetime.now(timezone.utc)
        times = ['%d-01-01T00:00:00.000Z' % year
                 for year in (now.year + 1, now.year + 2)]
        for user in 'viewer', 'editor', 'boss':
            with self.subTest(user=user):
                text = self.get(BASE + '/schedules.html', user)[2]
                self.assertTrue(any(
                    'datetime="%s"' % time in text for time in times), text)
                self.assertEqual('name="pause"' in text, user == 'boss')
        self.assertEqual(self.get(BASE + '/schedules.html')[0], 401)

    def test_schedule_is_run_now(self):
        self.assertOnlyManagers(
            lambda user: self.act(
                'schedules.html', user, name='yearly', run='1'),
            lambda: self.registry.getCounts().get('yearly'))
        run, = self.registry.listRuns(types=['yearly'], limit=1).items
        self.assertEqual(self.wait(run.id).state, SUCCEEDED)

    def test_schedule_is_paused_and_resumed(self):
        def look():
            status = self.schedule('yearly')
            return status.is_paused, status.paused_by, status.pause_reason

        self.assertOnlyManagers(lambda user: self.act(
            'schedules.html', user, name='yearly', pause='1',
            reason='vacation'), look)
        self.assertEqual(look(), (True, '/:boss', 'vacation'))
        self.assertOnlyManagers(lambda user: self.act(
            'schedules.html', user, name='yearly', resume='1'), look)
        self.assertFalse(look()[0])

    # Starts

    def test_added_folder_starts_its_trigger(self):
        from OFS.Folder import manage_addFolder
        self.pause('welcome')
        self.addCleanup(self.pause, 'welcome', False)
        before = {run.id for run in self.registry.listRuns(
            types=['welcome']).items}
        manage_addFolder(self.site, 'never')
        transaction.abort()
        manage_addFolder(self.site, 'four')
        transaction.commit()
        self.addCleanup(self.delete, self.site, 'four')
        run, = (run for run in self.registry.listRuns(
            types=['welcome']).items if run.id not in before)
        self.pause('welcome', False)
        self.assertEqual(self.wait(run.id).state, SUCCEEDED)
        self.assertEqual(self.site.four.title, 'touched')

    def test_work_is_started_by_code_by_form_and_by_JSON(self):
        run = self.registry.start('touch', self.site.one)
        transaction.commit()
        self.assertEqual(self.wait(run.id).state, SUCCEEDED)
        self.assertEqual(self.site.one.title, 'touched')
        for user, expected in ((None, None), ('viewer', None),
                               ('editor', '/:editor'), ('boss', '/:boss')):
            with self.subTest(user=user):
                before = self.registry.getCounts()['touch']
                by_form, headers, _text = self.fill(
                    BASE + '/start.html?type=touch', user, start='1')
                by_json, data = self.send(
                    '/start.json', user, {'type': 'touch', 'context': 'two'})
                if expected is None:
                    self.assertIn(by_form, REFUSALS)
                    self.assertIn(by_json, REFUSALS)
                    transaction.begin()
                    self.assertEqual(
                        self.registry.getCounts()['touch'], before)
                    continue
                self.assertEqual((by_form, by_json), (303, 202))
                form_id = headers['Location'].split('/')[-2]
                for run_id in form_id, data['id']:
                    status = self.wait(run_id)
                    self.assertEqual((status.state, status.starter),
                                     (SUCCEEDED, expected))
                self.assertEqual(self.site.two.title, 'touched')

    # The catalog

    def makeCatalog(self):
        from Products.ZCatalog.ZCatalog import manage_addZCatalog
        if 'catalog' not in self.site.objectIds():
            manage_addZCatalog(self.site, 'catalog', 'Catalog')
            self.site.catalog.addIndex('getId', 'FieldIndex')
            self.addCleanup(self.delete, self.site, 'catalog')
        Gate.opened.clear()
        Gate.reached.clear()
        Gate.error = None
        self.addCleanup(Gate.opened.set)
        run = self.registry.start('catalog', self.site)
        transaction.commit()
        self.assertTrue(Gate.reached.wait(LIMIT))
        transaction.begin()
        self.assertEqual(self.find(), [])
        self.assertEqual(self.state(run), RUNNING)
        return run

    def find(self):
        return sorted(brain.getPath().split('/')[-1] for brain in (
            self.site.catalog.searchResults(
                getId=['one', 'two', 'three'])))

    def test_catalog_and_success_are_one_commit(self):
        run = self.makeCatalog()
        db = self.root._p_jar.db()
        before = db.lastTransaction()
        Gate.opened.set()
        self.assertEqual(self.wait(run.id).state, SUCCEEDED)
        self.assertEqual(self.find(), ['one', 'three', 'two'])
        description = ('catalog, run %s' % run.id).encode()
        with contextlib.closing(db.storage.iterator(
                start=_following(before))) as commits:
            work, = ({record.oid for record in commit} for commit in commits
                     if commit.description == description)
        self.assertIn(run._p_oid, work)
        self.assertIn(self.site.catalog._catalog.uids._p_oid, work)

    def test_failed_work_leaves_the_catalog_as_it_was(self):
        run = self.makeCatalog()
        Gate.error = ValueError('refused')
        Gate.opened.set()
        self.assertEqual(self.wait(run.id).state, 'failed')
        self.assertEqual(self.find(), [])


def _following(tid):
    return (int.from_bytes(tid, 'big') + 1).to_bytes(8, 'big')
