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
"""The texts in other languages: whole, up to date, and on the pages."""
import io
import re
import shutil
import tempfile
import time
import unittest
from functools import lru_cache
from html import unescape
from pathlib import Path
from unittest import mock
from zoneinfo import ZoneInfo

from babel.messages.mofile import read_mo
from babel.messages.mofile import write_mo
from babel.messages.plurals import get_plural
from zope.component import getGlobalSiteManager
from zope.component import getUtilitiesFor
from zope.component import provideAdapter
from zope.component import provideUtility
from zope.component.testing import PlacelessSetup
from zope.i18n.gettextmessagecatalog import GettextMessageCatalog
from zope.i18n.interfaces import INegotiator
from zope.i18n.interfaces import ITranslationDomain
from zope.i18n.interfaces import IUserPreferredLanguages
from zope.i18n.negotiator import negotiator
from zope.i18n.testmessagecatalog import TestMessageCatalog
from zope.i18n.translationdomain import TranslationDomain
from zope.interface import Interface
from zope.interface import implementer
from zope.interface.common.idatetime import ITZInfo
from zope.publisher.browser import TestRequest
from zope.publisher.interfaces.browser import IBrowserRequest
from zope.schema import Choice

from cipher.background.browser.formatting import Formatter
from cipher.background.browser.formatting import getLanguage
from cipher.background.declarations.workertype import WorkerType
from cipher.background.i18n import DOMAIN
from cipher.background.i18n import _
from cipher.background.i18n import plural
from cipher.background.interfaces import IWorkerType
from cipher.background.locales import update
from cipher.background.tests.demo.test_pages import DemoPagesTestCase
from cipher.background.tests.support.browser import BrowserTests
from cipher.background.tests.support.browserworld import publish


VARIABLE = re.compile(r'\$\{(\w+)\}')
TRANSLATED = ('de', 'lt')


collect = lru_cache(update.collect)


def get_texts(text):
    """Return the forms of a message or of its translation."""
    return list(text) if isinstance(text, (tuple, list)) else [text]


def list_ids_of_fields(*paths):
    """Return the messages that only these modules of interfaces have."""
    return [message.id for message in collect() if message.id
            and {path for path, _ in message.locations} <= set(paths)]


def list_texts(page):
    """Return the texts that stand between the tags of a page."""
    return {text.strip() for text in re.findall('>([^<]+)<', unescape(page))}


class TestCatalogs(unittest.TestCase):
    """What ``bin/i18n`` left behind; it is the remedy for most failures."""

    maxDiff = None

    def setUp(self):
        self.collected = collect()
        self.catalogs = {path.parent.parent.name: update.read_catalog(path)
                         for path in update.find_catalogs()}

    def get_ids(self, catalog):
        return {message.id for message in catalog if message.id}

    def test_languages(self):
        self.assertEqual({'en', *TRANSLATED}, set(self.catalogs))

    def test_messages_are_collected_from_everywhere(self):
        ids = self.get_ids(self.collected)
        for text in (
                'succeeded',                    # Python
                'Skip to the content',          # a template
                'Breadcrumbs',                  # an attribute in a template
                'This site has no registry of its own. The registry of the '
                'site at ${site} records its work.',
                'Background: start workers',    # ZCML
                'Background',                   # ZCML that a host chooses
                'Publish a document'):          # ZCML of the demo
            self.assertIn(text, ids)

    def test_catalogs_are_up_to_date(self):
        ids = self.get_ids(self.collected)
        path = update.HERE / (DOMAIN + '.pot')
        self.assertEqual(
            ids, self.get_ids(update.read_template(path)), 'run bin/i18n')
        for language, catalog in self.catalogs.items():
            self.assertEqual(ids, self.get_ids(catalog), language)

    def test_everything_is_translated(self):
        for language in TRANSLATED:
            self.assertEqual([], [
                message.id for message in update.get_missing(
                    self.catalogs[language])], language)

    def test_variables_are_kept(self):
        for language in TRANSLATED:
            for message in self.catalogs[language]:
                expected = {name for text in get_texts(message.id)
                            for name in VARIABLE.findall(text)}
                for text in get_texts(message.string):
                    with self.subTest(language=language, text=text):
                        self.assertEqual(
                            expected, set(VARIABLE.findall(text)))
                        self.assertEqual(len(expected), text.count('$'))

    def test_forms_are_as_many_as_the_language_has(self):
        for language, number in (('de', 2), ('lt', 3)):
            catalog = self.catalogs[language]
            self.assertEqual(number, catalog.num_plurals)
            for message in catalog:
                if message.pluralizable:
                    self.assertEqual(number, len(message.string), message.id)

    def test_compiled_catalogs_are_those_of_the_texts(self):
        # Not by their bytes: these name the version of Babel.
        def get_texts_by_id(path, data):
            catalog = read_mo(data)
            texts = {tuple(get_texts(message.id)): get_texts(message.string)
                     for message in catalog if message.id}
            self.assertTrue(texts or 'en' in path.parts, path)
            return texts, catalog.plural_forms

        for path in update.find_catalogs():
            data = io.BytesIO()
            write_mo(data, update.read_catalog(path))
            data.seek(0)
            with path.with_suffix('.mo').open('rb') as file:
                self.assertEqual(get_texts_by_id(path, data),
                                 get_texts_by_id(path, file), 'run bin/i18n')


