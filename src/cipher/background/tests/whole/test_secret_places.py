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
"""Every place where a text of a run is kept or shown, times forms of secrets.

The forms are made here by other means than those of `masking`.
"""
import base64
import functools
import html
import json
import logging
import re
import traceback
import unicodedata
import unittest
from html.entities import codepoint2name
from io import StringIO
from unittest import mock
from urllib.parse import quote
from urllib.parse import quote_plus
from urllib.parse import unquote
from urllib.parse import urlencode

import transaction
from zope.component import getGlobalSiteManager
from zope.interface import Interface
from zope.schema import Dict
from zope.schema import List
from zope.schema import Password
from zope.schema import TextLine

from cipher.background import testing
from cipher.background.declarations import workertype
from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import IWorkerType
from cipher.background.registry import reader
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.layers import Long
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import login
from cipher.background.thread import BackgroundJob
from cipher.background.util.logs import RecordFormatter
from cipher.background.util.text import CUT
from cipher.background.work.worker import stateOf


SECRETS = (
    'Sesame0pen1234',
    'sesam & 0pen/\u00e4rmel+"it\'s" <50%>?',
    'se\\same\'s\u20ac\ufb01x~(open)*!',
    'sesame\x1b[31mopen\u202e\u2028door',
    'A\u030angstro\u0308m:p@ss w\u00f6rd==',
)


class ILogin(Interface):
    """Where to go, and how to get in."""

    server = TextLine(title='Server', required=False)
    password = Password(title='Password', required=False)
    passwords = List(title='Passwords', required=False,
                     value_type=Password(title='Password'))
    keys = Dict(title='Keys', required=False,
                key_type=Password(title='Key'),
                value_type=TextLine(title='Use'))


def bothHex(make):
    """Return functions like *make* with upper and lower hex digits."""
    def lower(text):
        return re.sub('%..', lambda match: match[0].lower(), make(text))
    return make, lower


def normal(form):
    return lambda text: unicodedata.normalize(form, text)


def basic(user, encode=base64.b64encode):
    def header(text):
        return 'Authorization: Basic ' + encode(
            ('%s:%s' % (user, text)).encode()).decode()
    return header


FORMS = {
    'as it is': str,
    'repr': repr,
    'repr of a list': lambda text: repr([{'password': text}]),
    'repr of an error': lambda text: repr(KeyError({text: 1})),
    'repr of a repr': lambda text: repr(repr(text)),
    'beside both quotes': lambda text: repr('"\' ' + text),
    'bytes': lambda text: repr(text.encode()),
    'bytes as a part': lambda text: str([b'password=' + text.encode()]),
    'ascii': ascii,
    'ascii bytes': lambda text: '%a' % text.encode(),
    'json': lambda text: json.dumps({'password': text}),
    'json key': lambda text: json.dumps({text: 'password'}),
    'json as unicode': lambda text: json.dumps([text], ensure_ascii=False),
    'json in json': lambda text: json.dumps(json.dumps([text])),
    'query': lambda text: urlencode({'user': 'me', 'password': text}),
    'sql': lambda text: "identified by '%s'" % text.replace("'", "''"),
    'csv': lambda text: '"%s"' % text.replace('"', '""'),
    'html': html.escape,
    'html text': lambda text: html.escape(text, quote=False),
    'html by numbers': lambda text: html.escape(text, quote=False).replace(
        '"', '&#34;').replace("'", '&#39;'),
    'html in ascii': lambda text: html.escape(text).encode(
        'ascii', 'xmlcharrefreplace').decode(),
    'NFC': normal('NFC'), 'NFD': normal('NFD'), 'NFKC': normal('NFKC'),
    'NFKD': normal('NFKD'),
    'NFD in a query': lambda text: quote(normal('NFD')(text)),
    'hex': lambda text: text.encode().hex(),
    'HEX': lambda text: text.encode().hex().upper(),
}
for _name, _make in (
        ('quoted', lambda text: 'pg://me:%s@host/db' % quote(text, '')),
        ('quoted path', quote), ('quoted plus', quote_plus)):
    for _case, _made in zip(('', ', lower'), bothHex(_make)):
        FORMS[_name + _case] = _made
for _user in '', 'm', 'me', 'you':
    FORMS['base64, %r' % _user] = basic(_user)
    FORMS['base64 of URLs, %r' % _user] = basic(
        _user, base64.urlsafe_b64encode)
