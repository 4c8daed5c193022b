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
"""The registry: starting, looking, stopping; without a runtime."""
import time

import transaction
from transaction.interfaces import TransientError
from ZODB.DB import DB
from ZODB.POSException import ConflictError
from zope.component import getGlobalSiteManager
from zope.component import provideUtility
from zope.interface import Interface
from zope.interface.verify import verifyObject
from zope.schema import Int
from zope.schema import List
from zope.security.checker import ProxyFactory
from zope.security.interfaces import NoInteraction
from zope.security.interfaces import Unauthorized
from zope.security.management import endInteraction
from zope.security.management import setSecurityPolicy
from zope.security.proxy import removeSecurityProxy
from zope.security.simplepolicies import ParanoidSecurityPolicy

from cipher.background.declarations.schedule import Schedule
from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import InvalidContext
from cipher.background.interfaces import InvalidInput
from cipher.background.interfaces import IRunCreatedEvent
from cipher.background.interfaces import IRunDetails
from cipher.background.interfaces import IRunPage
from cipher.background.interfaces import IRunStatus
from cipher.background.interfaces import IRunStoppedEvent
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import IWorkerRegistry
from cipher.background.interfaces import IWorkerRun
from cipher.background.interfaces import RegistryNotFound
from cipher.background.interfaces import RunNotFound
from cipher.background.interfaces import RunNotStoppable
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.registry.registry import WorkerRegistry
from cipher.background.registry.uniqueness import STALE_FOR
from cipher.background.registry.uniqueness import staleKeys
from cipher.background.store.process import ProcessRecord
from cipher.background.store.process import getDirectory
from cipher.background.testing import SetClock
from cipher.background.tests.support.sites import SECURITY
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import declare
from cipher.background.tests.support.sites import login
from cipher.background.tests.support.sites import makeSite


PREFIX = 'cipher.background.'


class IAmounts(Interface):

    amounts = List(title="Amounts", value_type=Int(), required=False)
    name = Int(title="Named as an argument of start", default=1)


def work(worker, **input):
    """Does nothing."""


class RegistryCase(SiteTests):

    def setUp(self):
        super().setUp()
        declare(SECURITY + '''
            <background:worker name="plain" handler="{0}.work" />
            <background:worker name="count" handler="{0}.work"
                schema="{0}.IAmounts" />
            <background:worker name="guarded" handler="{0}.work"
                permission="cipher.background.ManageWorkers" />
            '''.format(__name__))

    def ids(self, **options):
        return [status.id for status
                in self.registry.listRuns(**options).items]


