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
"""Tests of what commands that change something share."""
import getpass
import os
from types import SimpleNamespace
from unittest import mock

import transaction
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from zope.security.management import queryInteraction

from cipher.background.cli import database
from cipher.background.cli.command import CommandError
from cipher.background.cli.command import Unusable
from cipher.background.cli.database import Session
from cipher.background.cli.database import describeCaller
from cipher.background.tests.support.commandline import CommandTests
from cipher.background.util.principal import actingAs
from cipher.background.util.principal import currentActor
from cipher.background.util.principal import currentPrincipal


class SessionTests(CommandTests):

    def open(self, **options):
        """Return a session that may write."""
        given = {'db': self.path, 'zcml': None, 'site': None, 'user': None,
                 'json': False, **options}
        return Session(SimpleNamespace(**given), is_writing=True)

    def test_the_journal_names_the_caller(self):
        caller = 'command line, OS user ' + getpass.getuser()
        with self.open() as session:
            session.write(lambda: session.verbs.pauseType(
                'report', reason='a test'), 'Pause')
        action = self.ask('journal')['items'][0]
        self.assertEqual(('pause type', caller, 'a test'), (
            action['verb'], action['principal'], action['reason']))
        storage = FileStorage(self.path)
        self.addCleanup(storage.close)
        last = list(storage.iterator())[-1]
        self.assertIn(caller.encode(), last.user)
        self.assertIn(b'Pause', last.description)

    def test_a_retry_by_the_caller_needs_no_rights_of_a_principal(self):
        with self.open(zcml=self.light()) as session:
            run = session.write(
                lambda: session.verbs.retry(self.runs['failed']))
            # Nobody has this id, so its work could never begin.
            self.assertIsNone(run.asker)
            self.assertIsNone(run.starter)
            self.assertEqual(describeCaller(), run.retry.principal)

    def test_a_conflict_is_tried_again(self):
        calls = []

        def act():
            calls.append(transaction.get())
            if len(calls) < 3:
                raise ConflictError
            return 'done'

        with self.open() as session:
            self.assertEqual('done', session.write(act))
            self.assertEqual(3, len(set(map(id, calls))))
            with self.assertRaisesRegex(CommandError, 'ConflictError 10 '):
                session.write(mock.Mock(side_effect=ConflictError))
            with self.assertRaises(ZeroDivisionError):
                session.write(mock.Mock(side_effect=ZeroDivisionError))

    def test_a_file_that_another_process_has_open(self):
        storage = FileStorage(self.path)
        self.addCleanup(storage.close)
        with self.assertRaisesRegex(
                Unusable, 'locked by the process %d; ' % os.getpid()):
            self.open().__enter__()

    def test_nothing_stays_behind(self):
        def check():
            self.assertIsNone(queryInteraction())
            self.assertIsNone(getSite())
            self.assertIsNone(currentActor())
            FileStorage(self.path).close()   # it is not locked

        with self.open() as session:
            self.assertEqual(describeCaller(), currentActor())
            self.assertIsNone(currentPrincipal())
            session.refresh()
            self.assertEqual(describeCaller(), currentActor())
        check()
        with self.assertRaises(ZeroDivisionError), self.open():
            raise ZeroDivisionError
        check()
        with mock.patch.object(database, 'chooseRegistry',
                               side_effect=ZeroDivisionError):
            with self.assertRaises(ZeroDivisionError):
                self.open().__enter__()
        check()

    def test_a_frozen_file_is_opened_again(self):
        options = SimpleNamespace(db=self.path, zcml=None, site=None,
                                  user=None)
        with Session(options) as reader:
            before = reader.verbs.getCounts()
            with self.open(zcml=self.light()) as writer:
                writer.write(lambda: writer.verbs.submit('hidden'))
            self.assertEqual(before, reader.verbs.getCounts())
            reader.refresh()
            self.assertNotEqual(before, reader.verbs.getCounts())

    def test_a_caller_without_a_name(self):
        with mock.patch('getpass.getuser', side_effect=KeyError):
            self.assertEqual('command line, OS user %d' % os.getuid(),
                             describeCaller())

    def test_names_of_callers_are_nested(self):
        with actingAs('one'):
            with actingAs('two'):
                self.assertEqual('two', currentActor())
            self.assertEqual('one', currentActor())
