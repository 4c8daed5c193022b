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
"""What a person may do to a registry: every verb x every permission."""
import ast
import unittest
from pathlib import Path

import transaction
from zope.component import provideUtility
from zope.interface.verify import verifyObject
from zope.security.checker import ProxyFactory
from zope.security.checker import getChecker
from zope.security.interfaces import NoInteraction
from zope.security.interfaces import Unauthorized
from zope.security.management import endInteraction
from zope.security.proxy import removeSecurityProxy
from zope.site.folder import Folder
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

import cipher.background.browser
from cipher.background.declarations.schedule import Schedule
from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import STOP_WORKERS
from cipher.background.interfaces import VIEW_DETAILS
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import IVerbs
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import TooManyWaiting
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.registry import verbs
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.store.kept import keepBack
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SECURITY
from cipher.background.tests.support.sites import Grants
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import declare
from cipher.background.tests.support.sites import login


OF_TYPE = 'test.Work'
PROCESS = 'host:1:abc'
PERMISSIONS = (VIEW_WORKERS, VIEW_DETAILS, START_WORKERS, STOP_WORKERS,
               MANAGE_WORKERS, OF_TYPE)

#: Verb -> (the permissions that it needs, a call of it).
CALLS = {
    'may': ((), lambda v, t: v.may('get')),
    'get': ((VIEW_WORKERS,), lambda v, t: v.get(t.waiting)),
    'getStatus': ((VIEW_WORKERS,), lambda v, t: v.getStatus(t.waiting)),
    'getFamily': ((VIEW_WORKERS,), lambda v, t: v.getFamily(t.waiting)),
    'getHealth': ((VIEW_WORKERS,), lambda v, t: v.getHealth(t.waiting)),
    'listErrors': ((VIEW_WORKERS,), lambda v, t: v.listErrors()),
    'getHistory': ((VIEW_WORKERS,), lambda v, t: v.getHistory('work')),
    'getContext': ((VIEW_WORKERS,), lambda v, t: v.getContext(t.waiting)),
    'listRuns': ((VIEW_WORKERS,), lambda v, t: v.listRuns()),
    'getCounts': ((VIEW_WORKERS,), lambda v, t: v.getCounts()),
    'getWorkerTypes': ((VIEW_WORKERS,), lambda v, t: v.getWorkerTypes()),
    'listTypes': ((VIEW_WORKERS,), lambda v, t: v.listTypes()),
    'listProcesses': ((VIEW_WORKERS,), lambda v, t: v.listProcesses()),
    'listEndedProcesses': ((VIEW_WORKERS,),
                           lambda v, t: v.listEndedProcesses()),
    'listSchedules': ((VIEW_WORKERS,), lambda v, t: v.listSchedules()),
    'getHours': ((VIEW_WORKERS,), lambda v, t: v.getHours()),
    'listProblems': ((VIEW_WORKERS,), lambda v, t: v.listProblems()),
    'getThresholds': ((MANAGE_WORKERS,), lambda v, t: v.getThresholds()),
    'changeThresholds': ((MANAGE_WORKERS,), lambda v, t: v.changeThresholds(
        {'busy_after': 700.0})),
    'listActions': ((VIEW_WORKERS,), lambda v, t: v.listActions()),
    'getDetails': ((VIEW_DETAILS,), lambda v, t: v.getDetails(t.waiting)),
    'getStack': ((VIEW_DETAILS,), lambda v, t: v.getStack(t.waiting)),
    'getSite': ((), lambda v, t: v.getSite()),
    'queryWorkerType': ((START_WORKERS,),
                        lambda v, t: v.queryWorkerType('work')),
    'mayStart': ((), lambda v, t: v.mayStart('work')),
    'startByPrincipal': ((START_WORKERS, OF_TYPE),
                         lambda v, t: v.startByPrincipal('work')),
    'startOnce': ((START_WORKERS, OF_TYPE),
                  lambda v, t: v.startOnce(0.0, 'work')),
    'requestStop': ((STOP_WORKERS,), lambda v, t: v.requestStop(t.waiting)),
    'mayStop': ((), lambda v, t: v.mayStop(t.waiting)),
    'getOwnStatus': ((), lambda v, t: v.getOwnStatus(t.waiting)),
    'retry': ((MANAGE_WORKERS, OF_TYPE), lambda v, t: v.retry(t.failed)),
    'mayRetry': ((), lambda v, t: v.mayRetry(t.failed)),
    'beginNow': ((MANAGE_WORKERS,), lambda v, t: v.beginNow(t.delayed)),
    'remove': ((MANAGE_WORKERS,), lambda v, t: v.remove(t.failed)),
    'actOnRuns': ((MANAGE_WORKERS,),
                  lambda v, t: v.actOnRuns('remove', [t.failed])),
    'pauseType': ((MANAGE_WORKERS,), lambda v, t: v.pauseType('work')),
    'pauseSchedule': ((MANAGE_WORKERS,), lambda v, t: v.pauseSchedule('s')),
    'runSchedule': ((MANAGE_WORKERS, OF_TYPE),
                    lambda v, t: v.runSchedule('s')),
    'mayRunSchedule': ((), lambda v, t: v.mayRunSchedule('s')),
    'quietProcess': ((MANAGE_WORKERS,), lambda v, t: v.quietProcess(PROCESS)),
    'drainProcess': ((MANAGE_WORKERS,), lambda v, t: v.drainProcess(PROCESS)),
    'adoptDatabase': ((MANAGE_WORKERS,),
                      lambda v, t: v.adoptDatabase(PROCESS)),
    'beginKept': ((MANAGE_WORKERS,), lambda v, t: v.beginKept()),
    'removeKept': ((MANAGE_WORKERS,), lambda v, t: v.removeKept()),
}
READS = {'may', 'mayStop', 'getOwnStatus', 'get', 'getStatus', 'getFamily',
         'getHealth', 'listErrors', 'getHistory', 'getContext', 'listRuns',
         'getCounts', 'getWorkerTypes', 'listTypes', 'listProcesses',
         'listEndedProcesses', 'listSchedules', 'getHours', 'listProblems',
         'getThresholds', 'listActions', 'getDetails', 'getStack', 'getSite',
         'queryWorkerType', 'mayStart', 'mayRetry', 'mayRunSchedule'}


