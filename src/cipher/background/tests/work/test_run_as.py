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
"""Whose permissions the work has: ``run_as``."""
import itertools

import transaction
from zope.authentication.interfaces import IAuthentication
from zope.authentication.interfaces import PrincipalLookupError
from zope.component import getGlobalSiteManager
from zope.component import getUtility
from zope.component import provideUtility
from zope.component.hooks import getSite
from zope.configuration.exceptions import ConfigurationError
from zope.interface import implementer
from zope.security.management import endInteraction
from zope.security.management import queryInteraction
from zope.security.management import system_user
from zope.security.management import thread_local

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import IWorkerType
from cipher.background.interfaces import StarterGone
from cipher.background.registry.installation import getRegistry
from cipher.background.testing import runPending
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SECURITY
from cipher.background.tests.support.sites import Principal
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import declare
from cipher.background.tests.support.sites import login


PREFIX = 'cipher.background.'


@implementer(IAuthentication)
class Authentication:
    """Knows some principals."""

    def __init__(self, *ids):
        self.principals = {id: Principal(id) for id in ids}
        self.sites = []   # in which it was asked

    def getPrincipal(self, id):
        self.sites.append(getSite())
        try:
            return self.principals[id]
        except KeyError:
            raise PrincipalLookupError(id) from None


def who():
    """Return the principals of the interaction."""
    return [participation.principal for participation
            in queryInteraction().participations]


class RunAsTests(SiteTests):

    def setUp(self):
        super().setUp()
        self.people = Authentication('ann', 'robot')
        provideUtility(self.people, IAuthentication)
        self.seen = []

    def declare(self, **values):
        declareWorker('work', lambda worker: self.seen.extend(who()),
                      **values)

    def run_once(self, starter='ann'):
        """Start the work as *starter*; return its run after the end."""
        if starter is not None:
            login(starter)
        run = self.registry.start('work')
        transaction.commit()
        endInteraction()
        runPending(self.site)
        return run

    def assertGone(self, starter, text):
        with self.assertRaises(StarterGone):
            self.run_once(starter)
        transaction.begin()
        status, = self.registry.listRuns().items
        self.assertEqual((status.state, status.error_type),
                         (FAILED, 'StarterGone'))
        self.assertIn(text, status.error_text)
        self.assertEqual(self.seen, [])

    def test_starter_by_default(self):
        self.declare()
        run = self.run_once()
        self.assertEqual((run.state, run.starter), (SUCCEEDED, 'ann'))
        self.assertEqual(self.seen, [self.people.principals['ann']])

    def test_principal_is_asked_for_in_the_site_of_the_work(self):
        self.declare()
        self.run_once()
        site, = self.people.sites
        self.assertEqual(site._p_oid, self.site._p_oid)

    def test_authentication_of_the_site_goes_before_the_global_one(self):
        local = Authentication('carl')
        self.site.getSiteManager().registerUtility(local, IAuthentication)
        self.declare()
        self.assertEqual(self.run_once('carl').state, SUCCEEDED)
        self.assertEqual([principal.id for principal in self.seen], ['carl'])

    def test_starter_without_an_interaction_is_the_system(self):
        self.declare()
        run = self.run_once(None)
        self.assertIsNone(run.starter)
        self.assertEqual(self.seen, [system_user])

    def test_starter_without_an_authentication_has_but_an_id(self):
        getGlobalSiteManager().unregisterUtility(
            self.people, IAuthentication)
        self.declare()
        self.run_once()
        self.assertEqual([principal.id for principal in self.seen], ['ann'])

    def test_system(self):
        self.declare(run_as='system')
        run = self.run_once()
        self.assertEqual(run.starter, 'ann')
        self.assertEqual(self.seen, [system_user])

    def test_principal_of_that_id(self):
        self.declare(run_as='robot')
        run = self.run_once()
        self.assertEqual(run.starter, 'ann')
        self.assertEqual(self.seen, [self.people.principals['robot']])

    def test_starter_who_is_gone_fails_the_run(self):
        self.declare()
        self.assertGone('bob', "expected the principal 'bob' to exist")

    def test_principal_of_that_id_who_is_gone_fails_the_run(self):
        self.declare(run_as='nobody')
        self.assertGone('ann', "expected the principal 'nobody' to exist")

    def test_starter_who_is_gone_does_not_matter_to_the_system(self):
        self.declare(run_as='system')
        self.assertEqual(self.run_once('bob').state, SUCCEEDED)

    def test_run_fails_for_good_when_the_starter_is_gone(self):
        self.declare(max_attempts=5)
        self.assertGone('bob', 'start it anew')

    def test_who_acts_is_asked_anew_at_each_run(self):
        self.declare()
        self.run_once()
        del self.people.principals['ann']
        with self.assertRaises(StarterGone):
            self.run_once()
        self.assertEqual(len(self.seen), 1)

    def test_runs_that_follow_have_the_same_person_as_starter(self):
        self.declare()
        declareWorker('first', lambda worker: getRegistry().start('work').id)
        login('ann')
        self.registry.start('first')
        transaction.commit()
        endInteraction()
        first, second = runPending(self.site)
        self.assertEqual((first.starter, second.starter, second.depth),
                         ('ann', 'ann', 1))


