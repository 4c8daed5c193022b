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
"""A mapping whose keys never conflict with each other."""
import transaction
from BTrees.OOBTree import OOBTree
from transaction.interfaces import TransientError

from cipher.background.store.table import Table
from cipher.background.store.table import dependOnTree
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.live import FileSiteTests


class TableCase(FileSiteTests):

    def setUp(self):
        super().setUp()
        self.connection.root()['table'] = Table(4)
        self.connection.root()['tree'] = OOBTree()
        self.connection.root()['other'] = OOBTree()
        transaction.commit()
        self.managers = []
        self.roots = []
        for _ in range(2):
            manager = transaction.TransactionManager()
            connection = self.db.open(manager)
            self.addCleanup(connection.close)
            self.addCleanup(manager.abort)
            self.managers.append(manager)
            self.roots.append(connection.root())

    def conflicts(self, *changes):
        """Return how many of two changes at a time conflict."""
        for manager in self.managers:
            manager.begin()
        for change, root in zip(changes, self.roots):
            change(root)
        number = 0
        for manager in self.managers:
            try:
                manager.commit()
            except TransientError:
                number += 1
                manager.abort()
        return number


class TableTests(TableCase):

    layer = Long

    def put(self, key, value=1):
        return lambda root: root['table'].__setitem__(key, value)

    def remove(self, key):
        return lambda root: root['table'].__delitem__(key)

    def test_it_is_a_mapping(self):
        table = self.connection.root()['table']
        keys = ['a', 'b', '', '\udc80']
        for number, key in enumerate(keys):
            table[key] = number
        transaction.commit()
        self.connection.cacheMinimize()
        self.assertEqual(dict(table), {
            key: number for number, key in enumerate(keys)})
        self.assertEqual(len(table), 4)
        self.assertIn('a', table)
        self.assertNotIn('none', table)
        self.assertIsNone(table.get('none'))
        del table['a']
        with self.assertRaises(KeyError):
            table['a']
        with self.assertRaises(KeyError):
            del table['a']
        self.assertEqual(len(list(table.items())), 3)
        walked = list(table.walk())
        self.assertEqual(walked, sorted(walked, key=lambda item: item[0]))
        self.assertEqual(len(walked), 3)
        self.assertEqual(
            list(table.walk(2)), [item for item in walked if item[0] >= 2])

    def test_different_keys_never_conflict(self):
        for number in range(300):
            self.assertEqual(self.conflicts(
                self.put('a%d' % number), self.put('b%d' % number)), 0)
        for number in range(300):
            self.assertEqual(self.conflicts(
                self.remove('a%d' % number), self.put('c%d' % number)), 0)
        for number in range(300):
            # To the last one.
            self.assertEqual(self.conflicts(
                self.remove('b%d' % number), self.remove('c%d' % number)), 0)
        transaction.begin()
        self.assertEqual(len(self.connection.root()['table']), 0)

    def test_keys_may_be_tuples_of_texts_and_bytes(self):
        for number in range(30):
            self.assertEqual(self.conflicts(
                self.put(('work', b'%d' % number)),
                self.put(('other', b'%d' % number))), 0)
        transaction.begin()
        self.assertIn(('work', b'7'), self.connection.root()['table'])

    def test_the_same_key_conflicts(self):
        self.assertEqual(self.conflicts(
            self.put('a', 1), self.put('a', 2)), 1)
        self.assertEqual(self.conflicts(
            self.remove('a'), self.put('a', 2)), 1)


class DependOnTreeTests(TableCase):

    def test_change_anywhere_is_noticed(self):
        for size in 0, 1, 29, 100, 1000:
            transaction.begin()
            tree = self.connection.root()['tree']
            tree.clear()
            tree.update({'%04d' % (2 * n): n for n in range(size)})
            transaction.commit()
            for key in '0001', '%04d' % (size | 1), '9999':
                with self.subTest(size=size, key=key):
                    self.assertEqual(self.conflicts(
                        lambda root: root['tree'].__setitem__(key, 1),
                        self.depend), 1)

    def test_no_change_is_no_conflict(self):
        self.assertEqual(self.conflicts(lambda root: None, self.depend), 0)

    def depend(self, root):
        dependOnTree(root['tree'])
        root['other']['written'] = root['other'].get('written', 0) + 1