class VerbTests(SiteTests):
    """A registry without proxies; bob is given permissions one by one."""

    def setUp(self):
        super().setUp()
        self.grant = Grants(self)
        declareWorker('work', lambda worker: None, permission=OF_TYPE)
        declareWorker('later', lambda worker: None)
        provideUtility(Schedule('s', 'work', every=60.0), ISchedule, 's')
        self.waiting = self.registry.start('work').id
        failed = self.registry.addRun('work')
        self.registry.finish(failed, FAILED, RunFailedEvent)
        self.failed = failed.id
        self.directory = getDirectory(self.connection)
        self.directory.processes[PROCESS] = ProcessRecord(
            PROCESS, 'host', 1, None, None, 4, 90.0, 0.0)
        self.directory.processes[PROCESS].copied = 'place', None, None
        keepBack(self.registry)
        # What is started from now on is not kept back.
        self.delayed = self.registry.submit('later', delay=60.0).id
        transaction.commit()
        self.verbs = verbs.of(self.registry)
        login('bob')

    def changes(self, call):
        """Return whether *call* changes anything; it is taken back."""
        savepoint = transaction.savepoint()
        try:
            call(self.verbs, self)
            return bool(self.connection._registered_objects)
        finally:
            savepoint.rollback()
            transaction.abort()

    def test_it_provides_its_interface(self):
        verifyObject(IVerbs, self.verbs)

    def test_every_verb_is_walked(self):
        self.assertEqual(set(CALLS), set(IVerbs))
        public = {name for name in vars(verbs.Verbs)
                  if not name.startswith('_')}
        self.assertEqual(public, set(IVerbs))

    def test_every_verb_asks_for_its_permissions(self):
        for name, (needed, call) in CALLS.items():
            for missing in needed or (None,):
                with self.subTest(verb=name, missing=missing):
                    self.grant.clear()
                    self.grant('bob', self.site, *(
                        set(PERMISSIONS) - {missing}))
                    if missing is None:
                        call(self.verbs, self)
                        continue
                    with self.assertRaises(Unauthorized):
                        call(self.verbs, self)
                    self.assertEqual(self.connection._registered_objects, [])

    def test_every_verb_needs_no_other_permission(self):
        for name, (needed, call) in CALLS.items():
            with self.subTest(verb=name):
                self.grant.clear()
                self.grant('bob', self.site, *needed)
                self.assertEqual(self.changes(call), name not in READS)

    def test_no_verb_is_for_nobody(self):
        endInteraction()
        for name, (_needed, call) in CALLS.items():
            if name == 'getSite':
                continue
            with self.subTest(verb=name):
                with self.assertRaises(NoInteraction):
                    call(self.verbs, self)
        self.assertEqual(self.connection._registered_objects, [])

    def test_it_is_as_safe_around_a_proxied_registry(self):
        declare(SECURITY)
        self.verbs = verbs.of(ProxyFactory(self.registry))
        self.test_every_verb_asks_for_its_permissions()
        self.test_every_verb_needs_no_other_permission()

    def test_second_wall_asks_the_same(self):
        declare(SECURITY)
        wall = getChecker(ProxyFactory(self.registry)).get_permissions
        other_names = {'retry': 'retryByPrincipal',
                       'runSchedule': 'runScheduleByPrincipal'}
        forbidden = {'quietProcess', 'drainProcess', 'adoptDatabase',
                     'queryWorkerType'}
        for name in set(CALLS) - forbidden:
            if name in verbs.RIGHTS:
                permission, _ = verbs.RIGHTS[name]
                self.assertEqual(
                    wall[other_names.get(name, name)], permission, name)
        self.assertEqual(forbidden & set(wall), set())

    def test_may_says_what_would_be_permitted(self):
        self.assertLess(set(verbs.RIGHTS), set(CALLS))
        for name in verbs.RIGHTS:
            for permission in PERMISSIONS:
                self.grant.clear()
                self.grant('bob', self.site, permission)
                self.assertEqual(
                    self.verbs.may(name), permission == CALLS[name][0][0],
                    (name, permission))

    def test_acts_on_many_ask_for_the_permission_of_each_verb(self):
        declareWorker('easy', lambda worker: None)
        self.assertEqual(set(verbs.ON_RUNS),
                         {'begin', 'stop', 'retry', 'remove'})
        for verb, needed in verbs.ON_RUNS.items():
            for permission in set(PERMISSIONS) - {OF_TYPE}:
                self.grant.clear()
                self.grant('bob', self.site, permission, OF_TYPE)
                with self.subTest(verb=verb, permission=permission):
                    if permission != needed:
                        with self.assertRaises(Unauthorized):
                            self.verbs.actOnRuns(verb, [self.failed])
                        continue
                    ids = [self.waiting, self.failed, '9-9']
                    changed = self.waiting if verb == 'stop' else self.failed
                    if verb == 'begin':
                        changed = self.delayed
                        ids.append(changed)
                    self.assertEqual(
                        self.verbs.actOnRuns(verb, ids), [changed])
                    transaction.abort()

    def test_retry_of_many_leaves_out_what_is_not_permitted(self):
        declareWorker('easy', lambda worker: None)
        easy = self.registry.addRun('easy')
        self.registry.finish(easy, FAILED, RunFailedEvent)
        self.grant('bob', self.site, MANAGE_WORKERS, START_WORKERS)
        self.assertEqual(self.verbs.actOnRuns(
            'retry', [self.failed, easy.id]), [easy.id])
        self.assertFalse(self.verbs.mayRetry(self.failed))
        self.assertTrue(self.verbs.mayRetry(easy.id))

    def test_type_is_asked_on_the_context_of_the_run(self):
        self.grant('bob', self.site, MANAGE_WORKERS)
        document = self.addDocument()
        about = self.registry.addRun(
            'work', reference=self.registry._refer(document))
        self.registry.finish(about, FAILED, RunFailedEvent)
        transaction.commit()
        with self.assertRaises(Unauthorized):
            self.verbs.retry(about.id)
        self.grant('bob', document, OF_TYPE)
        run = self.verbs.retry(about.id)
        self.assertEqual((run.permission, run.asker), (OF_TYPE, 'bob'))
        with self.assertRaises(Unauthorized):
            self.verbs.retry(self.failed)

    def test_schedule_that_is_run_now_asks_again_later(self):
        self.grant('bob', self.site, MANAGE_WORKERS, OF_TYPE)
        self.assertTrue(self.verbs.mayRunSchedule('s'))
        run = self.verbs.runSchedule('s')
        self.assertEqual((run.permission, run.starter), (OF_TYPE, 'bob'))

    def test_schedule_is_run_by_nobody_who_may_not_start_its_type(
            self):
        self.grant('bob', self.site, MANAGE_WORKERS, START_WORKERS)
        self.assertFalse(self.verbs.mayRunSchedule('s'))
        with self.assertRaises(Unauthorized):
            self.verbs.runSchedule('s')
        self.assertEqual(self.connection._registered_objects, [])

    def test_type_that_may_not_be_seen_is_started_by_nobody(self):
        declareWorker('audit', lambda worker: None, permission=OF_TYPE,
                      view_permission='test.Audit')
        self.grant('bob', self.site, START_WORKERS, OF_TYPE)
        self.assertIsNone(self.verbs.queryWorkerType('audit'))
        self.assertFalse(self.verbs.mayStart('audit'))
        for call in (lambda: self.verbs.startByPrincipal('audit'),
                     lambda: self.verbs.startOnce(0.0, 'audit'),
                     lambda: self.verbs.startByPrincipal('unknown'),
                     lambda: self.verbs.startByPrincipal(None)):
            with self.assertRaises(UnknownWorkerType):
                call()
        self.grant('bob', self.site, 'test.Audit')
        self.verbs.startByPrincipal('audit')

    def test_people_start_no_more_where_too_many_wait(self):
        self.grant('bob', self.site, START_WORKERS, OF_TYPE)
        self.addCleanup(setattr, verbs, 'WAITING_LIMIT', verbs.WAITING_LIMIT)
        verbs.WAITING_LIMIT = 2
        self.verbs.startByPrincipal('work')
        with self.assertRaises(TooManyWaiting) as caught:
            self.verbs.startOnce(0.0, 'work')
        self.assertIn('expected fewer than 2 waiting runs',
                      str(caught.exception))

    def test_objects_of_the_application_have_a_proxy(self):
        self.grant('bob', self.site, VIEW_WORKERS)
        document = self.addDocument()
        run = self.registry.start('work', document)
        for found, ob in ((self.verbs.getContext(run.id), document),
                          (self.verbs.getSite(), self.site)):
            self.assertIs(removeSecurityProxy(found), ob)
            self.assertIsNot(type(found), type(ob))


