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
"""Another site's page, open in the browser of a logged-in administrator."""
import base64
import json
import threading
from argparse import Namespace
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer
from urllib.parse import quote

import transaction

from cipher.background.demo.server import make_application
from cipher.background.registry.installation import getRegistry
from cipher.background.tests.demo.test_pages import DemoPagesTestCase
from cipher.background.tests.support import addresses as walk
from cipher.background.tests.support.browser import serve
from cipher.background.tests.support.chromium import launchBrowser


#: Seconds for all that the page tries.
LIMIT = 120

PAGE = '''\
<!DOCTYPE html><title>Evil</title><body><script>
const attacks = %s, login = {credentials: 'include'};
const names = [];

function frame(target) {
  const element = document.createElement('iframe');
  element.name = target;
  element.hidden = true;
  document.body.append(element);
  return element;
}

function add(tag, values) {
  const element = Object.assign(document.createElement(tag), values);
  element.hidden = true;
  document.body.append(element);
  return element;
}

function submit(url, method, enctype, fields) {
  const form = add('form', {
    action: url, method: method, enctype: enctype, target: 'sink'});
  for (const [name, value] of Object.entries(fields)) {
    form.append(Object.assign(document.createElement('input'),
                              {name: name, value: value}));
  }
  form.submit();
}

function settle(promise) {
  return promise.then((answer) => answer.text()).then(
    (text) => { if (text) { names.push(text); } }, () => null);
}

async function attack(url, fields) {
  const body = new URLSearchParams(fields);
  const waiting = [
    new Promise((resolve) => add('img', {
      src: url, onload: resolve, onerror: resolve})),
    new Promise((resolve) => add('script', {
      src: url, onload: resolve, onerror: resolve})),
    new Promise((resolve) => Object.assign(frame('f'), {
      src: url, onload: resolve})),
  ];
  add('link', {rel: 'stylesheet', href: url});
  add('link', {rel: 'prefetch', href: url});
  add('object', {data: url});
  add('a', {href: url, target: 'sink', ping: url}).click();
  const opened = window.open(url);
  for (const method of ['GET', 'HEAD', 'POST']) {
    waiting.push(settle(fetch(url, {
      method: method, mode: 'no-cors', ...login,
      body: method === 'POST' ? body : undefined})));
    waiting.push(settle(fetch(url, {method: method, ...login})));
  }
  for (const method of ['PUT', 'DELETE', 'PATCH']) {
    waiting.push(settle(fetch(url, {method: method, ...login})));
  }
  for (const type of ['text/plain', 'application/json', 'text/xml']) {
    waiting.push(settle(fetch(url, {
      method: 'POST', ...login, headers: {'Content-Type': type},
      body: type === 'text/xml' ? fields.xml : JSON.stringify(fields)})));
  }
  navigator.sendBeacon(url, body);
  for (const type of ['application/x-www-form-urlencoded', 'text/plain',
                      'multipart/form-data']) {
    submit(url, 'post', type, fields);
  }
  submit(url, 'get', '', fields);
  await Promise.all(waiting);
  if (opened) { opened.close(); }
}

(async () => {
  frame('sink');
  // Few at a time: the browser keeps a queue for each server.
  async function work() {
    while (attacks.length) {
      // Some of these never say that they are done.
      await Promise.race([attack(...attacks.shift()),
                          new Promise((done) => setTimeout(done, 500))]);
    }
  }
  await Promise.all([work(), work(), work(), work()]);
  document.title = 'Done';
})();
</script>'''