class SystemDirectiveTests(SiteTests):
    """``run_as`` gives power: not to whoever may start workers."""

    def declare(self, attributes):
        declare(SECURITY + (
            '<permission id="test.Purge" title="Purge" />'
            '<background:worker name="work" handler="%s.purge" %s />'
            % (__name__, attributes)))
        return getUtility(IWorkerType, 'work')

    def test_it_needs_a_permission_of_its_own(self):
        for run_as, name in itertools.product(
                ('system', 'robot'), ('', 'StartWorkers', 'ViewWorkers',
                                      'ViewDetails', 'StopWorkers')):
            with self.subTest(run_as=run_as, name=name):
                with self.assertRaises(ConfigurationError) as caught:
                    self.declare('run_as="%s" %s' % (
                        run_as, name and 'permission="cipher.background.%s"'
                        % name))
                self.assertIn(
                    "worker 'work': expected a permission of its own for "
                    'run_as="%s", got %r' % (
                        run_as, PREFIX + (name or 'StartWorkers')),
                    str(caught.exception))
                self.assertRegex(str(caught.exception),
                                 r'File "<string>", line \d+')

    def test_with_one_it_is_taken(self):
        for run_as in 'system', 'robot':
            worker_type = self.declare(
                'run_as="%s" permission="test.Purge"' % run_as)
            self.assertEqual((worker_type.run_as, worker_type.permission),
                             (run_as, 'test.Purge'))

    def test_starter_needs_none(self):
        self.assertEqual(self.declare('').run_as, 'starter')


def purge(worker):
    """Do what only the system may do."""


class ThreadTests(LiveTests):
    """In the threads of a runtime nothing of one run is left to the next."""

    settings = dict(LiveTests.settings, threads=1)

    def test_each_run_has_its_own_principal_and_none_is_left(self):
        provideUtility(Authentication('ann', 'robot'), IAuthentication)
        seen = {}

        def look(worker):
            seen[worker.run_id] = [principal.id for principal in who()]

        for name, run_as in (('own', 'starter'), ('robot', 'robot'),
                             ('all', 'system')):
            declareWorker(name, look, run_as=run_as)
        expected = {}
        for starter, name, id in (
                ('ann', 'own', 'ann'), ('ann', 'robot', 'robot'),
                ('robot', 'all', system_user.id),
                ('robot', 'own', 'robot')):
            login(starter)
            run_id = self.start(name)
            endInteraction()
            self.assertEqual(self.waitFinished(run_id).state, SUCCEEDED)
            expected[run_id] = [id]
        self.assertEqual(seen, expected)
        self.assertFalse(hasattr(thread_local, 'interaction'))