class ProcessVerbTests(SiteTests):
    """A process serves all registries: who acts on it needs rights on all."""

    def setUp(self):
        super().setUp()
        self.grant = Grants(self)
        self.directory = getDirectory(self.connection)
        self.record = self.directory.processes[PROCESS] = ProcessRecord(
            PROCESS, 'host', 1, None, None, 4, 90.0, 0.0)
        self.sites = {'root': self.site}
        self.registries = {'root': self.registry}
        for name in 'a', 'b':
            site = self.site[name] = Folder()
            site.setSiteManager(LocalSiteManager(site))
            self.sites[name] = site
            transaction.commit()
            self.registries[name] = addRegistry(site)
        transaction.commit()
        declareWorker('work', lambda worker: None)
        login('bob')

    def acts(self):
        yield lambda v: v.quietProcess(PROCESS)
        yield lambda v: v.quietProcess(PROCESS, False)
        yield lambda v: v.drainProcess(PROCESS)

    def test_rights_on_one_site_are_not_enough(self):
        self.grant('bob', self.sites['a'], VIEW_WORKERS, MANAGE_WORKERS)
        mine = verbs.of(self.registries['a'])
        self.assertFalse(mine.may('drainProcess'))
        self.assertFalse(mine.may('quietProcess'))
        self.assertTrue(mine.may('pauseType'))
        for act in self.acts():
            with self.assertRaises(Unauthorized):
                act(mine)
        self.assertFalse(self.record.request.is_draining)

    def test_rights_on_the_root_are(self):
        self.grant('bob', self.site, MANAGE_WORKERS)
        for name in 'root', 'a', 'b':
            mine = verbs.of(self.registries[name])
            self.assertTrue(mine.may('drainProcess'))
            mine.quietProcess(PROCESS)
            mine.quietProcess(PROCESS, False)
        mine.drainProcess(PROCESS)
        self.assertTrue(self.record.request.is_draining)

    def test_rights_on_one_of_two_applications_are_not_enough(self):
        other = self.connection.root()['Other'] = rootFolder()
        other.setSiteManager(LocalSiteManager(other))
        transaction.commit()
        addRegistry(other)
        transaction.commit()
        self.grant('bob', self.site, MANAGE_WORKERS)
        mine = verbs.of(self.registry)
        self.assertFalse(mine.may('drainProcess'))
        self.grant('bob', other, MANAGE_WORKERS)
        self.assertTrue(mine.may('drainProcess'))

    def test_acts_are_in_each_journal_and_kept_once(self):
        self.grant('bob', self.site, VIEW_WORKERS, MANAGE_WORKERS)
        for act in self.acts():
            act(verbs.of(self.registries['a']))
        self.registries['b'].pauseType('work')
        for name, registry in self.registries.items():
            acts = [action.verb for action
                    in verbs.of(registry).listActions()[0]]
            self.assertEqual(
                acts, ['pause type'] * (name == 'b') + [
                    'drain process', 'unquiet process', 'quiet process'])
            self.assertEqual(
                len(registry.journal.recent), int(name == 'b'))
        self.assertEqual(len(self.directory.journal.recent), 2)
        self.assertEqual(len(self.directory.journal.lasting), 1)

    def test_pages_of_the_journal_are_of_both(self):
        self.grant('bob', self.site, VIEW_WORKERS, MANAGE_WORKERS)
        clock = self.setClock(1000000.0)
        mine = verbs.of(self.registry)
        expected = []
        for index in range(6):
            declareWorker('work%d' % index, lambda worker: None)
            self.registry.pauseType('work%d' % index)
            clock.advance(4000.0)
            mine.quietProcess(PROCESS, not index % 2)
            clock.advance(index % 2)
            expected += ['work%d' % index, PROCESS]
        found, key = [], None
        while True:
            actions, key = mine.listActions(5, key)
            found += actions
            if key is None:
                break
            self.assertEqual(len(actions), 5)
        # Some have the same time; none is left out or comes twice.
        self.assertCountEqual([action.subject for action in found], expected)
        self.assertEqual(found, sorted(
            found, key=lambda action: action.at, reverse=True))

    def tell(self, *names):
        """Let the process report one run of each of these registries."""
        for name in names:
            registry = self.registries[name]
            run = registry.start('work')
            transaction.commit()
            self.record.live.runs[registry._p_oid, run.id] = (
                0.0, None, '', None)
        transaction.commit()

    def process(self, name):
        process, = verbs.of(self.registries[name]).listProcesses()
        return process.busy, process.is_all_seen

    def test_runs_of_others_are_not_counted(self):
        self.tell('root', 'a', 'b')
        self.grant('bob', self.sites['a'], VIEW_WORKERS)
        self.assertEqual(self.process('a'), (1, False))
        self.grant('bob', self.sites['b'], VIEW_WORKERS)
        self.assertEqual(self.process('a'), (2, False))
        self.grant('bob', self.site, VIEW_WORKERS)
        self.assertEqual(self.process('a'), (3, True))

    def test_runs_of_hidden_types_are_not_counted(self):
        self.tell('root', 'a')
        declareWorker('audit', lambda worker: None,
                      view_permission='test.Audit')
        run = self.registry.start('audit')
        transaction.commit()
        self.record.live.runs[self.registry._p_oid, run.id] = (
            0.0, None, '', None)
        transaction.commit()
        self.grant('bob', self.site, VIEW_WORKERS)
        self.assertEqual(self.process('root'), (2, False))
        self.grant('bob', self.site, 'test.Audit')
        self.assertEqual(self.process('root'), (3, True))

    def test_number_of_a_silent_process_is_of_the_same(self):
        self.tell('root', 'a', 'b')
        self.grant('bob', self.sites['a'], VIEW_WORKERS)
        problem, = [problem for problem in
                    verbs.of(self.registries['a']).listProblems()
                    if problem.kind == 'silent-process']
        self.assertEqual(problem.number, 1)

    def test_where_nobody_asks_all_is_counted(self):
        self.tell('root', 'a', 'b')
        endInteraction()
        process, = self.registries['a'].listProcesses()
        self.assertEqual((process.busy, process.is_all_seen), (3, True))


