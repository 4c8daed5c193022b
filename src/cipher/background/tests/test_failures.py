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
"""What becomes of a run when its work, or the world around it, fails."""
import threading

import transaction
from persistent import Persistent
from ZODB.POSException import ConflictError
from zope.authentication.interfaces import IAuthentication
from zope.authentication.interfaces import PrincipalLookupError
from zope.component import provideUtility
from zope.component.hooks import getSite
from zope.interface import implementer
from zope.security.management import endInteraction
from zope.security.management import queryInteraction
from zope.security.management import setSecurityPolicy
from zope.security.simplepolicies import PermissiveSecurityPolicy

from cipher.background.interfaces import FAIL
from cipher.background.interfaces import StarterGone
from cipher.background.tests.live_support import LiveTests
from cipher.background.tests.live_support import declareWorker
from cipher.background.tests.live_support import waitUntil
from cipher.background.tests.support import LIMIT
from cipher.background.tests.support import Principal
from cipher.background.tests.support import login
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread


class FailureTests(LiveTests):

    def setUp(self):
        super().setUp()
        self.patch('cipher.background.executors.threads.RETRY_DELAY', 0.02)

    def assertGoesOn(self):
        """Assert that the runtime works, with each of its threads."""
        barrier = threading.Barrier(self.runtime.threads)

        def check(worker):
            barrier.wait(LIMIT)
            assert queryInteraction() is not None

        declareWorker('check', check)
        runs = [self.start('check') for _ in range(self.runtime.threads)]
        for run_id in runs:
            self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def fail(self, work, name='work', error_type=None, **values):
        """Carry out *work*, which fails; return status and details."""
        declareWorker(name, work, **values)
        status = self.carryOut(name)
        self.assertEqual(status.state, 'failed')
        if error_type is not None:
            self.assertEqual(status.error_type, error_type)
        self.assertGoesOn()
        self.begin()
        return status, self.registry.getDetails(status.id)

    def test_fault_21_failing_work(self):
        def work(worker):
            getSite()['counter'].value = 5
            worker.log.info('so far so good')
            raise ValueError('broken')

        status, details = self.fail(work, error_type='ValueError')
        self.assertEqual(status.error_text, 'broken')
        self.assertIn("raise ValueError('broken')", details.traceback)
        self.assertIn('so far so good', details.log)
        self.assertEqual(self.value(), 0)

    def test_fault_23_exits(self):
        for exit in SystemExit, KeyboardInterrupt, GeneratorExit:
            with self.subTest(exit.__name__):
                def work(worker, exit=exit):
                    getSite()['counter'].value = 5
                    raise exit

                self.fail(work, exit.__name__, exit.__name__)
                self.fail(work, exit.__name__ + ' claimed', exit.__name__,
                          on_interrupt=FAIL)
        self.assertEqual(self.value(), 0)

    def test_fault_23_exit_of_a_loop(self):
        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return True

            def doWork(self):
                raise SystemExit

        self.fail(None, factory=Loop, is_loop=True, error_type='SystemExit')

    def test_fault_24_no_memory_and_endless_recursion(self):
        def no_memory(worker):
            raise MemoryError

        def recurse(worker):
            recurse(worker)

        self.fail(no_memory, error_type='MemoryError')
        _, details = self.fail(recurse, 'recurse', 'RecursionError')
        self.assertLess(len(details.traceback), 70000)

    def test_fault_25_object_that_cannot_be_stored(self):
        def work(worker):
            getSite()['counter'].lock = threading.Lock()
            getSite()['counter'].value = 5

        status, details = self.fail(work)
        self.assertIn('lock', status.error_text)
        self.assertEqual(self.value(), 0)

    def test_fault_25_object_of_another_connection(self):
        foreign = self.counter

        def work(worker):
            getSite()['other'] = Holder(foreign)

        self.fail(work, error_type='InvalidObjectReference')

    def test_fault_29_doomed_transaction(self):
        def work(worker):
            getSite()['counter'].value = 5
            transaction.doom()

        self.fail(work, error_type='DoomedTransaction')
        self.assertEqual(self.value(), 0)

    def test_fault_28_work_that_commits_and_fails(self):
        def work(worker):
            getSite()['counter'].value += 1
            transaction.commit()
            getSite()['counter'].value += 10
            raise ValueError

        self.fail(work)
        self.assertEqual(self.value(), 1)

    def test_fault_28_work_that_commits(self):
        def work(worker):
            getSite()['counter'].value += 1
            transaction.commit()
            self.gate.stop()
            getSite()['counter'].value += 1
            transaction.commit()

        declareWorker('work', work)
        run_id = self.start('work')
        self.gate.waitReached()
        # Half of the work is there, the run is not half-marked.
        self.assertEqual(self.value(), 1)
        self.assertEqual(self.registry.get(run_id).state, 'pending')
        self.assertEqual(self.registry.getCounts(), {'work': {'running': 1}})
        self.gate.open()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')
        self.assertEqual(self.value(), 2)

    def test_fault_28_work_that_aborts(self):
        def work(worker):
            getSite()['counter'].value += 1
            transaction.abort()
            getSite()['counter'].value += 10

        declareWorker('work', work)
        self.assertEqual(self.carryOut('work').state, 'succeeded')
        self.assertEqual(self.value(), 10)
        self.assertGoesOn()

    def test_fault_19_conflict_that_the_work_swallows(self):
        def work(worker):
            counter = getSite()['counter']
            counter.value += 10
            other = threading.Thread(target=increment_apart, args=(self.db,))
            other.start()
            other.join(LIMIT)
            try:
                transaction.commit()
            except ConflictError:
                pass

        self.fail(work, error_type='TransactionFailedError')
        self.assertEqual(self.value(), 1)

    def test_fault_49_exceptions_that_cannot_be_told(self):
        class Evil(Exception):
            def __str__(self):
                raise ValueError('no')

            __repr__ = __str__

        class Surrogate(Exception):
            pass

        def evil(worker):
            raise Evil

        def surrogate(worker):
            raise Surrogate('\ud800\0\r\n' + 'x' * 100000)

        status, details = self.fail(evil, error_type='Evil')
        self.assertIn('Evil', details.traceback)
        status, details = self.fail(surrogate, 'surrogate', 'Surrogate')
        self.assertNotIn('\ud800', status.error_text)
        self.assertLess(len(status.error_text), 1000)

    def test_fault_22_errors_of_work_and_cleanup_are_both_recorded(self):
        class Job(BackgroundJob):
            def doWork(self):
                raise ValueError('broken')

            def doCleanup(self):
                raise KeyError('dirty')

        status, details = self.fail(None, factory=Job,
                                    error_type='ValueError')
        self.assertIn('ValueError: broken', details.traceback)
        self.assertIn("KeyError: 'dirty'", details.traceback)

    def test_fault_22_error_of_the_cleanup_alone(self):
        class Job(BackgroundJob):
            def doWork(self):
                getSite()['counter'].value += 1

            def doCleanup(self):
                raise KeyError('dirty')

        declareWorker('work', factory=Job)
        status = self.carryOut('work')
        self.assertEqual(status.state, 'succeeded')
        self.assertIn("KeyError: 'dirty'",
                      self.registry.getDetails(status.id).traceback)
        self.assertEqual(self.value(), 1)

    def test_fault_22_loop_tells_the_error_of_its_work(self):
        class Loop(BackgroundWorkerThread):
            rounds = 1

            def scheduleNextWork(self):
                self.rounds -= 1
                return self.rounds >= 0

            def wait(self, seconds):
                return self.stop_requested

            def doWork(self):
                raise ValueError('broken')

            def doCleanup(self):
                raise KeyError('dirty')

        status, details = self.fail(None, factory=Loop, is_loop=True,
                                    error_type='ValueError')
        self.assertIn("KeyError: 'dirty'", details.log)

    def test_constructor_that_raises(self):
        for base in BackgroundJob, BackgroundWorkerThread:
            for error in ValueError, SystemExit:
                with self.subTest('%s %s' % (base, error)):
                    class Worker(base):
                        def __init__(self, *args, error=error, **kwargs):
                            raise error('broken')

                    self.fail(None, '%s %s' % (base, error), error.__name__,
                              factory=Worker, is_loop=not issubclass(
                                  base, BackgroundJob))

    def test_schedule_that_raises(self):
        for base in BackgroundJob, BackgroundWorkerThread:
            with self.subTest(base.__name__):
                class Worker(base):
                    def scheduleNextWork(self):
                        raise ValueError('broken')

                self.fail(None, base.__name__, 'ValueError', factory=Worker,
                          is_loop=not issubclass(base, BackgroundJob))

    def test_job_that_schedules_nothing_is_done(self):
        class Job(BackgroundJob):
            def scheduleNextWork(self):
                return False

        declareWorker('work', factory=Job)
        self.assertEqual(self.carryOut('work').state, 'succeeded')

    def test_fault_42_no_thread_to_be_had_for_a_loop(self):
        called = threading.Event()

        class Loop(BackgroundWorkerThread):
            refusals = 2

            def scheduleNextWork(self):
                called.set()
                return False

            def start(self):
                if Loop.refusals:
                    Loop.refusals -= 1
                    raise RuntimeError("can't start new thread")
                super().start()

        declareWorker('loop', factory=Loop, is_loop=True)
        status = self.carryOut('loop')
        self.assertTrue(called.is_set())
        self.assertEqual(
            (status.state, status.attempts, status.interruptions),
            ('succeeded', 1, 0))


