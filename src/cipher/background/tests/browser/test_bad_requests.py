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
"""Requests that no browser sends: a page of ours, and one line of the log."""
import base64
import contextlib
import logging
import re
import unittest

from zope.app.wsgi import WSGIPublisherApplication

from cipher.background.browser.wsgi import answerErrors
from cipher.background.demo.hosts import refuseForeignHosts
from cipher.background.tests.browser.test_publication import DEMO_LAYER
from cipher.background.tests.support.addresses import ask
from cipher.background.tests.support.browser import BrowserTests


LATIN = '\xff'         # a byte that begins nothing in UTF-8, as WSGI has it
OVERVIEW = '/++background++/index.html'
TYPES = '/++background++/types.html'
START = '/++background++/start.json'
FORM = 'application/x-www-form-urlencoded'

#: What stands for each header, field and path: right ones, wrong ones.
TEXTS = ('', ' ', '\t', LATIN, '\u20ac', '\x00', 'x', 'x' * 20000, ':', ';',
         '=', '"', '[', '[::1', '%', '%FF', '\u0663', '-1', '1e3', '5.0',
         '9' * 30, '../../x', '\\', 'nan', 'null', "'", '<b>')
HEADERS = (
    'HTTP_HOST', 'HTTP_COOKIE', 'HTTP_AUTHORIZATION', 'HTTP_ORIGIN',
    'HTTP_ACCEPT_LANGUAGE', 'HTTP_ACCEPT_CHARSET', 'HTTP_ACCEPT_ENCODING',
    'HTTP_SEC_FETCH_SITE', 'HTTP_X_CSRF_TOKEN', 'HTTP_X_FORWARDED_PROTO',
    'HTTP_X_FORWARDED_HOST', 'HTTP_REFERER', 'HTTP_USER_AGENT', 'HTTP_ACCEPT',
    'HTTP_IF_MODIFIED_SINCE', 'HTTP_IF_NONE_MATCH', 'HTTP_SOAPACTION',
    'HTTP_CGI_AUTHORIZATION', 'HTTP_CONTENT_LENGTH', 'CONTENT_LENGTH',
    'CONTENT_TYPE')
PREFIXES = {
    'HTTP_AUTHORIZATION': ('Basic ', 'Basic Og==', 'Bearer '),
    'HTTP_COOKIE': ('a=', 'a="', 'cipher.background.csrf='),
    'HTTP_ACCEPT_CHARSET': ('utf-8;q=', 'hex, idna, '),
    'HTTP_ACCEPT_LANGUAGE': ('de;q=', 'de-'),
    'CONTENT_TYPE': ('multipart/form-data; boundary=', FORM + '; charset=',
                     'application/json; charset=', 'text/xml; ',
                     'multipart/mixed; x='),
}
#: Right and wrong addresses, and credentials that are no text.
WHOLE = {
    'HTTP_HOST': ('[127.0.0.1]', '[127.0.0.1]:80', '[:]', '[::::]', '[1::2::]',
                  '[::1.2.3]', '[12345::]', '[]', '[]:80', '[::1%25eth0]',
                  '[fe80::1%eth0]', '[v1.x]', '[::1].x', '[::1]:x', '[::1]',
                  '127.0.0.1:', 'localhost.:80', 'LOCALHOST', '..', '%zz',
                  '-', 'a@b', 'a,b', 'a:b:c'),
    'HTTP_AUTHORIZATION': tuple(
        'Basic ' + base64.b64encode(text).decode() for text in (
            b'\xff:x', b'x:\xff', b'\xff', b':', b'', b'admin', b'a\0:b',
            b'\xed\xa0\x80:x', 'z\xfcrich:z\xfcrich'.encode('latin-1'))),
}
#: As a query, and as the body of a form.
FORMS = (
    '%FF=%FF', 'a=%FF', '%00', '&' * 5000, '=', 'a=%E2%82', '%ED%A0%80=1',
    'a:int=x', 'a:float=x', 'a:required=', 'a:long=x', 'a:date=1',
    'a:tuple=x', 'a:records=x', 'a.b:record=x', 'a.b:records=1&a:int=2',
    'a:int:list=x', 'a:lines=x&a:int=3', 'a:tokens:default=x',
    ':method=x', ':method=%FF', 'x:method=1', '++attribute++retry:method=1',
    ':default_method=x', ':action=%00', 'type:record=1', 'type:list=1',
    'state=%FF', 'before=%FF', 'q=%FF', '\xff=\xff', 'a' * 50000)
BODIES = (b'', b'x', b'--x', b'--x\r\nfoo', b'--x--', b'\xff\xfe', b'<a',
          b'{"type":', b'--x\r\nContent-Disposition: form-data; name="a"'
          b'\r\n\r\n\xff\r\n--x--\r\n',
          b'--x\r\nContent-Disposition: form-data; name="\xff"; '
          b'filename="\xff"\r\n\r\n\xff\r\n--x--\r\n',
          b'--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--\r\n')
