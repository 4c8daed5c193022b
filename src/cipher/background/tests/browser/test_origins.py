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
"""Where the application is, and that nothing leads away from it."""
import unittest
from io import StringIO

from zope.component import getGlobalSiteManager
from zope.component import provideUtility
from zope.configuration.exceptions import ConfigurationError
from zope.configuration.xmlconfig import xmlconfig
from zope.publisher.browser import TestRequest
from zope.testing.cleanup import CleanUp

from cipher.background.browser.addresses import getOrigins
from cipher.background.browser.addresses import getPath
from cipher.background.browser.addresses import getRelativePath
from cipher.background.browser.addresses import getScheme
from cipher.background.browser.addresses import isWithin
from cipher.background.declarations.settings import WebSettings
from cipher.background.interfaces import IWebSettings
from cipher.background.tests.browser.test_security import QUERIES
from cipher.background.tests.browser.test_security import REGISTRY_VIEWS
from cipher.background.tests.browser.test_security import RUN_VIEWS
from cipher.background.tests.browser.test_security import SITE_VIEWS
from cipher.background.tests.support.browser import BrowserTests


EVIL = 'evil.example'
VIRTUAL_HOSTS = ('/++vh++http:evil.example:80/++',
                 '/++vh++https:evil.example:443/app/x/++',
                 '/++vh++http:evil.example:80/\\evil.example/++',
                 '/++vh++http:localhost@evil.example:80/++',
                 '/++vh++http:localhost.evil.example:80/++',
                 '/++vh++javascript:evil.example:1/++')


def useSettings(test, **settings):
    """Let *settings* hold for the rest of *test*."""
    utility = WebSettings(**settings)
    provideUtility(utility, IWebSettings)
    test.addCleanup(getGlobalSiteManager().unregisterUtility, utility,
                    IWebSettings)


class TestForms(BrowserTests):
    """A form is taken from the application's own origin alone."""

    def setUp(self):
        super().setUp()
        self.csrf_token = self.get('token.json').json['csrf_token']

    def send(self, host='localhost', prefix='', scheme='http', **headers):
        """Send a form to pause a type; return the status."""
        return self.app('admin', **{'wsgi.url_scheme': scheme}).post(
            prefix + '/++background++/types.html',
            {'pause': '1', 'name': 'plain', 'csrf_token': self.csrf_token},
            headers={'Host': host, **{
                name.replace('_', '-'): value
                for name, value in headers.items()}},
            expect_errors=True).status_int

    def test_without_a_setting_host_and_scheme_decide(self):
        self.assertEqual(self.send(), 303)
        for host, origin, scheme, status in (
                ('localhost', 'http://localhost', 'http', 303),
                ('localhost:80', 'http://localhost', 'http', 303),
                ('LocalHost', 'http://localhost', 'http', 303),
                ('example.org:8080', 'http://example.org:8080', 'http', 303),
                ('[::1]:8080', 'http://[::1]:8080', 'http', 303),
                ('example.org', 'https://example.org', 'https', 303),
                ('example.org:443', 'https://example.org', 'https', 303),
                ('localhost', 'https://localhost', 'http', 403),
                ('localhost', 'http://localhost', 'https', 403),
                ('localhost', 'http://localhost:8080', 'http', 403),
                ('localhost', 'http://localhost.evil.example', 'http', 403),
                ('localhost', 'http://localhost@evil.example', 'http', 403),
                ('localhost', 'http://evil.example/localhost', 'http', 403),
                ('localhost', 'null', 'http', 403),
                ('localhost', '', 'http', 403),
                ('localhost', 'http://', 'http', 403),
                ('localhost', 'http://[', 'http', 403),
                ('', 'http://', 'http', 403),
                ('', 'http://localhost', 'http', 403)):
            with self.subTest(host=host, origin=origin, scheme=scheme):
                self.assertEqual(self.send(
                    host, scheme=scheme, Origin=origin), status)

    def test_virtual_host_of_a_path_is_not_believed(self):
        for prefix in VIRTUAL_HOSTS:
            for origin in ('http://evil.example', 'https://evil.example',
                           'http://localhost.evil.example'):
                self.assertEqual(
                    self.send(prefix=prefix, Origin=origin), 403)

    def test_virtual_host_of_a_trusted_proxy_is_believed(self):
        prefix = '/++vh++https:example.org:443/app/++'
        self.assertEqual(
            self.send(prefix=prefix, Origin='https://example.org'), 403)
        useSettings(self, trusts_virtual_hosts=True)
        self.assertEqual(
            self.send(prefix=prefix, Origin='https://example.org'), 303)
        for origin in ('http://example.org', 'https://example.org:8443',
                       'https://evil.example'):
            self.assertEqual(self.send(prefix=prefix, Origin=origin), 403)
        # What a client adds comes after that of the proxy, and wins.
        for origin in 'https://example.org', 'http://evil.example':
            for evil in VIRTUAL_HOSTS:
                self.assertEqual(
                    self.send(prefix=prefix + evil, Origin=origin), 403)
        self.assertEqual(self.send(
            prefix='/other/++vh++http:evil.example:80/++',
            Origin='http://evil.example'), 403)

    def test_scheme_of_a_named_proxy_is_believed(self):
        def send(told, origin='https://localhost'):
            return self.send(Origin=origin, X_Forwarded_Proto=told)

        self.assertEqual(send('https'), 403)
        useSettings(self, proxy_sets_scheme=True)
        self.assertEqual(send('https'), 303)
        self.assertEqual(send('https', 'http://localhost'), 403)
        for told in '', 'ftp', 'https, http', 'javascript':
            self.assertEqual(send(told), 403)
            self.assertEqual(send(told, 'http://localhost'), 303)

    def test_base_url_must_be_equal(self):
        useSettings(self, base_url='https://example.org')
        self.assertEqual(self.send(Origin='https://example.org'), 303)
        for headers in ({}, {'Sec_Fetch_Site': 'same-origin'},
                        {'X_Forwarded_Proto': 'https'}):
            for origin in ('http://example.org', 'https://example.org:8443',
                           'https://example.org.evil.example',
                           'https://example.org/', 'http://localhost',
                           'https://localhost', 'null', ''):
                with self.subTest(origin, headers=headers):
                    self.assertEqual(
                        self.send(Origin=origin, **headers), 403)
        # A name that was rebound to this server is of the same origin.
        self.assertEqual(self.send(
            'evil.example', Origin='http://evil.example',
            Sec_Fetch_Site='same-origin'), 403)

    def test_secure_cookie_follows_the_scheme(self):
        def is_secure(prefix='', **environ):
            answer = self.app('admin', **environ).get(
                prefix + '/other/@@background.html')
            return 'secure' in answer.headers['Set-Cookie'].lower()

        self.assertFalse(is_secure())
        self.assertFalse(is_secure('/++vh++https:evil.example:443/++'))
        self.assertTrue(is_secure(**{'wsgi.url_scheme': 'https'}))
        useSettings(self, base_url='https://example.org')
        self.assertTrue(is_secure())


