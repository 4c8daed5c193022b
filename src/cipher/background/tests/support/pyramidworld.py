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
"""An application of Pyramid for tests."""
import base64
import unittest

import transaction
import webtest
import zope.component
from persistent.mapping import PersistentMapping
from pyramid.authentication import extract_http_basic_credentials
from pyramid.authorization import ACLHelper
from pyramid.authorization import Allow
from pyramid.authorization import Everyone
from pyramid.config import Configurator
from pyramid_zodbconn import get_connection
from zope.component import hooks
from zope.event import notify
from zope.interface import Interface
from zope.interface import implementer
from zope.lifecycleevent import ObjectModifiedEvent
from zope.lifecycleevent.interfaces import IObjectModifiedEvent
from zope.security.management import endInteraction
from zope.security.management import setSecurityPolicy
from zope.security.simplepolicies import ParanoidSecurityPolicy
from zope.testing.cleanup import cleanUp

from cipher.background import declareTrigger
from cipher.background import declareWorker
from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import STOP_WORKERS
from cipher.background.interfaces import VIEW_DETAILS
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.registry.installation import getRegistry
from cipher.background.store.process import getDirectory
from cipher.background.tests.support.layers import Long
from cipher.background.util.host import getHost
from cipher.background.util.switchboard import queryRuntime


ALL = (VIEW_WORKERS, VIEW_DETAILS, START_WORKERS, STOP_WORKERS,
       MANAGE_WORKERS, 'view')

#: Roles, which are users here: what they may do.
RIGHTS = {None: (), 'stranger': (), 'viewer': (VIEW_WORKERS,),
          'editor': (VIEW_WORKERS, START_WORKERS, 'view'), 'manager': ALL}

#: Users that do not exist any more.
gone = set()


class IPage(Interface):
    """A document whose change starts work."""


@implementer(IPage)
class Page(PersistentMapping):
    """A document."""

    def __init__(self, parent, name):
        super().__init__()
        self.__parent__, self.__name__ = parent, name
        self.title = 'Page %s' % name


class Root(PersistentMapping):
    """The root object."""

    __parent__ = __name__ = None
    __acl__ = [(Allow, user, permissions)
               for user, permissions in RIGHTS.items() if user]


def getRoot(request):
    """Return the root object; make it if there is none."""
    zodb = get_connection(request).root()
    if 'app_root' not in zodb:
        root = zodb['app_root'] = Root()
        root['page'] = Page(root, 'page')
        root['secret'] = Page(root, 'secret')
        root['secret'].__acl__ = [(Allow, 'manager', ALL),
                                  ('Deny', Everyone, ('view',))]
    return zodb['app_root']


class Policy:
    """Users log in with their name as the password."""

    def __init__(self):
        self.helper = ACLHelper()

    def authenticated_userid(self, request):
        userid = request.background_userid
        if userid is not None:
            return None if userid in gone else userid
        given = extract_http_basic_credentials(request)
        return given and given.username == given.password and (
            given.username) or None

    identity = authenticated_userid

    def permits(self, request, context, permission):
        userid = self.authenticated_userid(request)
        return self.helper.permits(
            context, [Everyone, *filter(None, [userid])], permission)

    def remember(self, request, userid, **options):
        return []

    forget = remember


def work(worker, **input):
    """Say who works, and where."""
    site = getHost().getSite()
    worker.log.info('Work')
    return [*getHost().currentPrincipals(), site['page'].title]


def touch(worker):
    """Change the context."""
    worker.context.title = 'Touched'


def declare():
    """Declare the worker types and a trigger."""
    declareWorker('work', handler=work)
    declareWorker('touch', handler=touch)
    declareWorker('checked', handler=work, permission=START_WORKERS)
    declareTrigger((IPage, IObjectModifiedEvent), 'touch')


def start(request):
    """View: start work, and fail if asked to."""
    run = request.background_registry.start('work')
    if 'fail' in request.params:
        raise RuntimeError('failed on purpose')
    return run.id


