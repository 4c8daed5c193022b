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
"""Walks through every kind of collection, which changes meanwhile."""
import inspect
import unittest

import transaction
from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from BTrees.OOBTree import OOBucket
from BTrees.OOBTree import OOSet
from BTrees.OOBTree import OOTreeSet
from persistent import Persistent
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from zope.component.hooks import getSite
from zope.container.btree import BTreeContainer
from zope.container.contained import Contained
from zope.container.contained import contained
from zope.container.ordered import OrderedContainer
from zope.container.sample import SampleContainer
from zope.site.folder import Folder

from cipher.background.job import ItemsJob
from cipher.background.testing import SetClock
from cipher.background.testing import runPending
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import SiteTests
from cipher.background.util.walking import REMEMBERED
from cipher.background.util.walking import getMark
from cipher.background.util.walking import walk


class Item(Contained, Persistent):
    """An item with its name."""

    def __init__(self, name):
        self.name = name
        self.done = 0


class Kind:
    """A kind of collection: how to make and to change it."""

    keeps_order = False   # an item that is put first is behind no cursor

    def __init__(self, make, put, remove, keeps_order=False, plain=False):
        self.make, self.put, self.remove = make, put, remove
        self.keeps_order, self.plain = keeps_order, plain

    def fill(self, names):
        """Return a collection of items with these names."""
        collection = self.make()
        for place, name in enumerate(names):
            self.put(collection, name, place)
        return collection

    def nameOf(self, item):
        return item if self.plain else item.name


def _put(collection, name, place):
    collection[name] = Item(name)


def _remove(collection, name):
    del collection[name]


def _put_number(collection, name, place):
    collection[_number(name)] = Item(name)


def _number(name):
    return int.from_bytes(name.encode(), 'big')


def _insert(collection, name, place):
    collection.insert(place, Item(name))


def _take(collection, name):
    for number, item in enumerate(collection):
        if getattr(item, 'name', item) == name:
            del collection[number]
            return
    raise KeyError(name)


class Query:
    """Any iterable: it goes through what a list has, and has no length."""

    def __init__(self):
        self.list = []

    def __iter__(self):
        return (item for item in self.list)


def _put_set(collection, name, place):
    collection.add(name)


#: {title: `Kind`}
KINDS = {
    'OOBTree': Kind(OOBTree, _put, _remove),
    'OOBucket': Kind(OOBucket, _put, _remove),
    'LOBTree': Kind(LOBTree, _put_number,
                    lambda tree, name: tree.__delitem__(_number(name))),
    'OOTreeSet': Kind(OOTreeSet, _put_set, OOTreeSet.remove, plain=True),
    'OOSet': Kind(OOSet, _put_set, OOSet.remove, plain=True),
    'BTreeContainer': Kind(BTreeContainer, _put, _remove),
    'Folder': Kind(Folder, _put, _remove),
    'tree in a folder': Kind(
        lambda: contained(OOBTree(), Folder(), 'tree'), _put, _remove),
    'SampleContainer': Kind(SampleContainer, _put, _remove),
    'OrderedContainer': Kind(OrderedContainer, _put, _remove),
    'PersistentMapping': Kind(PersistentMapping, _put, _remove),
    'dict': Kind(dict, _put, _remove),
    'set': Kind(set, _put_set, set.remove, plain=True),
    'PersistentList': Kind(PersistentList, _insert, _take, True),
    'list': Kind(list, _insert, _take, True),
    'list of texts': Kind(
        list, lambda texts, name, place: texts.insert(place, name), _take,
        True, plain=True),
    'iterable': Kind(
        Query, lambda query, name, place: _insert(query.list, name, place),
        lambda query, name: _take(query.list, name), True),
}

#: Kinds that the work may change while it goes through them.
CHANGEABLE = set(KINDS) - {'iterable'}

NAMES = ['%c%c' % (one, two) for one in b'bcdefghi' for two in b'abcdefgh']


class Tests(SiteTests):
    """Tests with a collection in the database, so its items have oids."""

    def store(self, kind, names):
        collection = kind.fill(names)
        self.site.collection = collection
        transaction.commit()
        return collection

    def batch(self, kind, collection, cursor, size=10, visit=None):
        """Walk through so many items; return (cursor, names)."""
        names = []
        for cursor, item in walk('Job.get', lambda: collection, cursor):
            names.append(kind.nameOf(item))
            if visit is not None:
                visit(names[-1])
            if len(names) == size:
                break
        else:
            cursor = None
        self.commit()
        return cursor() if callable(cursor) else cursor, names

    def commit(self):
        # Some collections are part of the site's own record.
        self.site._p_changed = True
        transaction.commit()

    def walkAll(self, kind, collection, change=None, size=10):
        """Return all names in batches; *change* changes the collection after
        each; it gets the names that are done."""
        done = []
        cursor, names = self.batch(kind, collection, None, size)
        done += names
        while cursor is not None:
            if change is not None:
                change(done)
                self.commit()
            cursor, names = self.batch(kind, collection, cursor, size)
            done += names
        return done

    def make(self, title):
        """Return a kind, and a stored collection of it."""
        return KINDS[title], self.store(KINDS[title], NAMES)