class TestLinks(BrowserTests):
    """No answer names another server, whatever the path brings along."""

    def paths(self):
        run_id = self.makeRun('plain', self.root['report']).id
        failed = self.makeFailed(log='x').id
        for name in REGISTRY_VIEWS:
            if name != 'absolute_url':
                yield '/++background++/' + name + QUERIES.get(name, '')
        for name in RUN_VIEWS:
            if name not in ('', 'absolute_url'):
                for run in run_id, failed:
                    yield '/++background++/%s/%s' % (run, name)
        for name in SITE_VIEWS:
            yield '/@@' + name
            yield '/other/@@' + name
        yield '/++background++/nothing'
        yield '/++background++/nothing.json'
        yield '/++background++'
        yield '/++background++/++attribute++pauseType'

    def test_no_virtual_host_leads_away(self):
        paths = list(self.paths())
        self.assertGreater(len(paths), 30)
        for prefix in VIRTUAL_HOSTS:
            for path in paths:
                for user in 'admin', None:
                    with self.subTest(prefix + path, user=user):
                        answer = self.get(prefix + path, user)
                        self.check(answer)

    def test_no_redirect_leads_away(self):
        token = self.get('token.json').json['csrf_token']
        for prefix in VIRTUAL_HOSTS:
            for path, form in (
                    ('%s/stop.html' % self.makeRun().id, {'stop': '1'}),
                    ('%s/begin.html' % self.makeDelayed().id, {'begin': '1'}),
                    ('%s/retry.html' % self.makeFailed().id, {'retry': '1'}),
                    ('%s/remove.html' % self.makeFailed().id, {
                        'remove': '1'}),
                    ('types.html', {'pause': '1', 'name': 'plain'}),
                    ('types.html', {'resume': '1', 'name': 'plain'}),
                    ('schedules.html', {'run': '1', 'name': 'nightly'}),
                    ('bulk.html', {'all': 'stop'}),
                    ('start.html?type=plain', {
                        'form.buttons.start': '1', 'type': 'plain'})):
                answer = self.app('admin').post(
                    '%s/++background++/%s' % (prefix, path),
                    dict(form, csrf_token=token))
                self.assertEqual(answer.status_int, 303)
                self.check(answer)
                self.assertRegex(answer.headers['Location'], r'^/[^/\\]')
            answer = self.app('admin').post_json(
                prefix + '/++background++/start.json', {'type': 'plain'},
                headers={'X-CSRF-Token': token})
            self.check(answer)
            self.assertRegex(answer.headers['Location'], r'^/[^/\\]')

    def check(self, answer):
        self.assertNotIn('//' + EVIL, answer.text)
        self.assertNotIn(':80', answer.text)
        self.assertNotRegex(answer.text, r'(href|src|action)="[/\\]{2}')
        self.assertNotRegex(answer.text, r'(href|src|action)="[a-z]+:')
        self.assertRegex(answer.headers.get('Location', '/x'), r'^/[^/\\]')