def change(request):
    """View: change a page."""
    notify(ObjectModifiedEvent(request.root['page']))
    return 'changed'


def makeApplication(settings, policy=True, hook=False, prefix=None,
                    configure=None, root_factory=getRoot):
    """Return the application."""
    with Configurator(settings={'zodbconn.uri': 'memory://', **settings},
                      root_factory=root_factory) as config:
        if hook:
            config.hook_zca()
        if policy:
            config.set_security_policy(Policy())
        config.include('cipher.background.hosts.pyramid', route_prefix=prefix)
        for view in start, change:
            config.add_route(view.__name__, '/' + view.__name__)
            config.add_view(view, route_name=view.__name__,
                            renderer='string', require_csrf=False,
                            permission='__no_permission_required__')
        if configure is not None:
            configure(config)
        application = config.make_wsgi_app()
    return application


def create(global_config, **settings):
    """Return the application of an ini file."""
    return makeApplication(settings)


def bare(global_config, **settings):
    """Return an application without background work."""
    return Configurator(settings=settings).make_wsgi_app()


def clean():
    """Leave no component, no security policy and no user behind."""
    cleanUp()
    zope.component.getSiteManager.reset()
    setSecurityPolicy(ParanoidSecurityPolicy)
    endInteraction()
    hooks.setSite(None)
    transaction.abort()
    gone.clear()


class PyramidTestCase(unittest.TestCase):
    """Makes applications of Pyramid, and asks them."""

    layer = Long

    def setUp(self):
        clean()
        self.addCleanup(clean)
        self.databases = []
        self.addCleanup(self.clear)
        declare()

    def make(self, **options):
        """Return an application; its settings have two underscores for a dot.
        """
        names = ('policy', 'hook', 'prefix', 'configure', 'root_factory')
        arguments = {name: options.pop(name) for name in names
                     if name in options}
        self.application = makeApplication({
            name.replace('__', '.'): value
            for name, value in options.items()}, **arguments)
        self.db = self.application.registry._zodb_databases['']
        self.databases.append(self.db)
        return self.application

    def clear(self):
        """Begin anew, without an application."""
        for db in self.databases:
            self.end(db)
        del self.databases[:]
        clean()
        declare()

    def end(self, db):
        runtime = queryRuntime(db)
        if runtime is not None:
            runtime.shutdown()
        transaction.abort()
        db.close()

    def app(self, user=None):
        """Return the application as *user* sees it."""
        environ = {}
        if user is not None:
            login = base64.b64encode(('%s:%s' % (user, user)).encode())
            environ['HTTP_AUTHORIZATION'] = 'Basic ' + login.decode()
        return webtest.TestApp(self.application, extra_environ=environ)

    def get(self, path, user='manager', **options):
        """GET *path*; return the response, whatever its status."""
        return self.app(user).get(_url(path), expect_errors=True, **options)

    def token(self, user='manager'):
        """Return the token of *user*."""
        return self.get('token.json', user).json['csrf_token']

    def post(self, path, user='manager', **form):
        """POST *form* with a token; return the response."""
        form = {name.replace('__', '.'): value
                for name, value in form.items()}
        form.setdefault('csrf_token', self.token(user))
        return self.app(user).post(_url(path), form, expect_errors=True)

    def postJSON(self, path, body, user='manager'):
        """POST *body* as JSON with a token; return the response."""
        return self.app(user).post_json(
            _url(path), body, headers={'X-CSRF-Token': self.token(user)},
            expect_errors=True)

    def start(self, name='work', user='manager', **body):
        """Start by JSON; return the id of the run."""
        answer = self.postJSON('start.json', {'type': name, **body}, user)
        self.assertEqual(answer.status_int, 202, answer.text)
        return answer.json['id']

    def connect(self):
        """Return the root object and the registry, in a new transaction."""
        transaction.begin()
        connection = self.db.open()
        root = connection.root()['app_root']
        self.assertIsNotNone(getDirectory(connection))
        return root, getRegistry(root)


def _url(path):
    return path if path.startswith('/') else '/++background++/' + path