class WalkingTests(Tests):

    def test_each_item_once(self):
        for title in sorted(KINDS):
            with self.subTest(title):
                kind, collection = self.make(title)
                done = self.walkAll(kind, collection)
                self.assertEqual(sorted(done), NAMES)
                if kind.keeps_order:
                    self.assertEqual(done, NAMES)

    def test_nothing_and_whole_batches(self):
        for title, kind in KINDS.items():
            for number in 0, 1, 9, 10, 11, 20:
                with self.subTest(title, number=number):
                    collection = self.store(kind, NAMES[:number])
                    done = self.walkAll(kind, collection)
                    self.assertEqual(sorted(done), NAMES[:number])

    def test_the_items_that_are_done_are_removed(self):
        for title in sorted(KINDS):
            with self.subTest(title):
                kind, collection = self.make(title)
                removed = set()

                def change(done):
                    for name in set(done) - removed:
                        kind.remove(collection, name)
                        removed.add(name)

                self.assertEqual(
                    sorted(self.walkAll(kind, collection, change)), NAMES)

    def test_the_last_one_done_is_removed(self):
        for title in sorted(KINDS):
            with self.subTest(title):
                kind, collection = self.make(title)
                self.assertEqual(sorted(self.walkAll(
                    kind, collection,
                    lambda done: kind.remove(collection, done[-1]))), NAMES)

    def test_some_that_are_done_are_removed(self):
        for title in sorted(KINDS):
            with self.subTest(title):
                kind, collection = self.make(title)
                self.assertEqual(sorted(self.walkAll(
                    kind, collection, lambda done: [
                        kind.remove(collection, name)
                        for name in (done[-2], done[-5], done[-9])])), NAMES)

    def test_some_that_are_not_done_are_removed(self):
        for title in sorted(KINDS):
            with self.subTest(title):
                kind, collection = self.make(title)
                removed = []

                def change(done):
                    left = sorted(set(NAMES) - set(done) - set(removed))
                    for name in left[:2]:
                        kind.remove(collection, name)
                        removed.append(name)

                done = self.walkAll(kind, collection, change)
                self.assertGreater(len(removed), 6)
                self.assertEqual(sorted(done + removed), NAMES)

    def test_the_last_one_done_and_the_next_are_removed(self):
        for title in sorted(KINDS):
            with self.subTest(title):
                kind, collection = self.make(title)
                removed = []

                def change(done):
                    if not removed:
                        kind.remove(collection, done[-1])
                        name = min(set(NAMES) - set(done))
                        kind.remove(collection, name)
                        removed.append(name)

                done = self.walkAll(kind, collection, change)
                self.assertEqual(sorted(done + removed), NAMES)

    def test_all_the_rest_is_removed(self):
        for title in sorted(KINDS):
            with self.subTest(title):
                kind, collection = self.make(title)

                def change(done):
                    for name in set(NAMES) - set(done):
                        kind.remove(collection, name)

                self.assertEqual(
                    len(self.walkAll(kind, collection, change)), 10)

    def test_everything_is_removed(self):
        for title in sorted(KINDS):
            with self.subTest(title):
                kind, collection = self.make(title)

                def change(done):
                    for name in NAMES:
                        kind.remove(collection, name)

                self.assertEqual(
                    len(self.walkAll(kind, collection, change)), 10)

    def test_items_are_added_at_the_end(self):
        for title in sorted(KINDS):
            with self.subTest(title):
                kind, collection = self.make(title)
                added = []

                def change(done):
                    if len(added) < 5:
                        added.append('z%s' % len(added))
                        kind.put(collection, added[-1], 1000)

                done = self.walkAll(kind, collection, change)
                missing = set(NAMES + added) - set(done)
                self.assertEqual(len(done), len(set(done)))
                # A new member of a set may be before the cursor.
                if collection.__class__ is set:
                    missing -= set(added)
                self.assertEqual(missing, set())

    def test_items_are_added_at_the_front(self):
        for title in sorted(KINDS):
            with self.subTest(title):
                kind, collection = self.make(title)
                added = []

                def change(done):
                    added.append('a%02d' % len(added))
                    kind.put(collection, added[-1], 0)

                done = self.walkAll(kind, collection, change)
                self.assertEqual(
                    sorted(set(done) - set(added)), NAMES)
                self.assertEqual(len(done), len(set(done)))

    def test_the_work_removes_each_item(self):
        for title in sorted(CHANGEABLE):
            with self.subTest(title):
                kind, collection = self.make(title)
                cursor, done = None, []
                while cursor is not None or not done:
                    cursor, names = self.batch(
                        kind, collection, cursor,
                        visit=lambda name: kind.remove(collection, name))
                    done += names
                self.assertEqual(sorted(done), NAMES)

    def test_the_work_removes_another_item(self):
        for title in sorted(CHANGEABLE):
            with self.subTest(title):
                kind, collection = self.make(title)
                removed, done, cursor = [], [], None

                def visit(name):
                    done.append(name)
                    left = set(NAMES) - set(done) - set(removed)
                    if len(done) % 3 == 0 and left:
                        removed.append(max(left))
                        kind.remove(collection, removed[-1])

                while cursor is not None or not done:
                    cursor, _names = self.batch(kind, collection, cursor,
                                                visit=visit)
                self.assertEqual(sorted(done + removed), NAMES)

    def test_the_work_adds_items(self):
        for title in sorted(CHANGEABLE - {'set'}):
            with self.subTest(title):
                kind, collection = self.make(title)
                added, done, cursor = [], [], None

                def visit(name):
                    done.append(name)
                    if len(added) < 5:
                        added.append('z%s' % len(added))
                        kind.put(collection, added[-1], 1000)

                while cursor is not None or not done:
                    cursor, _names = self.batch(kind, collection, cursor,
                                                visit=visit)
                self.assertEqual(sorted(done), NAMES + added)

    def test_keys_that_other_processes_order_otherwise(self):
        # The order of a set differs between processes.
        items = [Item(name) for name in NAMES]
        self.site.items = items
        self.site._p_changed = True
        transaction.commit()
        forwards = [item for _, item in walk(
            'get', lambda: set(items), None)]
        backwards = [item for _, item in walk(
            'get', lambda: set(reversed(items)), None)]
        self.assertEqual(forwards, backwards)

    def test_equal_items_are_each_processed(self):
        kind = KINDS['list of texts']
        collection = self.store(kind, ['same'] * 25)
        self.assertEqual(len(self.walkAll(kind, collection)), 25)

    def test_items_that_the_work_changes(self):
        # Of plain data, so the marks of those that are done are others.
        collection = [{'name': name} for name in NAMES]
        for size in 10, 1:
            done, cursor = [], None
            while cursor is not None or not done:
                for cursor, item in walk('get', lambda: collection, cursor):
                    item['done'] = item.get('done', 0) + 1
                    done.append(item['name'])
                    if len(done) % size == 0:
                        cursor = cursor()
                        break
                else:
                    cursor = None
            self.assertEqual(done, NAMES)