TYPES_OF_BODIES = (
    FORM, 'multipart/form-data', 'multipart/form-data; boundary=x',
    'multipart/form-data; boundary=x; charset=nope', 'multipart/mixed',
    FORM + '; charset=utf-16', FORM + '; charset=nope', 'text/xml',
    'text/xml; charset=x', 'application/json', ';', '')
PATHS = ('/%s', '/++background++/%s', '/++background++/%s/index.html',
         '/@@/%s', '/++background++/@@%s', '/++%s', '/++vh++%s/++')
METHODS = ('OPTIONS', 'get', 'X' * 1000, '', 'TRACE', 'CONNECT', LATIN,
           'DELETE', 'PROPFIND', 'PUT', 'PATCH')


def requests():
    """Yield the environments of all kinds of requests, without the body."""
    for method, path in ('GET', OVERVIEW), ('POST', TYPES), ('POST', START):
        for name in HEADERS:
            for prefix in ('', *PREFIXES.get(name, ())):
                for text in TEXTS:
                    yield {'method': method, 'path': path,
                           name: prefix + text}
        for name, texts in WHOLE.items():
            for text in texts:
                yield {'method': method, 'path': path, name: text}
    for form in FORMS:
        for path in OVERVIEW, '/++background++/runs.html':
            yield {'method': 'GET', 'path': path, 'query': form}
        yield {'method': 'POST', 'path': TYPES, 'CONTENT_TYPE': FORM,
               'body': form.encode('utf-8')}
    for kind in TYPES_OF_BODIES:
        for body in BODIES:
            for path in TYPES, START:
                yield {'method': 'POST', 'path': path, 'CONTENT_TYPE': kind,
                       'body': body}
    for path in PATHS:
        for text in (*TEXTS, 'a/' * 3000, '..', '@@', '++', '\xed\xa0\x80',
                     '++etc++process', '++etc++process/x', 'etc++site',
                     '++resource++cipher-background.js'):
            yield {'method': 'GET', 'path': '/', 'PATH_INFO': path % text}
    for method in METHODS:
        for path in OVERVIEW, START:
            yield {'method': method, 'path': path}