# Which signs are encoded differs: these are those of some programs and of all
# that could be.
for _name, _safe in {
        'a DSN of SQLAlchemy': ' +', 'requests': "!#$%&'()*+,/:;=?@[]~",
        'a browser': "!$%&()*+,-./:;=?@[]^_`{|}~\\", 'RFC 3986':
        "!$&'()*+,;=:@"}.items():
    FORMS['quoted by ' + _name] = functools.partial(quote, safe=_safe)
FORMS.update({
    'quoted by Java': lambda text: quote_plus(
        text, safe='*').replace('~', '%7E'),
    'quoted in Latin-1': lambda text: quote(
        text, encoding='latin-1', errors='ignore') if all(
            ord(sign) < 256 for sign in text) else '',
    'all percents': lambda text: ''.join(
        '%%%02x' % byte for byte in text.encode()),
    'quoted twice': lambda text: quote(quote(text)),
    'json quoted': lambda text: quote(json.dumps([text])),
    'json for HTML': lambda text: re.sub(
        '[<>&\'/]', lambda match: '\\/' if match[0] == '/' else
        '\\u%04X' % ord(match[0]), json.dumps(text)),
    'html of old': lambda text: html.escape(text).replace('&#x27;', '&#039;'),
    'html by names': lambda text: ''.join(
        '&%s;' % codepoint2name[ord(sign)] if ord(sign) in codepoint2name
        else sign for sign in text),
    'html, all by numbers': lambda text: ''.join(
        '&#X%X;' % ord(sign) for sign in text),
    'html of a repr': lambda text: html.escape(repr([text])),
    'repr of html': lambda text: repr(html.escape(text)),
    'names of signs': lambda text: text.encode(
        'ascii', 'namereplace').decode(),
    'each sign escaped': re.escape,
    'octal': lambda text: ''.join('\\%03o' % ord(sign) if ord(sign) < 256
                                  and not sign.isalnum() else sign
                                  for sign in text),
    'wrong charset': lambda text: text.encode().decode('latin-1'),
})


#: Those that are quoted twice: some places would quote them a third time.
TWICE = {'repr of a repr', 'json in json', 'html of a repr', 'repr of html',
         'json quoted', 'quoted twice'}


@functools.lru_cache(maxsize=None)
def pieces(secret):
    """Return a pattern of what may not be shown: all parts of 5 characters."""
    secret = unicodedata.normalize('NFKD', secret)
    return re.compile('|'.join(
        re.escape(secret[n:n + 5]) for n in range(len(secret) - 4)))


def decoded(shown):
    """Yield *shown*, and whatever can be read out of it."""
    for text in shown, unquote(shown), html.unescape(shown):
        yield unicodedata.normalize('NFKD', text)
    for token in re.findall('[A-Za-z0-9+/_=-]{6,}', shown):
        for skip in range(4):
            data = token[skip:].rstrip('=')
            data = data[:len(data) // 4 * 4].translate(
                str.maketrans('-_', '+/'))
            try:
                yield unicodedata.normalize(
                    'NFKD', base64.b64decode(data).decode('utf-8', 'ignore'))
            except ValueError:
                pass
        if re.fullmatch('(..)+', token):
            try:
                yield bytes.fromhex(token).decode('utf-8', 'ignore')
            except ValueError:
                pass


class FormTests(unittest.TestCase):
    """The forms themselves: they are masked, and prove something."""

    def test_each_form_is_masked(self):
        for secret in SECRETS:
            worker_type = WorkerType('log-in', handler=len, schema=ILogin)
            for given in ({'password': secret}, {'passwords': ['x', secret]},
                          {'keys': {secret: 'door'}}):
                for name, make in FORMS.items():
                    with self.subTest(name, secret=secret):
                        made = make(secret)
                        shown = worker_type.hide(
                            'before %s after' % made, given)
                        self.assertIn('before ', shown)
                        self.assertIn(' after', shown)
                        self.assertHidden(secret, shown)

    def test_each_form_could_be_read(self):
        # Were it not so, the tests here would prove nothing.
        secret = SECRETS[0]
        for name, make in FORMS.items():
            with self.subTest(name):
                self.assertTrue(any(map(
                    pieces(secret).search, decoded(make(secret)))))

    def assertHidden(self, secret, shown):
        found = pieces(secret).search('\n'.join(decoded(shown)))
        # Not the whole text, which may be long.
        self.assertFalse(found and found.string[found.start():][:80])