class StartTests(RegistryCase):

    def test_id_is_known_at_once(self):
        run = self.registry.start('plain')
        self.assertRegex(run.id, r'^\d+-1$')
        self.assertEqual((run.state, run.type), (PENDING, 'plain'))
        verifyObject(IWorkerRun, run)
        transaction.commit()
        self.assertIs(self.registry.get(run.id), run)

    def test_abort_takes_the_run_back(self):
        run_id = self.registry.start('plain').id
        transaction.abort()
        self.assertIsNone(self.registry.get(run_id))
        self.assertEqual(self.registry.getCounts(), {})

    def test_savepoint_rollback_takes_the_run_back(self):
        savepoint = transaction.savepoint()
        run_id = self.registry.start('plain').id
        savepoint.rollback()
        transaction.commit()
        self.assertIsNone(self.registry.get(run_id))
        self.assertEqual(self.ids(), [])

    def test_request_that_is_tried_again_leaves_one_run(self):
        root = self.connection.root()
        tries = []

        def request():
            transaction.begin()
            tries.append(self.registry.start('plain').id)
            root['contended'] = len(tries)
            if len(tries) == 1:
                self.disturb()
            transaction.commit()

        with self.assertRaises(TransientError):
            request()
        transaction.abort()
        request()
        self.assertEqual(len(self.ids()), 1)
        self.assertEqual(self.ids(), tries[1:])

    def disturb(self):
        manager = transaction.TransactionManager()
        connection = self.db.open(transaction_manager=manager)
        connection.root()['contended'] = 'by another'
        manager.commit()
        connection.close()

    def test_input_is_kept_as_a_clean_copy(self):
        amounts = [1, 2]
        run = self.registry.start(
            'count', amounts=ProxyFactory(amounts), name=5)
        amounts.append(3)
        transaction.commit()
        self.assertEqual(self.registry.getDetails(run.id).input,
                         {'amounts': [1, 2], 'name': 5})
        self.assertIs(type(run.input['amounts']), list)

    def test_context_may_be_given_by_place_and_by_name(self):
        document = self.addDocument()
        for run in (self.registry.start('plain', document),
                    self.registry.start('plain', context=document),
                    self.registry.start('plain', ProxyFactory(document))):
            self.assertIs(run.context, document)
            self.assertIs(self.registry.getContext(run.id), document)

    def test_run_without_a_context_has_none(self):
        run = self.registry.start('plain')
        self.assertIsNone(self.registry.getContext(run.id))

    def test_starter_is_the_principal(self):
        self.assertIsNone(self.registry.start('plain').starter)
        login('bob')
        self.assertEqual(self.registry.start('plain').starter, 'bob')

    def test_event_tells_of_the_run(self):
        told = []
        getGlobalSiteManager().registerHandler(told.append,
                                               (IRunCreatedEvent,))
        run = self.registry.start('plain')
        event, = told
        self.assertIs(event.object, run)
        self.assertIs(event.registry, self.registry)

    def test_registry_that_is_not_stored_yet_takes_runs(self):
        registry = WorkerRegistry()
        run = registry.start('plain')
        self.assertIs(registry.get(run.id), run)
        with self.assertRaises(InvalidContext):
            registry.start('plain', self.site)


class RefusedStartTests(RegistryCase):

    def refuse(self, error, *args, **input):
        with self.assertRaises(error) as caught:
            self.registry.start(*args, **input)
        # Nothing half-done.
        self.assertEqual(self.connection._registered_objects, [])
        self.assertEqual(self.ids(), [])
        transaction.commit()
        return str(caught.exception)

    def test_unknown_worker_is_refused(self):
        self.assertIn("'nothing'", self.refuse(UnknownWorkerType, 'nothing'))

    def test_unknown_and_wrong_input_is_refused(self):
        self.assertIn("'amount'", self.refuse(
            InvalidInput, 'count', amount=1))
        self.assertIn("'amounts'", self.refuse(
            InvalidInput, 'count', amounts=['1']))
        self.assertIn("'name'", self.refuse(InvalidInput, 'count', name=None))

    def test_context_without_a_place_is_refused(self):
        self.refuse(InvalidContext, 'plain', Document())
        self.refuse(InvalidContext, 'plain', 'no object')

    def test_context_of_another_database_is_refused(self):
        db = DB(None)
        self.addCleanup(db.close)
        manager = transaction.TransactionManager()
        connection, site, _ = makeSite(db, manager=manager)
        self.addCleanup(connection.close)
        self.refuse(InvalidContext, 'plain', site)

    def test_error_of_a_subscriber_fails_the_start(self):
        def fail(event):
            raise KeyError('no')
        getGlobalSiteManager().registerHandler(fail, (IRunCreatedEvent,))
        with self.assertRaises(KeyError):
            self.registry.start('plain')