class ForeignSite:
    """A server of another origin, with one page."""

    def __init__(self, host, page):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = page.encode('utf-8')
                self.send_response(200)
                self.send_header('Content-Type', 'text/html;charset=utf-8')
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.url = 'http://%s:%d/' % (host, self.server.server_port)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class TestForeignSite(DemoPagesTestCase):

    def setUp(self):
        super().setUp()
        self.requests = []
        self.addDocument('victim')
        # Nothing but the runtime itself has anything to commit afterwards.
        for type in 'publish', 'reindex', 'unindex', 'notify':
            self.waitForRuns(type)
        application = make_application(
            self.layer.db, Namespace(host='127.0.0.1', allow_host=[]))

        def noted(environ, start_response):
            self.requests.append((
                environ['REQUEST_METHOD'], environ['PATH_INFO'],
                environ.get('HTTP_AUTHORIZATION'),
                environ.get('HTTP_SEC_FETCH_SITE')))
            return application(environ, start_response)

        self.demo_url = serve(self, noted, 8, LIMIT)
        browser = launchBrowser(self, '--disable-popup-blocking')
        # A browser that sends its login with whatever goes to the demo.
        login = base64.b64encode(b'admin:admin').decode()
        self.context = browser.new_context(extra_http_headers={
            'Authorization': 'Basic ' + login})
        self.context.set_default_timeout(LIMIT * 1000)

    def attacks(self):
        """Return [(URL, fields of a form)] of all that is tried."""
        connection = self.layer.db.open()
        try:
            root = connection.root()['Application']
            registry = getRegistry(root)
            run = registry.get(registry.listRuns().items[0].id)
            objects = {
                '/documents': root['documents'],
                '/++background++': registry,
                '/++background++/' + run.id: run}
            names = {path: walk.findNames(ob) for path, ob in objects.items()}
            fields = {path: {
                parameter: run.id if 'id' in parameter else 'victim'
                if path == '/documents' else 'flaky'
                for parameter in walk.findParameters(ob, names[path])}
                for path, ob in objects.items()}
            run_id = run.id
        finally:
            transaction.abort()
            connection.close()
        found = []
        for path, allowed in names.items():
            for name in sorted(allowed):
                query = '&'.join('%s=%s' % (key, quote(str(value)))
                                 for key, value in fields[path].items())
                found.append(('%s/++attribute++%s?%s' % (path, name, query),
                              fields[path]))
        for path, form in (
                ('types.html', {'pause': '1', 'name': 'flaky'}),
                ('start.html?type=flaky', {
                    'type': 'flaky', 'form.buttons.start': '1'}),
                ('start.json', {'type': 'flaky'}),
                ('schedules.html', {'run': '1', 'name': 'nightly-report'}),
                ('bulk.html', {'all': 'remove'}),
                (run_id + '/remove.html', {'remove': '1'}),
                (run_id + '/retry.html', {'retry': '1'}),
                (run_id + '/begin.html', {'begin': '1'}),
                (run_id + '/stop.json', {'reason': 'x'}),
                (run_id + '/remove.json', {'reason': 'x'}),
                ('token.json', {}), ('index.json', {})):
            found.append(('/++background++/' + path, dict(
                form, csrf_token='x')))
        found.append(('/documents/victim/publish.html', {}))
        found.append(('/@@addBackground', {}))
        call = ('<?xml version="1.0"?><methodCall><methodName>++attribute++%s'
                '</methodName><params><param><value>%s</value></param>'
                '</params></methodCall>')
        return [(self.demo_url + url, dict(
            {key: str(value) for key, value in form.items()},
            xml=call % ('remove', run_id))) for url, form in found]

    def listCommits(self, start):
        """Return [(user, note, request)] of what was committed since."""
        return [(record.user.decode(), record.description.decode(),
                 record.extension.get('request_info'))
                for record in self.layer.db.storage.iterator(start)]

    def test_another_site_commits_nothing(self):
        self.visit('localhost', 'cross-site')

    def test_another_port_commits_nothing(self):
        # Not all of it again: the browser says another word, no more.
        self.visit('127.0.0.1', 'same-site', 5)

    def visit(self, host, kind, step=1):
        attacks = self.attacks()[::step]

        site = ForeignSite(host, PAGE % json.dumps(attacks))
        self.addCleanup(site.close)
        page = self.context.new_page()
        page.goto(self.demo_url + '/++background++/index.html')
        self.assertIn('Administrator', page.content())
        count = len(self.requests)
        # The next transaction begins after this one.
        with self.site():
            pass
        tid = self.layer.db.lastTransaction()
        other = self.context.new_page()
        other.goto(site.url)
        other.wait_for_function('() => document.title === "Done"')
        sent = [request for request in self.requests[count:]
                if request[3] == kind]
        # They came, and the browser had logged in.
        self.assertGreater(len(sent), 5 * len(attacks))
        self.assertGreater(sum(bool(request[2]) for request in sent),
                           len(attacks))
        self.assertLessEqual({'GET', 'HEAD', 'POST'},
                             {request[0] for request in sent})
        self.assertEqual([], other.evaluate('names'))
        for user, note, request in self.listCommits(tid)[1:]:
            self.assertIsNone(request, (user, note))
            self.assertRegex(note, '^(background process |run |heartbeat$)')
