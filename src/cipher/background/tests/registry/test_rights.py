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
"""No start, retry or schedule lends anybody the rights of another."""
import itertools

import transaction
from zope.authentication.interfaces import IAuthentication
from zope.component import provideUtility
from zope.component.hooks import getSite
from zope.interface import Interface
from zope.schema import TextLine
from zope.security.interfaces import Unauthorized
from zope.security.management import checkPermission
from zope.security.management import endInteraction
from zope.security.management import system_user

from cipher.background.events import RunFailedEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import NOT_UNIQUE
from cipher.background.interfaces import SUCCEEDED
from cipher.background.interfaces import UNIQUE
from cipher.background.interfaces import StarterGone
from cipher.background.registry.installation import getRegistry
from cipher.background.testing import runPending
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import Grants
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import login
from cipher.background.tests.work.test_run_as import Authentication
from cipher.background.tests.work.test_run_as import who


START = 'test.Start'


class IInput(Interface):
    """Input of the work."""

    title = TextLine(title='Title', default='one')


class RightsMixin:
    """Ann, bob and carl may start and manage; `seen` is who was at work."""

    def setUp(self):
        super().setUp()
        self.grant = Grants(self)
        self.people = Authentication('ann', 'bob', 'carl')
        provideUtility(self.people, IAuthentication)
        self.seen = []
        self.declare()
        for person in 'ann', 'bob', 'carl':
            self.grant(person, self.site, START, MANAGE_WORKERS)

    def declare(self, name='work', **values):
        declareWorker(name, self.work, schema=IInput, **{
            'permission': START, **values})

    def work(self, worker, title):
        self.seen.append([principal.id for principal in who()])

    def makeFailed(self, starter='ann', by_principal=True, **values):
        """Return a failed run of *starter*, None for trusted code."""
        endInteraction()
        if starter is not None:
            login(starter)
        start = (self.registry.startByPrincipal
                 if by_principal and starter is not None
                 else self.registry.start)
        run = start(values.pop('type', 'work'), **values)
        self.registry.finish(run, FAILED, RunFailedEvent)
        transaction.commit()
        return run

    def retry(self, run, who):
        """Let *who* retry *run*, carry it out, and return it."""
        endInteraction()
        if who is None:
            new = self.registry.retry(run.id)
        else:
            login(who)
            new = self.registry.retryByPrincipal(run.id)
        transaction.commit()
        return new

    def carryOut(self):
        endInteraction()
        runPending(self.site)
        transaction.begin()
        return self.seen