class PrincipalTests(RegistryCase):

    def setUp(self):
        super().setUp()
        granted = self.granted = set()
        asked = self.asked = []

        class Policy(ParanoidSecurityPolicy):

            def checkPermission(self, permission, object):
                asked.append((permission, removeSecurityProxy(object)))
                return permission in granted

        self.addCleanup(setSecurityPolicy, setSecurityPolicy(Policy))

    def test_no_interaction_is_refused(self):
        with self.assertRaises(NoInteraction):
            self.registry.startByPrincipal('plain')
        self.assertEqual(self.ids(), [])

    def test_permission_of_the_type_is_needed(self):
        login('bob')
        self.granted.add(PREFIX + 'StartWorkers')
        self.registry.startByPrincipal('plain')
        with self.assertRaises(Unauthorized):
            self.registry.startByPrincipal('guarded')
        self.granted.add(PREFIX + 'ManageWorkers')
        run = self.registry.startByPrincipal('guarded')
        self.assertEqual(run.starter, 'bob')
        self.assertEqual(run.permission, PREFIX + 'ManageWorkers')
        self.assertEqual(len(self.ids()), 2)

    def test_permission_is_asked_on_the_context_else_on_the_site(self):
        login('bob')
        self.granted.add(PREFIX + 'StartWorkers')
        document = self.addDocument()
        self.registry.startByPrincipal('plain', document)
        self.registry.startByPrincipal('plain')
        self.assertEqual(self.asked, [
            (PREFIX + 'StartWorkers', document),
            (PREFIX + 'StartWorkers', self.site)])

    def startOnce(self, since, registry=None):
        return (registry or self.registry).startOnce(
            since, 'plain', input={})

    def test_two_at_a_time_start_one(self):
        self.granted.add(PREFIX + 'StartWorkers')
        login('bob')
        since = time.time()
        manager = transaction.TransactionManager()
        connection = self.db.open(manager)
        self.addCleanup(connection.close)
        self.addCleanup(manager.abort)
        other = connection.get(self.registry._p_oid)
        manager.begin()
        self.startOnce(since, other)
        run = self.startOnce(since)
        transaction.commit()
        with self.assertRaises(ConflictError):
            manager.commit()
        manager.abort()
        self.assertEqual(self.startOnce(since, other).id, run.id)
        manager.commit()
        login('alice')
        self.assertNotEqual(self.startOnce(since).id, run.id)
        transaction.commit()
        # A claim of a form is kept when its run is over, for a day.
        self.registry.requestStop(run.id)
        transaction.commit()
        seen = {}

        def stale():
            found, begin = [], 0
            while begin is not None:
                keys, begin = staleKeys(self.registry, 100, begin, seen)
                found += keys
            return found

        self.assertEqual(stale(), [])
        with SetClock() as clock:
            clock.advance(86500)
            self.assertEqual(stale(), [])
            clock.advance(STALE_FOR + 1)   # it still is so
            self.assertEqual(len(stale()), 1)

    def test_trusted_start_asks_nobody_and_checks_nothing_later(self):
        login('bob')
        self.assertIsNone(self.registry.start('guarded').permission)
        self.assertEqual(self.asked, [])

    def test_each_method_needs_its_permission(self):
        run_id = self.registry.start('plain').id
        failed = self.registry.addRun('plain')
        self.registry.finish(failed, FAILED, RunFailedEvent)
        provideUtility(Schedule('s', 'plain', every=60.0), ISchedule, 's')
        self.registry.pauseType('plain')
        getDirectory(self.connection).processes['p:1:x'] = ProcessRecord(
            'p:1:x', 'p', 1, None, None, 4, 90.0, 0.0)
        transaction.commit()
        login('bob')
        calls = (
            ('ViewWorkers', lambda r: r.get(run_id).id),
            ('ViewWorkers', lambda r: r.getStatus(run_id).state),
            ('ViewWorkers', lambda r: r.getContext(run_id)),
            ('ViewWorkers', lambda r: r.listRuns().items),
            ('ViewWorkers', lambda r: r.getCounts()),
            ('ViewWorkers', lambda r: r.listProcesses()),
            ('ViewWorkers', lambda r: r.getSite()),
            ('ViewWorkers', lambda r: [p.id for p in r.listProcesses()]),
            ('ViewWorkers', lambda r: [s.is_late
                                       for s in r.listSchedules()]),
            ('ViewWorkers', lambda r: [t.counts for t in r.listTypes()]),
            ('ViewWorkers', lambda r: r.getActivity().day.counts),
            ('ViewWorkers', lambda r: [p.kind
                                       for p in r.listProblems()]),
            ('ViewWorkers', lambda r: [a.verb
                                       for a in r.listActions()[0]]),
            ('ViewDetails', lambda r: r.getDetails(run_id).input),
            ('ViewDetails', lambda r: r.getStack(run_id)),
            ('StartWorkers', lambda r: r.startByPrincipal('plain')),
            ('StopWorkers', lambda r: r.requestStop(run_id)),
            ('ManageWorkers', lambda r: r.pauseType('plain', False)),
            ('ManageWorkers', lambda r: r.pauseSchedule('s')),
            # These two ask for that of the type as well.
            ('ManageWorkers StartWorkers',
             lambda r: r.runScheduleByPrincipal('s')),
            ('ManageWorkers StartWorkers',
             lambda r: r.retryByPrincipal(failed.id)),
            ('ManageWorkers', lambda r: r.remove(failed.id)))
        everything = {PREFIX + name for name in (
            'ViewWorkers', 'ViewDetails', 'StartWorkers', 'StopWorkers',
            'ManageWorkers')}
        for number, (permissions, call) in enumerate(calls):
            needed = {PREFIX + name for name in permissions.split()}
            with self.subTest(number=number, permissions=permissions):
                registry = ProxyFactory(self.registry)
                login('bob')
                for permission in needed:
                    self.granted.clear()
                    self.granted.update(everything - {permission})
                    with self.assertRaises(Unauthorized):
                        call(registry)
                self.granted.clear()
                self.granted.update(needed)
                call(registry)
                self.granted.update(everything)
                endInteraction()
                # An AttributeError is how zope.security says that there is
                # no interaction.
                with self.assertRaises((NoInteraction, AttributeError)):
                    call(registry)

    def test_retry_is_shown_to_whoever_sees_runs(self):
        old = self.registry.addRun('plain')
        self.registry.finish(old, FAILED, RunFailedEvent)
        run_id = self.registry.retry(old.id, 'why not').id
        transaction.commit()
        login('bob')
        self.granted.add(PREFIX + 'ViewWorkers')
        registry = ProxyFactory(self.registry)
        self.assertEqual(registry.get(old.id).retried_as, run_id)
        for run in registry.get(run_id), registry.getStatus(run_id):
            self.assertEqual((run.retry.run_id, run.retry.reason),
                             (old.id, 'why not'))

    def test_what_is_for_trusted_code_only_is_forbidden(self):
        login('bob')
        registry = ProxyFactory(self.registry)
        for permission in ('View', 'Start', 'Stop', 'Manage'):
            self.granted.add(PREFIX + permission + 'Workers')
        for name in (
                'start', 'submit', 'secret', 'lanes', 'stops', 'addRun',
                'finish', 'checkOut', 'pauses', 'removed_by_hand', 'journal',
                '_p_jar', 'retry', 'runSchedule', 'actOnRuns', 'permit',
                'quietProcess', 'drainProcess'):
            with self.subTest(name=name):
                # ForbiddenAttribute is an AttributeError.
                with self.assertRaises(AttributeError):
                    getattr(registry, name)

    def test_run_shows_neither_its_input_nor_its_details(self):
        login('bob')
        self.granted.update((PREFIX + 'ViewWorkers', PREFIX + 'ViewDetails'))
        run = ProxyFactory(self.registry).get(self.registry.start('plain').id)
        for name in ('input', 'details', 'reference', 'cursor', 'retry_of',
                     'retried', 'change', 'putBack'):
            with self.assertRaises(AttributeError):
                getattr(run, name)