class Places:
    """Runs that put a text wherever a run can; mix-in of test cases."""

    def prepare(self, make):
        """Declare worker types that show ``make(password)``; log in."""
        self.stream = StringIO()
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(RecordFormatter())
        # What a handler that is no text gets: all of a record.
        self.records = []
        whole = logging.Handler()
        whole.emit = lambda record: self.records.append(
            {name: repr(value) for name, value in vars(record).items()})
        root = logging.getLogger()
        for each in handler, whole:
            root.addHandler(each)
            self.addCleanup(root.removeHandler, each)
        self.addCleanup(root.setLevel, root.level)
        root.setLevel(logging.INFO)
        self.live = []
        test = self

        class Named(BackgroundJob):

            def __init__(self, *args, password):
                super().__init__(*args, password=password)
                self.name = 'named ' + make(password)
                self.setProgress(0, 1, make(password))

            def doWork(self):
                text = make(self.input['password'])
                test.say(self, text)
                return self.name

            def doCleanup(self):
                transaction.get().note(make(self.input['password']))
                raise RuntimeError(make(self.input['password']))

        class Unmade(BackgroundJob):

            def __init__(self, *args, password):
                raise RuntimeError(make(password))

        def note(text):
            transaction.get().note('noted ' + text)
            transaction.get().setExtendedInfo('login', [text])

        def succeed(worker, password):
            test.say(worker, make(password))
            note(make(password))
            worker.checkpoint()
            note(make(password))
            return {'n': 1, make(password): [(make(password),)],
                    'bytes': make(password).encode()}

        def succeed_at_length(worker, password):
            return [make(password)] * 1000

        def fail(worker, password):
            test.say(worker, make(password))
            try:
                raise KeyError(make(password))
            except KeyError:
                raise type(make(password)[:900].replace('\0', ''),
                           (ValueError,), {})(make(password))

        class IOne(Interface):
            password = Password(title='Password')

        for name, values in {
                'named': {'factory': Named}, 'unmade': {'factory': Unmade},
                'succeed': {'handler': succeed},
                'succeed-at-length': {'handler': succeed_at_length},
                'fail': {'handler': fail, 'max_attempts': 2,
                         'retry_delay': 0.0},
        }.items():
            self.addType(WorkerType(name, schema=IOne, **values))

    def addType(self, worker_type):
        components = getGlobalSiteManager()
        name = worker_type.name
        components.registerUtility(worker_type, IWorkerType, name)
        self.addCleanup(components.unregisterUtility, worker_type,
                        IWorkerType, name)

    def say(self, worker, text):
        """Let *worker* show *text* while it works."""
        worker.log.info('I say %s', text)
        worker.log.info(text)
        worker.log.error('With a traceback', exc_info=ValueError(text))
        worker.log.info('%(shown)s', {'shown': 'this', 'left out': text})
        worker.log.info('more', extra={'login': {'password': [text]}})
        logging.getLogger('elsewhere').info('In thoughts of %s', 'nothing')
        worker.setProgress(1, 2, text)
        live = stateOf(worker).observer.live
        self.live.append(str((live.getReport(), live.getStatus())))
        self.live.append(repr(live.progress))
        self.live.append(''.join(traceback.format_list(
            traceback.extract_stack(limit=2))) + live.log.getText())

    def carryOut(self, site, secret, make):
        """Carry out one run of each type; return them."""
        runs = [self.registry.start(name, password=secret)
                for name in ('named', 'unmade', 'succeed',
                             'succeed-at-length', 'fail')]
        stopped = self.registry.start('succeed', password=secret)
        self.registry.requestStop(stopped.id, 'because of ' + make(secret))
        transaction.commit()
        for _ in range(10):
            try:
                testing.runPending(site)
                break
            except Exception:
                transaction.abort()
        transaction.begin()
        self.registry.retry(runs[-1].id, 'because of ' + make(secret))
        gone = self.registry.start('succeed', password=secret)
        self.registry.requestStop(gone.id)
        self.registry.remove(gone.id, 'because of ' + make(secret))
        many = [self.registry.start('succeed', password=secret).id
                for _ in range(2)]
        for verb in 'stop', 'remove':
            self.registry.actOnRuns(
                verb, many, 'because of ' + make(secret), filter='all')
        transaction.commit()
        self.assertEqual([run.state for run in runs], [
            'succeeded', 'failed', 'succeeded', 'succeeded', 'failed'])
        return runs + [stopped]


