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
"""The pages in an application that has a publication of its own.

Nothing of zope.app is needed: this is what the extra [ui] is for.
"""
import base64
import io
import unittest

import transaction
from ZODB.DB import DB
from zope.component import hooks
from zope.component import queryMultiAdapter
from zope.component import testing
from zope.configuration import xmlconfig
from zope.publisher.base import DefaultPublication
from zope.publisher.browser import BrowserRequest
from zope.publisher.interfaces import NotFound
from zope.publisher.interfaces.browser import IBrowserPublisher
from zope.publisher.publish import publish
from zope.security.interfaces import Unauthorized
from zope.security.management import endInteraction
from zope.security.management import newInteraction
from zope.security.management import setSecurityPolicy
from zope.security.proxy import ProxyFactory
from zope.security.simplepolicies import ParanoidSecurityPolicy
from zope.traversing.publicationtraverse import PublicationTraverser

from cipher.background.tests.support.sites import Principal
from cipher.background.tests.support.sites import makeSite


ZCML = '''
<configure xmlns="http://namespaces.zope.org/zope" i18n_domain="test">
  <include package="zope.component" file="meta.zcml" />
  <include package="zope.security" file="meta.zcml" />
  <include package="zope.i18n" file="meta.zcml" />
  <include package="zope.publisher" file="meta.zcml" />
  <include package="zope.browserpage" file="meta.zcml" />
  <include package="zope.browserresource" file="meta.zcml" />
  <include package="z3c.form" file="meta.zcml" />
  <include package="zope.component" />
  <include package="zope.security" />
  <include package="zope.location" />
  <include package="zope.traversing" />
  <include package="zope.traversing.browser" />
  <include package="zope.container" />
  <include package="zope.site" />
  <include package="zope.i18n" />
  <include package="zope.publisher" />
  <include package="zope.browserresource" />
  <include package="z3c.form" />
  <include package="cipher.background" />
</configure>
'''


class Policy(ParanoidSecurityPolicy):
    """The administrator may do everything, others nothing."""

    def checkPermission(self, permission, object):
        return any(participation.principal.id == 'admin'
                   for participation in self.participations)


class Publication(DefaultPublication):
    """Publishes a site; the name of a login is the id of the principal."""

    def beforeTraversal(self, request):
        super().beforeTraversal(request)
        _scheme, _blank, login = (request._auth or '').partition(' ')
        user, _colon, _password = base64.b64decode(login).partition(b':')
        request.setPrincipal(Principal(user.decode() or 'anybody'))
        newInteraction(request)
        hooks.setSite(self.app)
        transaction.begin()

    def getApplication(self, request):
        return ProxyFactory(self.app)

    def traverseName(self, request, ob, name):
        return PublicationTraverser().traverseName(request, ob, name)

    def getDefaultTraversal(self, request, ob):
        if not IBrowserPublisher.providedBy(ob):
            ob = queryMultiAdapter((ob, request), IBrowserPublisher) or ob
        if IBrowserPublisher.providedBy(ob):
            ob, path = ob.browserDefault(request)
            return ProxyFactory(ob), path
        return ob, ()

    def callObject(self, request, ob):
        return ob()

    def afterCall(self, request, ob):
        transaction.commit()

    def handleException(self, object, request, exc_info, retry_allowed=True):
        transaction.abort()
        error = exc_info[1]
        for kind, status in ((Unauthorized, 401), (NotFound, 404)):
            if isinstance(error, kind):
                request.response.setStatus(status)
                request.response.setResult(b'')
                return
        raise error

    def endRequest(self, request, ob):
        hooks.setSite(None)
        endInteraction()


class PlainPublicationTests(unittest.TestCase):

    def setUp(self):
        testing.setUp()
        self.addCleanup(testing.tearDown)
        hooks.setHooks()
        self.addCleanup(setSecurityPolicy, setSecurityPolicy(Policy))
        xmlconfig.string(ZCML)
        self.db = DB(None)
        self.addCleanup(self.db.close)
        connection, self.site, self.registry = makeSite(self.db)
        self.addCleanup(connection.close)
        self.addCleanup(transaction.abort)

    def application(self, environ, start_response):
        """Serve the site by WSGI."""
        request = BrowserRequest(environ['wsgi.input'], environ)
        request.setPublication(Publication(self.site))
        response = publish(request, handle_errors=True).response
        start_response(response.getStatusString(), response.getHeaders())
        return response.consumeBodyIter()

    def get(self, path, user='admin'):
        """Return (status, text) of a page."""
        environ = {'REQUEST_METHOD': 'GET', 'PATH_INFO': path,
                   'SERVER_URL': 'http://localhost', 'QUERY_STRING': '',
                   'wsgi.input': io.BytesIO()}
        if user is not None:
            login = base64.b64encode(('%s:' % user).encode()).decode()
            environ['HTTP_AUTHORIZATION'] = 'Basic ' + login
        answers = []
        body = b''.join(self.application(
            environ, lambda status, headers: answers.append(status)))
        return int(answers[0].split()[0]), body.decode('utf-8')

    def test_all_pages_are_there(self):
        run = self.registry.addRun('any')
        transaction.commit()
        for path in ('', '/index.html', '/runs.html', '/types.html',
                     '/schedules.html', '/processes.html', '/journal.html',
                     '/runs.json', '/%s/index.html' % run.id):
            with self.subTest(path):
                status, text = self.get('/++background++' + path)
                self.assertEqual(200, status, text)
                self.assertIn(
                    '"items"' if path.endswith('.json') else '</html>', text)

    def test_strangers_are_refused(self):
        for user in None, 'stranger':
            status, text = self.get('/++background++/index.html', user)
            self.assertEqual(401, status)
            self.assertNotIn('Background', text)

    def test_what_is_not_there_is_not_found(self):
        self.assertEqual(404, self.get('/++background++/none.html')[0])