class LookTests(RegistryCase):

    def test_registry_provides_its_interface(self):
        verifyObject(IWorkerRegistry, self.registry)
        run = self.registry.start('plain')
        page = self.registry.listRuns()
        verifyObject(IRunPage, page)
        verifyObject(IRunStatus, page.items[0])
        verifyObject(IRunDetails, self.registry.getDetails(run.id))

    def test_wrong_ids_lead_to_nothing(self):
        self.registry.start('plain')
        for run_id in ('', '1', '1-', '-1', '1-0', '9-1', '1-99', '01--1',
                       '\u0661-1', ' 1-1', '1-1\n', '1' * 100 + '-1', None, 1,
                       b'1-1', ('1', '1'), '../1-1'):
            with self.subTest(run_id=run_id):
                self.assertIsNone(self.registry.get(run_id))
                self.assertEqual(self.registry.get(run_id, 'no'), 'no')
                for name in 'getStatus', 'getDetails', 'getContext', \
                        'requestStop':
                    with self.assertRaises(RunNotFound):
                        getattr(self.registry, name)(run_id)

    def test_status_of_a_pending_run(self):
        login('bob')
        run = self.registry.start('plain')
        status = self.registry.getStatus(run.id)
        self.assertEqual(
            (status.id, status.type, status.title, status.state,
             status.starter, status.started_at, status.attempts,
             status.is_declared, status.is_stoppable, status.stop),
            (run.id, 'plain', 'plain', PENDING, 'bob', None, 0, True, True,
             None))

    def test_details_are_copies(self):
        run = self.registry.start('count', amounts=[1])
        self.registry.getDetails(run.id).input.clear()
        self.assertEqual(run.input, {'amounts': [1], 'name': 1})

    def test_list_restricts_by_state_type_and_context(self):
        first, second = self.addDocument('a'), self.addDocument('b')
        plain = self.registry.start('plain', first)
        count = self.registry.start('count', second)
        self.registry.requestStop(plain.id)
        transaction.commit()
        self.assertEqual(self.ids(), [count.id, plain.id])
        self.assertEqual(self.ids(states=[STOPPED]), [plain.id])
        self.assertEqual(self.ids(states=[PENDING]), [count.id])
        self.assertEqual(self.ids(types=['plain']), [plain.id])
        self.assertEqual(self.ids(contexts=[second]), [count.id])
        self.assertEqual(self.ids(contexts=[ProxyFactory(first)]), [plain.id])
        self.assertEqual(
            self.ids(contexts=[first], types=['count']), [])

    def test_list_of_an_object_that_is_not_stored_is_empty(self):
        self.registry.start('plain', self.addDocument())
        self.registry.start('plain')
        self.assertEqual(self.ids(contexts=[Document()]), [])

    def test_counts_tell_types_and_states(self):
        runs = [self.registry.start('plain') for _ in range(3)]
        self.registry.start('count')
        self.registry.requestStop(runs[0].id)
        self.assertEqual(self.registry.getCounts(), {
            'plain': {PENDING: 2, STOPPED: 1}, 'count': {PENDING: 1}})

    def test_site_is_found_and_its_lack_told(self):
        self.assertIs(self.registry.getSite(), self.site)
        with self.assertRaises(RegistryNotFound):
            WorkerRegistry().getSite()