class Holder(Persistent):
    """Refers to something."""

    def __init__(self, held):
        self.held = held


def increment_apart(db):
    """Add to the counter, in the calling thread's own connection."""
    connection = db.open()
    connection.root()['Application']['counter'].value += 1
    transaction.commit()
    connection.close()


@implementer(IAuthentication)
class Authentication:
    """Knows bob."""

    error = PrincipalLookupError

    def getPrincipal(self, id):
        if id != 'bob':
            raise self.error(id)
        return Principal(id)


class GoneTests(FailureTests):
    """What the run needs is not there any more."""

    def setUp(self):
        super().setUp()
        self.runtime.shutdown()
        self.addCleanup(setSecurityPolicy, setSecurityPolicy(
            PermissiveSecurityPolicy))

    def resume(self):
        self.begin()
        transaction.commit()
        self.runtime = self.startRuntime()

    def assertFails(self, run_id, error_type):
        status = self.waitFinished(run_id)
        self.assertEqual((status.state, status.error_type),
                         ('failed', error_type))
        self.assertEqual(self.value(), 0)
        return status

    def declare_both(self):
        """Declare a job and a loop; return their names."""
        def work(worker):
            getSite()['counter'].value += 1

        class Loop(BackgroundWorkerThread):
            def scheduleNextWork(self):
                return not self.stop_requested

            def doWork(self):
                work(self)

        declareWorker('job', work)
        declareWorker('loop', factory=Loop, is_loop=True)
        return 'job', 'loop'

    def test_fault_20_context_deleted(self):
        for name in self.declare_both():
            for is_packed in False, True:
                with self.subTest('%s %s' % (name, is_packed)):
                    self.begin()
                    self.site['doomed'] = doomed = type(self.counter)()
                    run_id = self.registry.start(name, doomed).id
                    transaction.commit()
                    del self.site['doomed'], doomed
                    transaction.commit()
                    if is_packed:
                        self.db.pack()
                    self.resume()
                    status = self.assertFails(run_id, 'ContextGone')
                    self.assertIn('the context is gone', status.error_text)
                    self.runtime.shutdown()

    def test_fault_20_context_of_a_run_whose_permission_is_checked(self):
        name, _ = self.declare_both()
        login('bob')
        self.begin()
        self.site['doomed'] = doomed = type(self.counter)()
        run_id = self.registry.startByPrincipal(name, doomed).id
        transaction.commit()
        endInteraction()
        del self.site['doomed'], doomed
        transaction.commit()
        setSecurityPolicy(RefusingPolicy)
        self.resume()
        self.assertFails(run_id, 'ContextGone')

    def test_principal_that_is_gone(self):
        provideUtility(Authentication(), IAuthentication)
        for name in self.declare_both():
            with self.subTest(name):
                login('alice')
                run_id = self.start(name)
                endInteraction()
                self.resume()
                status = self.assertFails(run_id, StarterGone.__name__)
                self.assertIn('no such principal', status.error_text)
                self.runtime.shutdown()

    def test_principal_that_is_there(self):
        provideUtility(Authentication(), IAuthentication)
        name, _ = self.declare_both()
        login('bob')
        run_id = self.start(name)
        endInteraction()
        self.resume()
        self.assertEqual(self.waitFinished(run_id).state, 'succeeded')

    def test_authentication_that_exits(self):
        provideUtility(Authentication(), IAuthentication)
        self.patch(__name__ + '.Authentication.error', SystemExit)
        for name in self.declare_both():
            with self.subTest(name):
                login('alice')
                run_id = self.start(name)
                endInteraction()
                self.resume()
                self.assertFails(run_id, 'SystemExit')
                self.assertGoesOn_without_login()
                self.runtime.shutdown()

    def assertGoesOn_without_login(self):
        self.assertGoesOn()

    def test_permission_that_was_revoked(self):
        for name in self.declare_both():
            with self.subTest(name):
                setSecurityPolicy(PermissiveSecurityPolicy)
                login('bob')
                self.begin()
                run_id = self.registry.startByPrincipal(name).id
                trusted = self.registry.start('job').id
                transaction.commit()
                endInteraction()
                setSecurityPolicy(RefusingPolicy)
                self.resume()
                status = self.waitFinished(run_id)
                self.assertEqual((status.state, status.error_type),
                                 ('failed', StarterGone.__name__))
                # Trusted code is not asked.
                self.assertEqual(self.waitFinished(trusted).state,
                                 'succeeded')
                self.runtime.shutdown()

    def remove_site(self):
        from cipher.background.tests.support import makeSite
        manager = transaction.TransactionManager()
        connection, site, registry = makeSite(self.db, 'Other', manager)
        self.addCleanup(connection.close)
        self.addCleanup(manager.abort)
        self.resume()
        return manager, connection, registry

    def test_fault_32_site_removed_before_the_work(self):
        for name in self.declare_both():
            with self.subTest(name):
                manager, connection, registry = self.remove_site()
                manager.begin()
                run = registry.start(name)
                del connection.root()['Other']
                manager.commit()

                def is_finished(run=run, manager=manager):
                    manager.begin()
                    return run.isFinished()

                waitUntil(is_finished)
                self.assertEqual(run.error[0], 'SiteGone')
                self.assertIn('the site is gone', run.error[1])
                self.assertGoesOn()
                self.runtime.shutdown()

    def test_fault_32_registry_removed_from_its_site(self):
        name, _ = self.declare_both()
        manager, connection, registry = self.remove_site()
        manager.begin()
        registry.start(name)
        site = connection.root()['Other']
        site.getSiteManager().unregisterUtility(registry)
        del site.getSiteManager()['background']
        manager.commit()
        self.assertGoesOn()
        waitUntil(lambda: not self.runtime._delayed
                  and not self.runtime.allLive())
        self.assertNotIn('trying again', self.logged.getvalue())

    def test_fault_32_site_removed_and_packed(self):
        name, _ = self.declare_both()
        manager, connection, registry = self.remove_site()
        self.runtime.shutdown()
        manager.begin()
        registry.start(name)
        manager.commit()
        # The runtime knows of the run, and then it is gone.
        self.runtime = self.startRuntime(threads=1, poll=60.0)
        declareWorker('wait', lambda worker: self.gate.stop())
        self.start('wait')
        self.gate.waitReached()
        run = registry.start(name)
        manager.commit()
        waitUntil(lambda: (run.lane, run.serial) and self.runtime.backlog)
        del connection.root()['Other']
        manager.commit()
        self.db.pack()
        self.gate.open()
        self.assertGoesOn()
        self.runtime._keeper.turn(True)
        self.runtime._keeper.beat()
        self.assertEqual(self.runtime._delayed, [])
        self.assertNotIn('trying again', self.logged.getvalue())


class RefusingPolicy(PermissiveSecurityPolicy):
    """Permits nothing."""

    def checkPermission(self, permission, object):
        return False