#: (file, expression) in browser/ that ask a registry itself, and why.
EXEMPT = {
    # The key of the tokens: no page shows it.
    ('csrf.py', 'removeSecurityProxy(registry).secret'),
    # Addresses are those of the site.
    ('traversing.py', 'removeSecurityProxy(self.context).getSite'),
}
#: What has the verbs.
OWNERS = {'self.checked', 'checked', 'IVerbs(self.context)'}


#: Attributes of other things that are called like one of a registry.
OTHERS = {'self.listProcesses', 'self.listTypes', 'self.listRuns',
          'self.getStatus', 'response.getStatus', 'self.secret',
          'status.retry', 'worker_type.keep', 'worker_type.keep_days'}


class BrowserSourceTests(unittest.TestCase):

    def walk(self):
        """Yield (file, node) of each attribute that a registry has as well.
        """
        names = set(IWorkerRegistry) | {
            name for kind in WorkerRegistry.__mro__
            if kind.__module__.startswith('cipher.background')
            for name in vars(kind) if not name.startswith('_')
        } | set(vars(WorkerRegistry()))
        for path in Path(cipher.background.browser.__file__).parent.glob(
                '*.py'):
            for node in ast.walk(ast.parse(path.read_text('utf-8'))):
                if isinstance(node, ast.Attribute) and node.attr in names:
                    yield path.name, node

    def test_pages_ask_nothing_else_of_a_registry(self):
        found = set()
        for name, node in self.walk():
            owner = ast.unparse(node.value)
            if owner in OWNERS:
                continue
            if 'registry' in owner.lower() or 'context' in owner.lower():
                found.add((name, ast.unparse(node)))
        self.assertEqual(found, EXEMPT)

    def test_pages_have_their_data_of_the_verbs(self):
        # What else has the names that a registry has: a request, a dict.
        others = {(name, ast.unparse(node)) for name, node in self.walk()
                  if ast.unparse(node.value) not in OWNERS} - EXEMPT
        methods = {attribute for _name, attribute in others
                   if attribute.rpartition('.')[2] in set(IWorkerRegistry)
                   and not attribute.endswith('.get')}
        self.assertEqual(methods, OTHERS)

    def test_no_page_asks_by_name(self):
        for path in Path(cipher.background.browser.__file__).parent.glob(
                '*.py'):
            for node in ast.walk(ast.parse(path.read_text('utf-8'))):
                if isinstance(node, ast.Call) and ast.unparse(
                        node.func) == 'getattr':
                    owner = ast.unparse(node.args[0])
                    self.assertNotIn('registry', owner.lower(), path)
                    self.assertNotIn('checked', owner.lower(), path)