class StopTests(RegistryCase):

    def test_pending_run_is_stopped_with_the_commit(self):
        run = self.registry.start('plain')
        transaction.commit()
        login('bob')
        self.assertEqual(self.registry.requestStop(run.id, 'why\nnot'),
                         STOPPED)
        transaction.abort()
        self.assertEqual(run.state, PENDING)
        self.registry.requestStop(run.id, 'why\nnot')
        transaction.commit()
        status = self.registry.getStatus(run.id)
        self.assertEqual((status.state, status.is_stoppable),
                         (STOPPED, False))
        self.assertEqual((status.stop.principal, status.stop.reason),
                         ('bob', 'why not'))
        self.assertIsNotNone(status.finished_at)

    def test_requestStop_after_finish_is_refused(self):
        run = self.registry.start('plain')
        self.registry.requestStop(run.id)
        with self.assertRaises(RunNotStoppable) as caught:
            self.registry.requestStop(run.id)
        self.assertIn("'stopped'", str(caught.exception))

    def test_stop_of_a_running_run_is_stored_and_the_first_stays(self):
        run = self.registry.start('plain')
        run.claim('host:1:x', run.created_at, False)
        login('bob')
        self.assertEqual(self.registry.requestStop(run.id, 'a'), 'running')
        login('eve')
        self.assertEqual(self.registry.requestStop(run.id, 'b'), 'running')
        transaction.commit()
        status = self.registry.getStatus(run.id)
        self.assertEqual((status.stop.principal, status.stop.reason),
                         ('bob', 'a'))
        self.assertFalse(status.is_stoppable)

    def test_event_tells_of_the_stop(self):
        told = []
        getGlobalSiteManager().registerHandler(told.append,
                                               (IRunStoppedEvent,))
        run = self.registry.start('plain')
        self.registry.requestStop(run.id)
        self.assertEqual([event.object for event in told], [run])
