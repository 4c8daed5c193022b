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
"""An application of Pyramid that has the extra [pyramid] and no other."""
import unittest

import transaction
from persistent.mapping import PersistentMapping
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid_zodbconn import get_connection
from zope.component import testing
from zope.security.management import setSecurityPolicy
from zope.security.simplepolicies import ParanoidSecurityPolicy

from cipher.background import declareWorker


class Policy:
    """Permits all to a user whom the server knows."""

    def authenticated_userid(self, request):
        return request.environ.get('REMOTE_USER')

    identity = authenticated_userid

    def permits(self, request, context, permission):
        return self.authenticated_userid(request) is not None


def getRoot(request):
    """Return the root object."""
    return get_connection(request).root().setdefault(
        'app_root', PersistentMapping())


def work(worker):
    """Do nothing."""


class AloneTests(unittest.TestCase):

    def setUp(self):
        testing.setUp()
        self.addCleanup(testing.tearDown)
        self.addCleanup(setSecurityPolicy, ParanoidSecurityPolicy)
        self.addCleanup(transaction.abort)
        declareWorker('work', handler=work)
        with Configurator(settings={'zodbconn.uri': 'memory://'},
                          root_factory=getRoot) as config:
            config.set_security_policy(Policy())
            config.include('cipher.background.hosts.pyramid')
            self.application = config.make_wsgi_app()
        self.addCleanup(
            self.application.registry._zodb_databases[''].close)

    def ask(self, path, user='admin', **options):
        environ = {} if user is None else {'REMOTE_USER': user}
        return Request.blank(path, environ, **options).get_response(
            self.application)

    def test_pages_and_json(self):
        for path in ('', '/index.html', '/runs.html', '/types.html',
                     '/start.html?type=work', '/runs.json'):
            for user, status in ('admin', 200), (None, 403):
                self.assertEqual(status, self.ask(
                    '/++background++' + path, user).status_int, path)

    def test_start(self):
        token = self.ask('/++background++/token.json').json['csrf_token']
        answer = self.ask(
            '/++background++/start.json', method='POST',
            body=b'{"type": "work"}',
            content_type='application/json', headers={'X-CSRF-Token': token})
        self.assertEqual(202, answer.status_int)
        run = self.ask(answer.json['status_url']).json
        self.assertEqual(('pending', 'admin'), (run['state'], run['starter']))
