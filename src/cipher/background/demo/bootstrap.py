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
"""Set up the database of the demo: folder, index and registry."""
from contextlib import closing

from transaction import TransactionManager
from zope.app.publication.zopepublication import ZopePublication
from zope.component import queryUtility
from zope.error.interfaces import IErrorReportingUtility
from zope.error.interfaces import ILocalErrorReportingUtility

from cipher.background import ZopeSite
from cipher.background import addRegistry
from cipher.background.demo.documents import Documents
from cipher.background.demo.indexing import TextIndex
from cipher.background.demo.interfaces import DOCUMENTS


#: Attempts of the set-up: it conflicts if another process does the same.
MAX_TRIES = 5


def databaseOpened(event):
    """Subscriber: prepare the root site, in a transaction of its own."""
    manager = TransactionManager(explicit=True)
    with closing(event.database.open(manager)) as connection:
        for attempt in manager.attempts(MAX_TRIES):
            with attempt:
                prepareSite(connection.root()[ZopePublication.root_name])


def prepareSite(site):
    """Add the folder, the index and the registry that *site* lacks.

    Never commits.  May be called twice.
    """
    if DOCUMENTS not in site:
        site[DOCUMENTS] = Documents()
    with ZopeSite(site):
        tellErrorLog(queryUtility(IErrorReportingUtility))
        registry = addRegistry(site)
        documents = site[DOCUMENTS]
        if documents.index is None:
            # Earlier versions stored documents without an index.
            documents.index = TextIndex()
            registry.start('reindex-all')


def tellErrorLog(log):
    """Make the site's error log ignore addresses that do not exist."""
    if not ILocalErrorReportingUtility.providedBy(log):
        return
    properties = log.getProperties()
    ignored = tuple(properties['ignored_exceptions'])
    if 'NotFound' not in ignored:
        log.setProperties(
            properties['keep_entries'], properties['copy_to_zlog'],
            ignored + ('NotFound',))