class PlaceTests(Places, SiteTests):
    """In the registry, the database and the server's log."""

    layer = Long

    assertHidden = FormTests.assertHidden
    since = None

    def shown(self, runs):
        """Yield (place, text) of all that is kept and shown."""
        for run in runs:
            run._p_activate()
            kept = dict(vars(run))
            self.assertIn('password', kept.pop('input'))
            yield 'stored run', repr(kept)
            yield 'repr', repr(run) + str(run)
            if run.details is not None:
                yield 'stored details', repr(run.details.__getstate__())
            yield 'status', str(self.registry.getStatus(run.id))
            details = self.registry.getDetails(run.id)
            yield 'details', str(details)
            for name in 'traceback', 'log':
                yield name, getattr(details, name)
        yield 'list', str(self.registry.listRuns(limit=8).items)
        yield 'journal', str(self.registry.listActions())
        rows = self.registry.journal
        yield 'stored journal', str([*rows.recent.values(),
                                     *rows.lasting.values()])
        yield 'stops', str(list(self.registry.stops.values()))
        for record in self.db.storage.iterator(self.since):
            yield 'note', record.description.decode('utf-8')
            yield 'extended note', repr(record.extension)
        yield 'server log', self.stream.getvalue()
        yield 'records of the server log', str(self.records)
        for text in self.live:
            yield 'live', text

    def test_no_place_shows_any_form(self):
        login('somebody')
        for secret in SECRETS[1:3]:
            for name in FORMS.keys() - TWICE:
                make = FORMS[name]
                with self.subTest(name, secret=secret):
                    self.prepare(make)
                    self.since = self.db.storage.lastTransaction()
                    runs = self.carryOut(self.site, secret, make)
                    for place, text in self.shown(runs):
                        with self.subTest(form=name, place=place):
                            self.assertHidden(secret, text)

    def test_each_place_would_show_it(self):
        # With a schema that knows of no password.
        login('somebody')
        self.prepare(str)
        for name in ('named', 'unmade', 'succeed', 'succeed-at-length',
                     'fail'):
            old = getGlobalSiteManager().getUtility(IWorkerType, name)

            class IOpen(Interface):
                password = TextLine(title='Password')

            self.addType(WorkerType(name, factory=old.factory, schema=IOpen,
                                    handler=old.handler))
        secret = SECRETS[0]
        runs = self.carryOut(self.site, secret, str)
        open_in = {place for place, text in self.shown(runs)
                   if secret in text}
        self.assertEqual(open_in, {
            'stored run', 'stored details', 'status', 'details', 'traceback',
            'log', 'list', 'journal', 'stored journal', 'note',
            'extended note', 'server log', 'records of the server log',
            'live'})


class PageTests(Places, BrowserTests):
    """On the pages, in the JSON, the CSV and the downloads."""

    assertHidden = FormTests.assertHidden

    def test_no_page_shows_any_form(self):
        secret = SECRETS[1]
        for number, name in enumerate(FORMS.keys() - TWICE):
            make = FORMS[name]
            with self.subTest(name):
                self.prepare(make)
                runs = self.carryOut(self.root, secret, make)
                paths = ['index.json', 'runs.json', 'runs.csv']
                if number % 8 == 0:
                    paths += ['index.html', 'runs.html', 'journal.html',
                              'types.html', 'processes.html']
                for run in runs:
                    paths += [run.id + '/index.json', run.id + '/log.txt']
                    if number % 8 == 0:
                        paths.append(run.id)
                for path in paths:
                    with self.subTest(form=name, path=path):
                        answer = self.get(path)
                        self.assertEqual(answer.status_int, 200)
                        self.assertHidden(secret, html.unescape(answer.text))
                        if path.endswith('.json'):
                            self.assertHidden(secret, str(answer.json))

    def test_no_list_masks_anything(self):
        self.prepare(str)
        runs = self.carryOut(self.root, SECRETS[1], str)
        runs.append(self.makeFailed(('ValueError', CUT * 1000)))
        for module in reader, workertype:
            patched = mock.patch.object(
                module, 'makeMasker', side_effect=AssertionError)
            patched.start()
            self.addCleanup(patched.stop)
        paths = ['index.json', 'index.html', 'runs.json', 'runs.html',
                 'runs.csv', 'types.json', 'processes.json', 'journal.html']
        for run in runs[:-2]:   # what was never begun has no details
            paths += [run.id, run.id + '/index.json', run.id + '/log.txt']
        for path in paths:
            with self.subTest(path):
                self.assertEqual(self.get(path).status_int, 200)