class RightsTests(RightsMixin, SiteTests):

    def test_retry_by_another_has_the_rights_of_both(self):
        new = self.retry(self.makeFailed('ann'), 'bob')
        self.assertEqual((new.starter, new.asker, new.permission),
                         ('ann', 'bob', START))
        self.assertEqual(self.carryOut(), [['ann', 'bob']])
        self.assertEqual(new.state, SUCCEEDED)

    def test_what_one_may_not_do_the_retry_may_not(self):
        self.grant('ann', self.site, 'test.Ann', 'test.Both')
        self.grant('bob', self.site, 'test.Bob', 'test.Both')
        found = {}

        def work(worker, title):
            for name in 'test.Ann', 'test.Bob', 'test.Both':
                found[name] = checkPermission(name, getSite())

        declareWorker('work', work, schema=IInput, permission=START)
        self.retry(self.makeFailed('ann'), 'bob')
        self.carryOut()
        self.assertEqual(found, {
            'test.Ann': False, 'test.Bob': False, 'test.Both': True})

    def test_starter_who_retries_has_their_own(self):
        run = self.retry(self.makeFailed('ann'), 'ann')
        self.assertIsNone(run.asker)
        self.assertEqual(self.carryOut(), [['ann']])

    def test_work_of_the_system_is_retried_with_own_rights(self):
        # Trusted code started it; a manager gains nothing by its retry.
        self.retry(self.makeFailed(None), 'bob')
        self.assertEqual(self.carryOut(), [[system_user.id, 'bob']])

    def test_trusted_code_retries_as_it_was(self):
        new = self.retry(self.makeFailed('ann'), None)
        self.assertEqual((new.starter, new.asker), ('ann', None))
        again = self.retry(self.makeFailed(None), None)
        self.assertEqual((again.starter, again.asker), (None, None))
        self.assertEqual(self.carryOut(), [['ann'], [system_user.id]])

    def test_trusted_retry_of_a_retry_keeps_the_limits(self):
        new = self.retry(self.makeFailed('ann'), 'bob')
        self.registry.finish(new, FAILED, RunFailedEvent)
        transaction.commit()
        self.assertEqual(self.retry(new, None).asker, 'bob')
        self.assertEqual(self.carryOut(), [['ann', 'bob']])

    def test_retry_of_a_retry_is_of_who_asked_last(self):
        new = self.retry(self.makeFailed('ann'), 'bob')
        self.registry.finish(new, FAILED, RunFailedEvent)
        transaction.commit()
        self.assertEqual(self.retry(new, 'carl').asker, 'carl')
        self.assertEqual(self.carryOut(), [['ann', 'carl']])

    def test_retry_asks_for_the_permission_of_the_type(self):
        run = self.makeFailed('ann')
        self.grant.clear()
        self.grant('bob', self.site, MANAGE_WORKERS)
        with self.assertRaises(Unauthorized):
            self.retry(run, 'bob')
        self.assertIsNone(run.retried)

    def test_permission_of_both_is_asked_as_it_begins(self):
        for revoked in 'ann', 'bob':
            with self.subTest(revoked):
                new = self.retry(self.makeFailed('ann'), 'bob')
                grants = list(self.grant.granted)
                self.grant.granted[:] = [
                    grant for grant in grants
                    if grant[:2] != (revoked, START)]
                with self.assertRaises(StarterGone):
                    self.carryOut()
                transaction.begin()
                self.assertEqual(self.seen, [])
                self.assertEqual((new.state, new.error[0]),
                                 (FAILED, 'StarterGone'))
                self.grant.granted[:] = grants

    def test_who_asked_is_gone(self):
        new = self.retry(self.makeFailed('ann'), 'bob')
        del self.people.principals['bob']
        with self.assertRaises(StarterGone):
            self.carryOut()
        transaction.begin()
        self.assertEqual(self.seen, [])
        self.assertIn("the principal 'bob'", new.error[1])

    def test_runs_that_a_retry_starts_inherit_the_limits(self):
        def first(worker):
            getRegistry().start('work')

        declareWorker('first', first, permission=START)
        self.retry(self.makeFailed('ann', type='first'), 'bob')
        self.assertEqual(self.carryOut(), [['ann', 'bob']])

    def test_other_principals_are_those_of_the_type(self):
        self.people.principals['robot'] = self.people.principals['carl']
        for run_as, expected in ('system', system_user.id), ('robot', 'carl'):
            with self.subTest(run_as):
                self.declare(run_as=run_as)
                self.seen.clear()
                self.retry(self.makeFailed('ann'), 'bob')
                self.assertEqual(self.carryOut(), [[expected]])


class UniqueTests(RightsMixin, SiteTests):
    """A run stands for no start whose work would have other rights."""

    def start(self, person, **values):
        endInteraction()
        if person is not None:
            login(person)
        run = self.registry.submit('work', **values)
        transaction.commit()
        return run

    def test_no_run_of_another_stands_for_a_start(self):
        document = self.addDocument()
        for unique in set(UNIQUE) - {NOT_UNIQUE}:
            self.declare(unique=unique)
            for context in None, document:
                runs = {person: self.start(person, context=context)
                        for person in ('ann', 'bob', None)}
                self.assertEqual(
                    len({run.id for run in runs.values()}), 3, unique)
                for person, run in runs.items():
                    self.assertIs(self.start(person, context=context), run)

    def test_where_it_runs_as_somebody_else_one_stands_for_all(self):
        document = self.addDocument()
        for unique, run_as in itertools.product(
                set(UNIQUE) - {NOT_UNIQUE}, ('system', 'robot')):
            with self.subTest(unique=unique, run_as=run_as):
                self.declare(unique=unique, run_as=run_as)
                run = self.start('ann', context=document)
                for person in 'bob', None:
                    self.assertIs(self.start(person, context=document), run)
                self.registry.requestStop(run.id)

    def test_system_and_nobody_are_one(self):
        self.declare(unique='type')
        run = self.start(None)
        self.assertIs(self.start(system_user.id), run)

    def test_retry_of_another_stands_for_no_start(self):
        self.declare(unique='type')
        old = self.makeFailed('ann')
        new = self.retry(old, 'bob')
        for person in 'ann', 'bob', None:
            self.assertIsNot(self.start(person), new)

    def test_start_of_the_same_starter_is_no_retry_of_another(self):
        self.declare(unique='type')
        old, own = self.makeFailed('ann'), self.makeFailed('ann')
        pending = self.start('ann')
        self.assertIsNot(self.retry(old, 'bob'), pending)
        # But of one's own.
        self.assertIs(self.retry(own, 'ann'), pending)

    def test_guessed_input_is_not_confirmed(self):
        self.declare(unique='input')
        self.start('ann', input={'title': 'a secret'})
        login('bob')
        ids = {self.registry.startByPrincipal('work', title=guess).id
               for guess in ('a secret', 'a guess')}
        self.assertEqual(len(ids), 2)
        self.assertEqual({self.registry.get(run_id).starter
                          for run_id in ids}, {'bob'})
