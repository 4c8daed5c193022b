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
"""Errors as groups of runs that failed for the same reason."""
import time
import unittest
from unittest import mock

from zope.interface.verify import verifyObject

from cipher.background.interfaces import FAILED
from cipher.background.interfaces import IErrorGroup
from cipher.background.interfaces import IErrors
from cipher.background.queries import errors
from cipher.background.queries.errors import normalise
from cipher.background.tests.support.finishedruns import LookTests


class NormaliseTests(unittest.TestCase):

    def test_what_changes_is_replaced(self):
        for message, expected in (
                ('', ''), (None, ''), ('plain words', 'plain words'),
                ('after 30 s', 'after ‹number› s'),
                ('-1.5 of 1,000', '‹number› of ‹number›'),
                ("no key 'a b'", 'no key ‹text›'),
                ('no "x 5" in „y“', 'no ‹text› in ‹text›'),
                ("can't open 'x'", "can't open ‹text›"),
                ("it isn't, it won't", "it isn't, it won't"),
                ('oid 0x00ff', 'oid ‹id›'), ('run 1-17', 'run ‹id›'),
                ('at 123e4567-e89b-12d3-a456-426614174000 it',
                 'at ‹id› it'),
                ('commit deadbeef01', 'commit ‹id›'),
                ('a facade of utf8', 'a facade of utf8'),
                ('two\nlines\t 7', 'two lines ‹number›')):
            with self.subTest(message):
                self.assertEqual(normalise(message), expected)

    def test_no_message_takes_long(self):
        begin = time.monotonic()
        for part in "'", '"', "'a", '`', '«', '„', '1-', 'a', '0x', '-':
            normalise(part * 1000000)
        self.assertLess(time.monotonic() - begin, 5)


class ErrorsTests(LookTests):

    def makeFailure(self, name, text, **values):
        return self.makeRun(state=FAILED, error=(name, text), **values)

    def test_groups(self):
        first = self.makeFailure('TimeoutError', 'no answer in 30 s')
        self.clock.advance(3600)
        second = self.makeFailure('TimeoutError', 'no answer in 60 s',
                                  type='other')
        self.makeFailure('KeyError', "'customer'")
        self.makeRun()
        found = self.registry.listErrors()
        verifyObject(IErrors, found)
        self.assertEqual((found.looked_at, found.is_cut), (3, False))
        key, timeout = found.groups
        verifyObject(IErrorGroup, timeout)
        self.assertEqual((key.error_type, key.message, key.number),
                         ('KeyError', '‹text›', 1))
        self.assertEqual(
            (timeout.error_type, timeout.message, timeout.number,
             timeout.types, timeout.last_run),
            ('TimeoutError', 'no answer in ‹number› s', 2,
             {'work': 1, 'other': 1}, second.id))
        self.assertEqual((timeout.first_at, timeout.last_at),
                         (first.finished_at, second.finished_at))
        self.assertEqual(timeout.hours[-2:], [1, 1])
        self.assertEqual(
            [group.number for group in self.registry.listErrors(
                ('other',)).groups], [1])
        self.assertEqual(
            set(self.ids(error=timeout.key)), {first.id, second.id})
        self.assertEqual(self.ids(error=timeout.key, types=('other',)),
                         [second.id])

    def test_cut(self):
        for _ in range(20):
            self.makeFailure('ValueError', 'x')
        self.assertFalse(self.registry.listErrors(limit=20).is_cut)
        found = self.registry.listErrors(limit=5)
        self.assertEqual((found.looked_at, found.is_cut), (5, True))
        with mock.patch.object(errors, 'TIME_LIMIT', -1):
            found = self.registry.listErrors()
        self.assertEqual((found.looked_at, found.is_cut), (1, True))

    def test_error_of_any_shape(self):
        for error in None, 5, ('A',), ('A', None), 'text':
            self.makeRun(state=FAILED, error=error)
        self.assertEqual(sum(
            group.number for group in self.registry.listErrors().groups), 5)
