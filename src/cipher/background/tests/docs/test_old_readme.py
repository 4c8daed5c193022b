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
"""The example of the README of version 2.0.0a1, made right."""
import transaction
from zope.component import provideAdapter
from zope.component.hooks import getSite

from cipher.background.interfaces import IWorkerRegistry
from cipher.background.runtime.standalone import StandaloneRecorder
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.live import FileSiteTests
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import Document
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util import switchboard


class MyWorkflowTransition(BackgroundWorkerThread):
    """Publishes one document."""

    execute = True
    description = '%(class_name)s for %(site_name)s, user %(user_name)s'

    def __init__(self, site_db, site_oid, site_name, user_name, daemon=True,
                 object_oid=None):
        super().__init__(site_db, site_oid, site_name, user_name,
                         daemon=daemon)
        self.object_oid = object_oid

    def scheduleNextWork(self):
        if not self.execute:
            return False
        self.execute = False
        return True

    def doWork(self):
        document = getSite()._p_jar.get(self.object_oid)
        document.wf_state = 'PUBLISHED'


def set_workflow(site, document, user_name):
    """Begin to publish *document*; return the thread."""
    worker = MyWorkflowTransition(
        site_db=site._p_jar.db(), site_oid=site._p_oid,
        site_name=site.__name__, user_name=user_name,
        object_oid=document._p_oid)
    worker.start()
    return worker


class OldReadmeTests(FileSiteTests):

    layer = Live

    def setUp(self):
        super().setUp()
        provideAdapter(StandaloneRecorder)
        self.addCleanup(self.shut_down)
        self.document = self.site['document'] = Document('A document')
        self.document.wf_state = 'DRAFT'
        transaction.commit()

    def shut_down(self):
        runtime = switchboard.queryRuntime(self.db)
        if runtime is not None:
            runtime.shutdown()

    def publish(self):
        worker = set_workflow(self.site, self.document, 'bob')
        worker.join(LIMIT)
        self.assertFalse(worker.is_alive())
        self.assertEqual(self.logged.getvalue(), '')
        self.begin()
        self.assertEqual(self.document.wf_state, 'PUBLISHED')

    def publish_for_site(self):
        worker = MyWorkflowTransition.forSite(self.site, 'bob')
        worker.object_oid = self.document._p_oid
        worker.start()
        worker.join(LIMIT)
        self.begin()
        self.assertEqual(self.document.wf_state, 'PUBLISHED')

    def remove_registry(self):
        self.site.getSiteManager().unregisterUtility(
            self.registry, IWorkerRegistry)
        del self.site.getSiteManager()['background']
        transaction.commit()

    def test_in_a_site_without_registry(self):
        self.remove_registry()
        self.publish()
        self.assertIsNone(switchboard.queryRuntime(self.db))
        # One transaction for the work; the empty cleanup stores nothing.
        *_, last = self.db.storage.iterator()
        self.assertEqual(last.user, b'/ bob')
        self.assertIn(b'MyWorkflowTransition for', last.description)

    def test_made_by_forSite(self):
        self.remove_registry()
        self.publish_for_site()

    def test_in_a_site_with_a_registry(self):
        self.publish()
        status, = self.registry.listRuns().items
        self.assertEqual(status.state, 'succeeded')
        self.assertEqual(status.starter, 'bob')
        self.assertTrue(status.type.endswith('.MyWorkflowTransition'))