class TestAddresses(unittest.TestCase):

    def test_what_only_begins_alike_is_outside(self):
        base = 'http://example.org/app'
        for url in (base, base + '/', base + '/x', base + '/x/y'):
            self.assertTrue(isWithin(url, base), url)
            self.assertTrue(isWithin(url, base + '/'), url)
        for url in ('http://example.org/apple', 'http://example.org/',
                    'http://example.organ/app/x', 'http://example.org',
                    'http://example.org:8080/app/x', 'https://example.org/app',
                    'http://example.org@evil.example/app',
                    'http://example.org.evil.example/app/x', '/app/x', ''):
            self.assertFalse(isWithin(url, base), url)
        self.assertTrue(isWithin('http://example.org/x', 'http://example.org'))
        self.assertFalse(isWithin(
            'http://example.org.evil.example/x', 'http://example.org'))

    def test_relative_path(self):
        for url, path in (('http://a/app', ''),
                          ('http://a/app/x/%C3%A4', 'x/ä'),
                          ('http://a/apple', None), ('http://b/app', None)):
            self.assertEqual(getRelativePath(url, 'http://a/app'), path)
        self.assertEqual(getRelativePath('/x/y', ''), 'x/y')

    def test_path_begins_with_one_slash(self):
        for url, path in (('http://a', ''), ('http://a/', ''),
                          ('http://a//evil.example/x', '/evil.example/x'),
                          ('http://a/\\evil.example', '/evil.example'),
                          ('http://a/\\', ''), ('http://a/\\/', ''),
                          ('http://a/\\/\\b', '/b'),
                          ('http://a/x/', '/x'), ('/x?y=1', '/x')):
            self.assertEqual(getPath(url), path)


class TestSettings(CleanUp, unittest.TestCase):

    def declare(self, text):
        """Carry out a directive; return the utility."""
        text = '''
            <configure xmlns="http://namespaces.zope.org/zope"
                xmlns:background="http://namespaces.zope.org/background">
              <include package="zope.component" file="meta.zcml" />
              <include package="zope.security" file="meta.zcml" />
              <include package="cipher.background" file="meta.zcml" />
              %s
            </configure>''' % text
        xmlconfig(StringIO(text))
        return getGlobalSiteManager().getUtility(IWebSettings)

    def test_directive_registers_the_settings(self):
        settings = self.declare(
            '<background:web base_url="HTTPS://Example.org:443/" '
            'proxy_sets_scheme="yes" trusts_virtual_hosts="yes" />')
        self.assertEqual('https://example.org', settings.base_url)
        self.assertTrue(settings.proxy_sets_scheme)
        self.assertTrue(settings.trusts_virtual_hosts)

    def test_defaults_trust_nobody(self):
        settings = self.declare('<background:web />')
        for name, field in IWebSettings.namesAndDescriptions():
            self.assertEqual(getattr(settings, name), field.default)
            self.assertFalse(field.default)

    def test_two_directives_conflict(self):
        with self.assertRaises(ConfigurationError):
            self.declare('<background:web /><background:web />')

    def test_base_url_is_an_origin(self):
        for url, origin in (
                ('http://example.org', 'http://example.org'),
                ('http://example.org:80', 'http://example.org'),
                ('https://example.org:8443/', 'https://example.org:8443'),
                ('http://[::1]:8080', 'http://[::1]:8080'),
                ('https://bücher.example', 'https://xn--bcher-kva.example'),
                ('http://127.0.0.1:080', 'http://127.0.0.1')):
            self.assertEqual(WebSettings(url).base_url, origin)

    def test_base_url_that_is_none_is_refused(self):
        for url in ('example.org', 'ftp://example.org', 'http://',
                    'http://example.org/app', 'http://a:b@example.org',
                    'http://example.org?x', 'http://example.org:x',
                    'http://example.org:99999', '//example.org',
                    'http://exa mple.org', 'http://.', 'http://ä..b'):
            with self.subTest(url), self.assertRaisesRegex(
                    ConfigurationError, 'web: expected base_url'):
                self.declare('<background:web base_url="%s" />' % url)

    def test_scheme_is_that_of_the_server(self):
        for environ, scheme in (
                ({}, 'http'), ({'wsgi.url_scheme': 'https'}, 'https'),
                ({'HTTPS': 'on'}, 'https'),
                ({'SERVER_PORT_SECURE': '1'}, 'https'),
                ({'HTTP_HTTPS': 'on'}, 'http'),
                ({'HTTP_X_FORWARDED_PROTO': 'https'}, 'http')):
            request = TestRequest(**environ)
            self.assertEqual(getScheme(request), scheme)

    def test_no_host_is_no_origin(self):
        self.assertEqual(getOrigins(TestRequest(HTTP_HOST='')), set())