class RefusedTests(Tests):

    def refuse(self, get, cursor=None, error=TypeError):
        with self.assertRaises(error) as caught:
            for cursor, _item in walk('Job.get', get, cursor):
                pass
        self.assertIn('Job.get: expected ', str(caught.exception))
        self.assertNotIn('\n', str(caught.exception))
        return str(caught.exception)

    def test_what_is_no_collection_of_items(self):
        for value in None, 5, object(), 'text', b'bytes':
            self.assertIn('expected a collection of items, got %s' % type(
                value).__name__, self.refuse(lambda: value))

    def test_coroutine(self):
        async def later():
            return [1]

        self.assertIn('got a coroutine', self.refuse(later))

    def test_items_that_cannot_be_found_again(self):
        for item in object(), Item('stored nowhere'), (1, [object()]):
            for collection in [item], (item,), iter([item]):
                self.assertIn(
                    'items that are stored objects or plain data, or a '
                    'mapping of them by keys, got', self.refuse(
                        lambda: collection))
        self.assertIn('items that are stored', self.refuse(
            lambda: {object()}))

    def test_keys_that_cannot_be_sorted(self):
        self.assertIn('keys that can be sorted', self.refuse(
            lambda: {1: 1, 'a': 2}))

    def test_iterator_that_was_used(self):
        used = iter(range(20))
        cursor = self.use(lambda: used)
        self.assertIn('items done last, or the next one, got a',
                      self.refuse(lambda: used, cursor, RuntimeError))
        used = (number for number in range(20))
        cursor = self.use(lambda: used)
        self.assertIn('a new iterator at each call, got one that was used',
                      self.refuse(lambda: used, cursor))

    def use(self, get):
        for number, (cursor, _item) in enumerate(walk('Job.get', get, None)):
            if number == 5:
                return cursor()

    def test_collection_that_is_another_one(self):
        cursor = self.use(lambda: range(20))
        message = self.refuse(
            lambda: range(100, 120), cursor, RuntimeError)
        self.assertIn('one of the 6 items done last, or the next one, got a '
                      'collection without them; return a collection with '
                      'keys', message)

    def test_cursor_of_another_job(self):
        for cursor in 5, 'text', [1], ['a', [], None], [1, 2, 3]:
            self.assertIn('the cursor of a collection without keys',
                          self.refuse(lambda: [1, 2], cursor))

    def test_the_cursor_stays_short(self):
        cursor = None
        for cursor, _item in walk('get', lambda: range(1000), None):
            pass
        self.assertEqual(cursor()[0], 1000)
        self.assertEqual(len(cursor()[1]), REMEMBERED)

    def test_mark_does_not_show_the_item(self):
        self.assertNotIn('secret', getMark('get', 'secret'))
        self.assertEqual(getMark('get', 'a'), getMark('get', 'a'))
        self.assertNotEqual(getMark('get', 1), getMark('get', '1'))
        getMark('get', '\ud800')


