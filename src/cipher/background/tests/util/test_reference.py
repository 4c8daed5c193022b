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
"""Weak references to what a run is about."""
import time

import transaction
from persistent import Persistent
from ZODB.DB import DB
from zope.container.contained import ContainedProxy

from cipher.background.interfaces import InvalidContext
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import Folder
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import makeSite
from cipher.background.util.host import getHost
from cipher.background.util.reference import findConnection
from cipher.background.util.reference import refer
from cipher.background.util.reference import resolve


class Bare(Persistent):
    """Knows nothing of places."""


class Annotation(Persistent):
    """Hangs on an object by its attribute, not in a container."""

    def __init__(self, parent, name=None):
        self.__parent__ = parent
        if name is not None:
            self.__name__ = name


class ReferenceTests(SiteTests):

    def refer(self, obj):
        """Return a stored and committed reference to *obj*."""
        reference = refer(obj, self.connection)
        self.connection.root()['reference'] = reference
        transaction.commit()
        return reference

    def resolve(self):
        """Return what the stored reference leads to, seen from elsewhere."""
        manager = transaction.TransactionManager()
        connection = self.db.open(transaction_manager=manager)
        try:
            found = resolve(connection.root()['reference'], connection)
            return found and found.title
        finally:
            manager.abort()
            connection.close()

    def refuse(self, obj):
        with self.assertRaises(InvalidContext) as caught:
            refer(obj, self.connection)
        return str(caught.exception)

    def test_stored_object_is_found_again(self):
        document = self.addDocument('one')
        self.refer(document)
        self.assertEqual(self.resolve(), 'one')

    def test_no_reference_leads_to_nothing(self):
        self.assertIsNone(resolve(None))

    def test_reference_keeps_nothing_alive(self):
        document = self.addDocument()
        self.refer(document)
        del self.site['document']
        transaction.commit()
        self.db.pack(time.time() + 1)
        self.connection.cacheMinimize()
        self.assertIsNone(self.resolve())

    def test_deleted_object_is_gone_though_it_is_not_packed(self):
        document = self.addDocument()
        oid = document._p_oid
        self.refer(document)
        del self.site['document']
        transaction.commit()
        self.assertIsNotNone(self.connection.get(oid))
        self.assertIsNone(self.resolve())

    def test_object_whose_folder_was_deleted_is_gone(self):
        folder = self.site['folder'] = Folder()
        self.refer(self.addDocument(container=folder))
        self.assertEqual(self.resolve(), 'document')
        del self.site['folder']
        transaction.commit()
        self.assertIsNone(self.resolve())

    def test_object_that_another_replaced_is_gone(self):
        self.refer(self.addDocument())
        del self.site['document']
        self.addDocument()
        self.assertIsNone(self.resolve())

    def test_moved_and_renamed_object_is_still_found(self):
        folder = self.site['folder'] = Folder()
        document = self.addDocument('one')
        self.refer(document)
        del self.site['one']
        folder['other'] = document
        transaction.commit()
        self.assertEqual(self.resolve(), 'one')

    def test_object_stored_in_this_transaction_is_taken(self):
        document = self.site['new'] = Document('new')
        self.assertIsNone(document._p_jar)
        self.refer(document)
        self.assertEqual(self.resolve(), 'new')

    def test_object_deep_below_what_is_stored_is_taken(self):
        folder = self.site['folder'] = Folder()
        document = folder['new'] = Document('new')
        self.refer(document)
        self.assertEqual(self.resolve(), 'new')

    def test_abort_of_a_new_object_leaves_nothing(self):
        document = self.site['new'] = Document()
        refer(document, self.connection)
        transaction.abort()
        self.assertNotIn('new', self.site)

    def test_object_without_a_place_is_refused(self):
        for obj in Bare(), Document():
            text = self.refuse(obj)
            self.assertIn('that is not stored', text)
            self.assertIn('add it to its container first', text)

    def test_object_below_what_is_not_stored_is_refused(self):
        folder = Folder()
        folder['new'] = Document()
        self.refuse(folder['new'])

    def test_what_is_not_persistent_is_refused(self):
        for obj in object(), 'text', 42, [], Document:
            self.assertIn('expected a persistent object', self.refuse(obj))

    def test_object_of_another_database_is_refused(self):
        db = DB(None)
        self.addCleanup(db.close)
        manager = transaction.TransactionManager()
        connection, site, _ = makeSite(db, manager=manager)
        self.addCleanup(connection.close)
        self.assertIn('another database', self.refuse(site))
        site['new'] = Document()
        self.refuse(site['new'])
        manager.abort()

    def test_object_of_another_connection_is_refused(self):
        self.addDocument()
        manager = transaction.TransactionManager()
        connection = self.db.open(transaction_manager=manager)
        self.addCleanup(connection.close)
        self.refuse(connection.root()['Application']['document'])
        manager.abort()

    def test_object_without_names_is_found_as_long_as_it_is_stored(self):
        bare = self.connection.root()['bare'] = Bare()
        bare.title = 'bare'
        transaction.commit()
        self.refer(bare)
        self.assertEqual(self.resolve(), 'bare')

    def test_attribute_of_an_object_is_found(self):
        document = self.addDocument()
        document.inner = Bare()
        document.inner.title = 'inner'
        transaction.commit()
        self.refer(document.inner)
        self.assertEqual(self.resolve(), 'inner')

    def test_annotation_is_found_and_goes_with_its_object(self):
        for name in (None, 'notes'):
            with self.subTest(name=name):
                document = self.addDocument('doc %s' % name)
                document.notes = Annotation(document, name)
                document.notes.title = 'notes'
                transaction.commit()
                self.refer(document.notes)
                self.assertEqual(self.resolve(), 'notes')
                del self.site[document.__name__]
                transaction.commit()
                self.assertIsNone(self.resolve())

    def test_annotation_of_a_container_is_found(self):
        # Its name is that of no item.
        folder = self.site['folder'] = Folder()
        folder.notes = Annotation(folder, 'notes')
        folder.notes.title = 'notes'
        transaction.commit()
        self.refer(folder.notes)
        self.assertEqual(self.resolve(), 'notes')

    def test_object_in_the_proxy_of_a_container_is_found(self):
        bare = Bare()
        bare.title = 'bare'
        self.site['bare'] = bare
        transaction.commit()
        self.assertIs(type(self.site['bare']), ContainedProxy)
        self.refer(self.site['bare'])
        self.assertEqual(self.resolve(), 'bare')

    def test_site_and_its_manager_are_found(self):
        for obj in self.site, self.site.getSiteManager(), self.registry:
            reference = self.refer(obj)
            self.assertIs(resolve(reference), obj)
            self.assertTrue(reference[1])

    def test_lineage_ends_though_parents_go_round(self):
        first, second = Document(), Document()
        first.__parent__, second.__parent__ = second, first
        self.assertLess(len(list(getHost().lineage(first))), 10000)
        self.assertIsNone(findConnection(first))
        self.assertFalse(getHost().isInPlace(first))
