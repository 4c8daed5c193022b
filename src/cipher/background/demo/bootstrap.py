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
"""What a database of the demo has before anything else: set up once."""
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


#: How many times setting up is tried: another process may do the same.
MAX_TRIES = 5


def databaseOpened(event):
    """Subscriber: prepare the root site, in a transaction of its own."""
    manager = TransactionManager(explicit=True)
    with closing(event.database.open(manager)) as connection:
        for attempt in manager.attempts(MAX_TRIES):
            with attempt:
                prepareSite(connection.root()[ZopePublication.root_name])


def prepareSite(site):
    """Give *site* what it lacks of folder, index and registry.

    Never commits.  May be called for a site that has all of it.
    """
    if DOCUMENTS not in site:
        site[DOCUMENTS] = Documents()
    with ZopeSite(site):
        tellErrorLog(queryUtility(IErrorReportingUtility))
        registry = addRegistry(site)
        documents = site[DOCUMENTS]
        if documents.index is None:
            # Of a time without it.
            documents.index = TextIndex()
            registry.start('reindex-all')


def tellErrorLog(log):
    """Let the site's error log not tell of every wrong address."""
    if not ILocalErrorReportingUtility.providedBy(log):
        return
    properties = log.getProperties()
    ignored = tuple(properties['ignored_exceptions'])
    if 'NotFound' not in ignored:
        log.setProperties(
            properties['keep_entries'], properties['copy_to_zlog'],
            ignored + ('NotFound',))