class JobTests(Tests):
    """The job of the README, with each kind of collection as its context."""

    def declare(self, kind, visit=lambda name: None):
        done = self.done = []

        class Job(ItemsJob):
            batch_size = 10
            batch_seconds = 1000.0

            def getCollection(self):
                return getSite().collection

            def processItem(self, item):
                name = kind.nameOf(item)
                done.append(name)
                visit(name)

        declareWorker('work', factory=Job, max_attempts=3, retry_delay=1.0)
        run = self.registry.start('work')
        transaction.commit()
        return run

    def test_error_and_a_conflict_repeat_their_batch_alone(self):
        for error in ValueError, transaction.interfaces.TransientError:
            for title, kind in KINDS.items():
                if title == 'iterable' or title.startswith('list'):
                    continue   # not persistent
                with self.subTest(title, error=error.__name__):
                    self.assertRepeated(kind, error)

    def assertRepeated(self, kind, error):
        collection = self.store(kind, NAMES)

        def visit(name):
            if len(self.done) == 25:
                # Nothing of that is kept.
                getSite()._p_changed = True
                kind.remove(getSite().collection, name)
                raise error('once')

        run = self.declare(kind, visit)
        with SetClock() as clock:
            if error is ValueError:
                runPending(self.site)
                self.assertEqual((run.state, run.attempts), ('pending', 1))
                # Somebody changes the collection before the next attempt.
                transaction.begin()
                kind.remove(collection, self.done[19])
                kind.remove(collection, self.done[3])
                self.commit()
                clock.advance(60)
            runPending(self.site)
        self.assertEqual((run.state, run.result),
                         ('succeeded', '%d items' % len(NAMES)))
        self.assertEqual(self.done[20:25], self.done[25:30])
        self.assertEqual(sorted(self.done[:20] + self.done[25:]), NAMES)

    def test_context_is_the_collection(self):
        class Job(ItemsJob):
            batch_size = 10

            def processItem(self, item):
                done.append(getattr(item, 'name', item))

        declareWorker('work', factory=Job)
        for title, kind in KINDS.items():
            if not isinstance(kind.make(), Persistent):
                continue
            with self.subTest(title):
                done = []
                collection = self.store(kind, NAMES)
                if title == 'Folder':
                    self.site['folder'] = collection
                run = self.registry.start('work', collection)
                transaction.commit()
                runPending(self.site)
                self.assertEqual(run.state, 'succeeded')
                self.assertEqual(sorted(done), NAMES)

    def test_message_names_the_class(self):
        class Job(ItemsJob):
            def getCollection(self):
                return 5

            def processItem(self, item):
                pass

        declareWorker('work', factory=Job)
        self.registry.start('work')
        transaction.commit()
        with self.assertRaisesRegex(
                TypeError, r'Job\.getCollection: expected a collection of '
                r'items, got int 5; override items\(cursor\)'):
            runPending(self.site)


class ContractTests(unittest.TestCase):

    def test_all_kinds_of_the_promise_are_tried(self):
        promised = inspect.getdoc(walk)
        for word in ('BTree', 'container', 'mapping', 'set', 'sequence',
                     'iterable'):
            self.assertIn(word, promised)