class TestShown(BrowserTests):
    """A message that no page shows is not one."""

    def test_messages_stand_where_pages_are_made(self):
        # The titles of other fields document code and are plain strings.  The
        # command line has one message of the pages, and one worker type is
        # the package's own.
        others = {path for message in collect() for path, _ in
                  message.locations if path.split('/')[0] not in (
                      'browser', 'demo', 'hosts')}
        self.assertEqual({'interfaces.py', 'permissions.zcml',
                          'cli/presenting.py', 'zcml.py'}, others)

    def test_titles_of_fields_are_on_a_form(self):
        ids = list_ids_of_fields('interfaces.py', 'browser/interfaces.py')
        self.assertIn('Late schedule, in seconds', ids)
        shown = set()
        for path in ('thresholds.html', 'start.html?type=publish'):
            shown |= list_texts(self.get(path).text)
        self.assertEqual([], [text for text in ids if text not in shown])


class TestShownByTheDemo(DemoPagesTestCase):

    def test_titles_of_fields_are_on_a_form(self):
        ids = list_ids_of_fields('demo/interfaces.py')
        self.assertIn('Probability of failure', ids)
        browser = self.login('admin')
        paths = ['/documents/add.html'] + [
            '/++background++/start.html?type=' + name
            for name, _ in getUtilitiesFor(IWorkerType)]
        shown = set()
        for path in paths:
            browser.open(self.url + path)
            shown |= list_texts(browser.contents)
        self.assertEqual([], [text for text in ids if text not in shown])


class TestUpdate(unittest.TestCase):

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        patch = mock.patch.object(update, 'collect', collect)
        patch.start()
        self.addCleanup(patch.stop)

    def make(self, language, text=''):
        path = self.folder / language / 'LC_MESSAGES' / (DOMAIN + '.po')
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding='utf-8')
        return path

    def update(self):
        return dict(update.update(self.folder))

    def test_new_language_begins_with_an_empty_file(self):
        path = self.make('fr')
        catalog = self.update()[path]
        # Two, or three of late.
        self.assertEqual(get_plural('fr').num_plurals, catalog.num_plurals)
        self.assertEqual(len(catalog), len(update.get_missing(catalog)))
        self.assertTrue(path.with_suffix('.mo').exists())

    def test_what_is_the_same_looks_the_same(self):
        path = self.make('fr')
        self.update()
        files = [path, self.folder / (DOMAIN + '.pot')]
        before = [file.read_bytes() for file in files]
        with mock.patch('time.time', return_value=time.time() + 86400):
            self.update()
        self.assertEqual(before, [file.read_bytes() for file in files])

    def test_texts_stay_and_changed_ones_are_marked(self):
        path = self.make(
            'fr', 'msgid ""\nmsgstr "Content-Type: text/plain; '
            'charset=utf-8\\n"\n\nmsgid "succeeded"\nmsgstr "réussi"\n\n'
            'msgid "Nothing is running now."\nmsgstr "Rien."\n')
        catalog = self.update()[path]
        self.assertEqual('réussi', catalog['succeeded'].string)
        changed = catalog['Nothing is running.']
        self.assertEqual('Rien.', changed.string)
        self.assertTrue(changed.fuzzy)
        self.assertIn(changed, update.get_missing(catalog))


@implementer(IUserPreferredLanguages)
class Languages:

    def __init__(self, request):
        self.request = request

    def getPreferredLanguages(self):
        return self.request['LANGUAGES'].split()