class Records(logging.Handler):
    """Keeps all that is logged."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def emit(self, record):
        self.texts.append(self.format(record))


class BadRequests:
    """Mixin: what holds of each request, whatever is wrong with it."""

    def check(self, application, test):
        """Send each request, as a user and as nobody; return the statuses."""
        statuses = {}
        records = Records()
        root = logging.getLogger()
        root.addHandler(records)
        self.addCleanup(root.removeHandler, records)
        for values in requests():
            for user in 'admin', None:
                del records.texts[:]
                answer = ask(application, user=user, **values)
                what = '%.300r as %s: %s' % (values, user, answer.status)
                self.assertIsNone(answer.error, what)
                test(answer, records.texts, what)
                statuses[answer.status] = statuses.get(answer.status, 0) + 1
        return statuses

    def is_short(self, answer, texts, what):
        self.assertLess(answer.status, 500, what)
        if answer.status >= 400:
            self.assertIn('Content-Security-Policy', answer.headers, what)
            self.assertEqual('no-store', answer.headers['Cache-Control'], what)
        self.assertLessEqual(len(texts), 1, what)
        for text in texts:
            self.assertNotIn('Traceback', text, what)
            self.assertNotIn('\n', text, what)
            self.assertLess(len(text), 800, what)


class TestDemo(BadRequests, unittest.TestCase):

    layer = DEMO_LAYER

    def test_bad_requests_are_answered_by_a_page_of_ours(self):
        application = answerErrors(
            WSGIPublisherApplication(self.layer.db), browsers_only=True)
        statuses = self.check(application, self.is_short)
        self.assertGreater(sum(statuses.values()), 5000)
        for status in 200, 400, 401, 403, 404, 405, 415:
            self.assertIn(status, statuses)

    def test_form_of_a_document_takes_one_text_a_field(self):
        publisher = WSGIPublisherApplication(self.layer.db)
        path = '/documents/add.html'
        token = re.search(rb'name="csrf_token" value="([^"]+)"', ask(
            publisher, 'GET', path, 'admin').body)[1].decode()
        for suffix in ':list', ':int', ':record', ':tuple', ':lines':
            for field in 'document.widgets.title', 'document.widgets.body':
                answer = ask(
                    publisher, 'POST', path, 'admin', CONTENT_TYPE=FORM,
                    body=('%s%s=1&document.buttons.save=1&csrf_token=%s' % (
                        field, suffix, token)).encode())
                self.assertEqual(400, answer.status, field + suffix)

    def test_without_our_function_a_bad_form_is_a_bad_request(self):
        publisher = WSGIPublisherApplication(self.layer.db)
        for values in ({'query': 'a:int=x'},
                       {'HTTP_AUTHORIZATION': 'Basic x'},
                       {'query': 'a=%FF', 'HTTP_ACCEPT_CHARSET': 'nope'}):
            answer = ask(publisher, 'GET', OVERVIEW, **values)
            self.assertEqual(400, answer.status, values)
            self.assertIn('Content-Security-Policy', answer.headers)


class TestApplication(BrowserTests):

    def setUp(self):
        super().setUp()
        self.publisher = WSGIPublisherApplication(
            self.registry._p_jar.db())

    def test_error_of_the_publisher_is_a_page_and_a_line(self):
        def broken(environ, start_response):
            raise RuntimeError('Sesame\nopen')

        for path, kind in ((OVERVIEW, 'text/html;charset=utf-8'),
                           (START, 'application/json'),
                           ('/', 'text/html;charset=utf-8')):
            with self.assertLogs('cipher.background.web') as logs:
                answer = ask(answerErrors(broken), 'GET', path,
                             HTTP_ACCEPT_LANGUAGE='de')
            self.assertEqual(500, answer.status)
            self.assertEqual(kind, answer.headers['Content-Type'])
            self.assertIn('Content-Security-Policy', answer.headers)
            self.assertEqual(str(len(answer.body)),
                             answer.headers['Content-Length'])
            self.assertNotIn(b'Sesame', answer.body)
            self.assertNotIn(b'Something', answer.body)
            line, = logs.output
            self.assertIn('RuntimeError: Sesame open (test_bad', line)
            self.assertNotIn('\n', line)
        with self.assertLogs('cipher.background.web'):
            self.assertEqual(b'', ask(answerErrors(broken), 'HEAD',
                                      OVERVIEW).body)
        with self.assertRaises(RuntimeError):
            broken_environ = {'wsgi.handleErrors': False}
            raise ask(answerErrors(broken), 'GET', '/',
                      **broken_environ).error

    def test_only_browsers_come_below_the_registry(self):
        application = answerErrors(self.publisher)
        body = (b'<?xml version="1.0"?><methodCall><methodName>getSite'
                b'</methodName><params/></methodCall>')
        for path in '/++background++', '/other/++background++/index.html':
            for method in METHODS:
                if method.upper() in ('GET', 'HEAD', 'POST'):
                    continue
                answer = ask(application, method, path, 'admin')
                self.assertEqual(405, answer.status)
                self.assertEqual('GET, HEAD, POST', answer.headers['Allow'])
            answer = ask(application, 'POST', path, 'admin', body=body,
                         CONTENT_TYPE='text/xml; charset=utf-8')
            self.assertEqual(415, answer.status)
            self.assertIn('X-Frame-Options', answer.headers)
        # Elsewhere that is for the host to say.
        answer = ask(application, 'POST', '/', 'admin', body=body,
                     CONTENT_TYPE='text/xml')
        self.assertIn(b'methodResponse', answer.body)

    def test_form_is_there_for_the_publisher(self):
        token = self.get('token.json').json['csrf_token']
        body = 'pause=1&name=plain&csrf_token=' + token
        application = answerErrors(self.publisher)
        for kind, text in ((FORM, body), ('multipart/form-data; boundary=x', (
                ''.join('--x\r\nContent-Disposition: form-data; name="%s"'
                        '\r\n\r\n%s\r\n' % tuple(pair.split('='))
                        for pair in body.split('&')) + '--x--\r\n'))):
            answer = ask(application, 'POST', TYPES, 'admin',
                         body=text.encode(), CONTENT_TYPE=kind)
            self.assertEqual(303, answer.status)

    def test_json_is_not_read_before_its_time(self):
        token = self.get('token.json').json['csrf_token']
        answer = ask(
            answerErrors(self.publisher), 'POST', START, 'admin',
            body=b'{"type": "plain"}', CONTENT_TYPE='application/json',
            HTTP_X_CSRF_TOKEN=token)
        self.assertEqual(202, answer.status)


class TestHosts(unittest.TestCase):

    def status(self, host, *names):
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'']

        with contextlib.ExitStack() as stack:
            stack.enter_context(self.silence())
            return ask(refuseForeignHosts(application, names), 'GET', '/',
                       HTTP_HOST=host).status

    def silence(self):
        logger = logging.getLogger('cipher.background.demo.hosts')
        logger.disabled = True
        return contextlib.closing(type('Loud', (), {'close': staticmethod(
            lambda: setattr(logger, 'disabled', False))}))

    def test_demo_refuses_the_names_of_others(self):
        for host in ('localhost', 'localhost:8080', 'LOCALHOST', 'localhost.',
                     'a.localhost:80', '127.0.0.1:8080', '192.168.1.7',
                     '127.0.0.1.', '[::1]:8080', '[fe80::1]', '',
                     'my.name:8080'):
            self.assertEqual(200, self.status(host, 'My.Name'), host)
        for host in ('evil.example', 'evil.example:8080', 'localhost.evil',
                     'localhostevil', '127.0.0.1.evil.example', 'my.name.evil',
                     '[evil.example]', '0x7f.1', 'x', '2130706433',
                     'evil.example#localhost', 'localhost@evil.example'):
            self.assertEqual(403, self.status(host, 'my.name'), host)

    def test_refusal_says_what_to_do(self):
        with self.assertLogs('cipher.background.demo.hosts') as logs:
            answer = ask(refuseForeignHosts(None, ()), 'GET', '/',
                         HTTP_HOST='evil.example')
        self.assertIn(b'--allow-host', answer.body)
        self.assertNotIn(b'evil', answer.body)
        self.assertIn('--allow-host', logs.output[0])