class TestFormatter(PlacelessSetup, unittest.TestCase):
    """What a request tells of its language decides the forms."""

    def setUp(self):
        super().setUp()
        provideAdapter(Languages, (IBrowserRequest,))
        provideUtility(negotiator, INegotiator)
        domain = TranslationDomain(DOMAIN)
        for path in update.find_catalogs():
            domain.addCatalog(GettextMessageCatalog(
                path.parent.parent.name, DOMAIN,
                str(path.with_suffix('.mo'))))
        domain.addCatalog(TestMessageCatalog(DOMAIN))
        provideUtility(domain, ITranslationDomain, DOMAIN)

    def format(self, languages):
        request = TestRequest(
            LANGUAGES=languages,
            HTTP_ACCEPT_LANGUAGE=languages.replace(' ', ','))
        return Formatter(request)

    def test_language_is_what_the_messages_are_said_in(self):
        for languages, language in (
                ('de', 'de'), ('de-at', 'de'), ('lt', 'lt'), ('en de', 'en'),
                ('en-gb de', 'en'), ('fr', 'en'), ('fr lt', 'lt'),
                ('', 'en')):
            format = self.format(languages)
            self.assertEqual(language, format.language, languages)
            self.assertEqual(language, getLanguage(format.request))
            self.assertEqual(
                {'en': 'failed', 'de': 'fehlgeschlagen',
                 'lt': 'nepavyko'}[language], format.say(_('failed')))

    def test_plural_has_the_forms_of_the_language(self):
        def say(languages, number):
            text = self.format(languages).say(plural(
                '${number} run waits, but no process takes it.  Start a '
                'process with <background:runtime />, or resume one that '
                'takes no new runs.',
                '${number} runs wait, but no process takes them.  Start a '
                'process with <background:runtime />, or resume one that '
                'takes no new runs.', number))
            return ' '.join(text.split()[:2])

        self.assertEqual(['1 run', '2 runs', '1,000 runs'], [
            say('en', number) for number in (1, 2, 1000)])
        self.assertEqual(['1 Lauf', '2 Läufe', '1.000 Läufe'], [
            say('de', number) for number in (1, 2, 1000)])
        self.assertEqual(
            ['1 vykdymas', '2 vykdymai', '10 vykdymų', '11 vykdymų',
             '21 vykdymas', '22 vykdymai'],
            [say('lt', number) for number in (1, 2, 10, 11, 21, 22)])

    def test_mapping_of_a_message_is_kept(self):
        format = self.format('de')
        message = _('stop requested ${ago} ago by ${who}',
                    mapping={'ago': '5 s', 'who': 'nobody'})
        self.assertEqual('Stopp vor 5 s durch Eva angefordert',
                         format.say(message, who='Eva'))

    def test_numbers(self):
        for languages, texts in (
                ('en', ['12,345.67', '3', '1.5 s', '']),
                ('de', ['12.345,67', '3', '1,5 s', '']),
                ('lt', ['12\u202f345,67', '3', '1,5 s', '']),
                ('', ['12345.67', '3', '1.5 s', ''])):
            format = self.format(languages)
            self.assertEqual(texts, [
                format.number(12345.674), format.number(3.0),
                format.duration(1.5), format.number(None)], languages)

    def test_odd_numbers_do_no_harm(self):
        for languages in ('de', ''):
            format = self.format(languages)
            for value in (float('nan'), float('inf'), 1e300, -1e20, -0.001):
                self.assertTrue(format.number(value))

    def test_times_are_in_the_zone_of_the_request(self):
        zone = ZoneInfo('Europe/Vilnius')
        provideAdapter(lambda request: zone, (IBrowserRequest,), ITZInfo)
        at = 1700000000   # 2023-11-14 22:13:20 UTC
        for languages, text in (
                ('en', 'Nov 15, 2023 12:13:20\xa0AM EET'),
                ('de', '15.11.2023 00:13:20 EET'),
                ('lt', '2023-11-15 00:13:20 EET'),
                ('', '2023-11-15 00:13:20 EET')):
            self.assertEqual(
                text.replace('\xa0', ' '),
                self.format(languages).dateTime(at).replace('\xa0', ' '))
        format = self.format('de')
        self.assertEqual('00:13', format.hour(at))
        self.assertEqual('EEST', format.zoneName(1690000000))
        self.assertEqual('2023-11-14T22:13:20.000Z', format.iso(at))

    def test_without_one_they_are_in_the_zone_of_the_server(self):
        with mock.patch.dict('os.environ', TZ='Asia/Tokyo'):
            time.tzset()
            self.addCleanup(time.tzset)
            self.assertEqual('2023-11-15 07:13:20 JST',
                             self.format('').dateTime(1700000000))

    def test_the_form_is_that_of_the_texts(self):
        # Nobody reads French dates in an English text.
        self.assertEqual('12,345.5', self.format('fr').number(12345.5))


class TestPages(BrowserTests):
    """The language is that of the browser."""

    def read(self, path, languages):
        return self.get(path, HTTP_ACCEPT_LANGUAGE=languages)

    def get_headings(self, page):
        """Return what stands in tabs, headings and the heads of tables."""
        return [' '.join(unescape(re.sub('<[^>]*>', '', text)).split())
                for text in re.findall(
                    '(?s)(?:<h[12][^>]*>|<th [^>]*>|<dt[^>]*>|<label[^>]*>'
                    '|<a [^>]*html">)(.*?)</(?:h[12]|th|dt|label|a)>', page)]

    def test_tabs_and_headings_are_translated(self):
        finished = self.makeFailed().id
        waiting = self.makeRun().id
        paths = [tab['path'] for tab in self.list_tabs()] + [
            finished + '/index.html', waiting + '/index.html',
            waiting + '/stop.html', finished + '/retry.html',
            finished + '/remove.html', 'start.html?type=publish',
            'start.html?type=none', 'none.html', '/other/@@background.html']
        for language in TRANSLATED:
            catalog = update.read_catalog(
                update.HERE / language / 'LC_MESSAGES' / (DOMAIN + '.po'))
            different = {
                text for message in catalog if message.id
                for text in get_texts(message.id)
                if text not in get_texts(message.string)}
            for path in paths:
                with self.subTest(language=language, path=path):
                    page = self.read(path, language).text
                    self.assertIn('<html lang="%s"' % language, page)
                    headings = self.get_headings(page)
                    self.assertTrue(headings)
                    self.assertEqual([], [
                        text for text in headings if text in different])

    def list_tabs(self):
        page = self.get('index.html').text
        tabs = re.search('(?s)<nav class="cb-tabs"(.*?)</nav>', page)[1]
        paths = re.findall('/([a-z]+[.]html)"', tabs)
        self.assertGreaterEqual(len(paths), 4)
        return [{'path': path} for path in paths]

    def test_texts_of_the_script_are_translated(self):
        self.makeFailed()
        for language, state in (('de', 'fehlgeschlagen'),
                                ('lt', 'nepavyko'), ('en', 'failed')):
            run, = self.read('runs.json', language).json['items']
            self.assertEqual(state, run['text']['state'])
            self.assertEqual('failed', run['state'])

    def test_the_language_is_negotiated(self):
        for languages, language in (
                ('de-CH, fr;q=0.5', 'de'), ('en, de;q=0.9', 'en'),
                ('fr', 'en'), ('fr, lt;q=0.5', 'lt'), ('*', 'en')):
            page = self.read('runs.html', languages).text
            self.assertIn('<html lang="%s"' % language, page, languages)
            self.assertIn({'en': 'Worker types', 'de': 'Arbeitstypen',
                           'lt': 'Darbų tipai'}[language], page, languages)

    def test_dates_and_plurals_are_those_of_the_language(self):
        self.makeRun()
        page = self.read('runs.html', 'de').text
        self.assertRegex(
            page, r'title="\d\d[.]\d\d[.]20\d\d \d\d:\d\d:\d\d \w+"')
        self.assertIn('1 vykdymas laukia',
                      self.read('index.html', 'lt').text)

    def test_numbers_of_runs_have_the_forms_of_the_language(self):
        for language, number, text in (
                ('en', 1200, '1,200 runs were retried.'),
                ('de', 1, '1 Lauf wurde wiederholt.'),
                ('de', 1200, '1.200 Läufe wurden wiederholt.'),
                ('lt', 21, '21 vykdymas pakartotas.'),
                ('lt', 22, '22 vykdymai pakartoti.'),
                ('lt', 11, '11 vykdymų pakartota.')):
            with self.subTest(language, number=number):
                self.assertIn('>%s<' % text, self.read(
                    'runs.html?did=retry&done=%d&skipped=0' % number,
                    language).text)
        self.assertIn('>at most 10,000 rows<',
                      self.read('runs.html', 'en').text)

    def test_errors_of_other_packages_are_translated(self):
        path = 'start.html?type=publish'
        form = {'type': 'publish', 'form.widgets.title': '',
                'form.widgets.count': 'x',
                'form.buttons.start': '1', 'csrf_token': self.token(path)}
        page = self.app('admin', HTTP_ACCEPT_LANGUAGE='lt').post(
            '/++background++/' + path, form).text
        self.assertIn('Trūksta privalomos įvesties.', page)
        self.assertIn('nėra sveikasis skaičius', page)

    def test_widgets_of_the_form_are_translated(self):
        class IChoice(Interface):
            place = Choice(title='Place', values=['here'], required=False)

        components = getGlobalSiteManager()
        choose = WorkerType('choose', handler=publish, schema=IChoice)
        components.registerUtility(choose, IWorkerType, 'choose')
        self.addCleanup(
            components.unregisterUtility, choose, IWorkerType, 'choose')
        for language, yes, no, none in (
                ('en', 'yes', 'no', 'No value'),
                ('de', 'ja', 'nein', 'Kein Wert'),
                ('lt', 'taip', 'ne', 'Nėra reikšmės')):
            page = self.read('start.html?type=publish', language).text
            labels = re.findall(
                r'<span class="label">(\w+)</span>', page)
            self.assertEqual(labels[:2], [yes, no])
            page = self.read('start.html?type=choose', language).text
            self.assertIn('>%s<' % none, page)
