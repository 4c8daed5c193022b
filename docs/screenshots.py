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
"""Makes the pictures of the documentation, from a demo with a plausible day.

    bin/python docs/screenshots.py [FOLDER]

Fills a database with a day of runs, starts the demo over it, looks at it with
a real browser and writes PNGs into FOLDER, by default docs/images.  Needs
Chromium, as the tests of the pages in a browser do.
"""
import argparse
import os
import random
import signal
import struct
import tempfile
import time
import zlib
from collections import Counter
from itertools import chain
from pathlib import Path

import transaction
from playwright.sync_api import sync_playwright
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import hooks
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

import cipher.background
from cipher.background.demo.documents import Document
from cipher.background.demo.documents import Documents
from cipher.background.demo.interfaces import DOCUMENTS
from cipher.background.events import RunFailedEvent
from cipher.background.events import RunInterruptedEvent
from cipher.background.events import RunStoppedEvent
from cipher.background.events import RunSucceededEvent
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import INTERRUPTED
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import STOPPED
from cipher.background.interfaces import SUCCEEDED
from cipher.background.registry.installation import addRegistry
from cipher.background.store.run import RunDetails
from cipher.background.tests.demo.test_server import LIMIT
from cipher.background.tests.demo.test_server import Demo
from cipher.background.tests.support.chromium import ARGUMENTS
from cipher.background.tests.support.chromium import find_browser
from cipher.background.util import clock
from cipher.background.util.reference import refer


BASE = '/++background++/'
TITLES = ('Annual report', 'Terms of service', 'Price list', 'House rules',
          'Minutes of the board', 'Handbook for new colleagues',
          'Privacy policy', 'Invitation to the summer party')
TEXT = '%s\n%s\n\n' + ''.join(
    'Part %d\n------\n\nWhat is to be said.\n\n' % n for n in range(1, 13))
HOUR = 3600.0

#: Name: (title, weight, shortest and longest in seconds, share that fails,
#: whether it is about a document).
TYPES = {
    'reindex': ('Index a document', 60, 0.01, 0.12, 0.0, True),
    'publish': ('Publish a document', 20, 2.0, 60.0, 0.02, True),
    'notify': ('Announce a publication', 10, 0.1, 1.0, 0.04, True),
    'import': ('Import texts', 4, 5.0, 60.0, 0.05, False),
    'flaky': ('Flaky', 6, 0.1, 2.0, 0.3, False),
}
ERRORS = {
    'publish': ('ValueError', 'Part 7: expected a title, got an empty line'),
    'notify': ('ConnectionRefusedError', 'smtp.example.com:25 refused'),
    'import': ('UnicodeDecodeError',
               'prices.txt: byte 0xe4 in position 17 is no UTF-8'),
    'flaky': ('JSONDecodeError',
              'Unterminated string starting at: line 1 column 9 (char 8)'),
}
TRACEBACK = '''\
Traceback (most recent call last):
  File "cipher/background/demo/workers.py", line 176, in flaky
    return 'The sky is %s' % _parse_weather(reply)['sky']
json.decoder.JSONDecodeError: Unterminated string starting at: line 1 column 9
'''
SOURCE = os.path.dirname(cipher.background.__path__[0]).rpartition(
    'cipher')[0]
WIDE = {'width': 1120, 'height': 800}
TALL = {'width': 1120, 'height': 1096}
NARROW = {'width': 360, 'height': 760}


class Day:
    """Fills a database with what happened until now."""

    #: Seconds between two starts, at least.
    gap = 1.0

    def __init__(self, path):
        self.rand = random.Random(7)
        self.now = time.time() - 23.4 * HOUR
        self.db = DB(FileStorage(str(path)))
        self.connection = self.db.open()
        self.site = rootFolder()
        self.connection.root()['Application'] = self.site
        self.site.setSiteManager(LocalSiteManager(self.site))
        transaction.commit()
        self.registry = addRegistry(self.site)
        documents = self.site[DOCUMENTS] = Documents()
        for title in TITLES:
            name = title.lower().replace(' ', '-')
            documents[name] = Document(
                title, TEXT % (title, '=' * len(title)))
        transaction.commit()
        self.documents = list(documents.values())

    def fill(self, number=None):
        """Let time go by, up to three minutes ago.

        *number*: of runs, spread evenly; without it the day has its hours.
        """
        end = time.time() - 180
        even = number and (end - self.now) / number
        clock.setClock(lambda: self.now)
        try:
            while True:
                # The day's work is done in ten hours.
                pause = 45 if end - self.now < 10 * HOUR else 600
                self.now += self.rand.expovariate(1 / (even or pause))
                if self.now >= end:
                    break
                self._add_run()
            transaction.commit()
        finally:
            clock.setClock()
            transaction.abort()
            self.connection.close()
            self.db.close()

    def factor(self, name):
        """Return how much longer than usual a run of that type takes now."""
        return 1.0

    def _add_run(self):
        rand = self.rand
        name = rand.choices(list(TYPES), [
            facts[1] for facts in TYPES.values()])[0]
        title, _weight, shortest, longest, failing, has_document = TYPES[name]
        reference = refer(rand.choice(self.documents), self.connection
                          ) if has_document else None
        run = self.registry.addRun(
            name, title=title, reference=reference,
            starter=rand.choice(('demo.admin', 'demo.editor', 'demo.editor')))
        created = self.now
        self.now += rand.uniform(0.01, 1.5)
        run.change(RUNNING, started_at=self.now, attempts=1)
        self.now += rand.uniform(shortest, longest) * self.factor(name)
        self._finish(run, failing)
        self.now = created + self.gap

    def _finish(self, run, failing):
        finish, chance = self.registry.finish, self.rand.random()
        if chance < failing:
            finish(run, FAILED, RunFailedEvent, error=ERRORS[run.type],
                   details=RunDetails(TRACEBACK))
        elif chance > 0.995:
            finish(run, STOPPED, RunStoppedEvent, stop_request=(
                'demo.admin', self.now - 3, 'Not needed any more'))
        elif chance > 0.99:
            finish(run, INTERRUPTED, RunInterruptedEvent, interruptions=1)
        else:
            finish(run, SUCCEEDED, RunSucceededEvent, result='done')


class Pictures:
    """Looks at the demo and writes what it sees."""

    def __init__(self, demo, browser, folder):
        self.demo = demo
        self.browser = browser
        self.folder = folder

    def take(self):
        """Take all pictures."""
        self._set_the_scene()
        self._shoot('overview', 'index.html', size=TALL,
                    wait='.cb-progress-text')
        self._shoot('overview-narrow', 'index.html', size=NARROW,
                    wait='.cb-progress-text')
        self._shoot('failed', 'runs.html?state=failed', prepare=_select)
        self._shoot('run', self.stubborn + '/index.html', scheme='dark',
                    wait='[data-lines]:has-text("Asked")',
                    prepare=_shorten_paths, is_whole=True)
        self._shoot('types', 'types.html', size=TALL, prepare=_open_pause)

    def _set_the_scene(self):
        """Start what is to be seen at work."""
        demo = self.demo
        demo.start('import', folder='.', pause='6')
        demo.start('publish', 'editor', pause='4', **{
            'context.path': DOCUMENTS + '/annual-report'})
        demo.start('stubborn', seconds='120')
        run = demo.waitForRun(lambda run: run['type'] == 'stubborn'
                              and run['progress_done'] is not None)
        self.stubborn = run['id']
        self._post(self.stubborn + '/stop.html', stop='1',
                   reason='It blocks the import')
        self._post('types.html', pause='1', name='notify',
                   reason='The mail server is down until 18:00')
        demo.start('flaky', chance='1')

    def _post(self, path, **form):
        form['csrf_token'] = self.demo.readToken(BASE + path)
        self.demo.readStatus(BASE + path, data=form)

    def _shoot(self, name, path, size=WIDE, scheme='light', wait='main',
               prepare=None, is_whole=False):
        context = self.browser.new_context(
            locale='en', viewport=size, color_scheme=scheme,
            http_credentials={'username': 'admin', 'password': 'admin'})
        context.set_default_timeout(LIMIT * 1000)
        page = context.new_page()
        page.goto(self.demo.url + BASE + path)
        page.locator(wait).first.wait_for()
        if prepare is not None:
            prepare(page)
        picture = shrink(page.screenshot(full_page=is_whole))
        Path(self.folder, name + '.png').write_bytes(picture)
        print('%s.png: %d kB' % (name, len(picture) // 1000))
        context.close()


def _shorten_paths(page):
    """Leave out where this checkout is; and let no poll bring it back."""
    page.route('**/*.json', lambda route: None)
    page.evaluate(
        '(path) => document.querySelectorAll("pre").forEach((element) => {'
        'element.textContent = element.textContent.replaceAll(path, ""); })',
        SOURCE)


def _select(page):
    for box in page.get_by_role('checkbox', name='Select').all()[1:4]:
        box.check()


def _open_pause(page):
    row = page.locator('tr').filter(has_text='Import texts')
    row.locator('summary').click()
    row.get_by_label('Reason').fill('The disk is full')


def shrink(picture):
    """Return a PNG with at most 256 colours, packed as well as zlib can."""
    width, height, size, rows = read_pixels(picture)
    pixels = [list(zip(*(row[n::size] for n in range(3)))) for row in rows]
    used = Counter(chain.from_iterable(pixels))
    places, palette = choose_colours(used)
    body = b''.join(b'\0' + bytes(map(places.__getitem__, row))
                    for row in pixels)
    return picture[:8] + b''.join(map(make_chunk, *zip(
        (b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 3, 0, 0, 0)),
        (b'PLTE', bytes(chain.from_iterable(palette))),
        (b'IDAT', zlib.compress(body, 9)),
        (b'IEND', b''))))


def choose_colours(used):
    """Return ({colour: its place}, palette); *used*: {colour: how often}.

    Of each shade there is the colour that is used most, then come those that
    are used often.  All others, at the edges of letters, become the nearest.
    """
    often = [colour for colour, _number in used.most_common()]
    shades = {}
    for colour in often:
        shades.setdefault(tuple(part >> 5 for part in colour), colour)
    palette = list(dict.fromkeys([*shades.values(), *often]))[:256]

    def find_place(colour):
        return min(range(len(palette)), key=lambda place: sum(
            (a - b) ** 2 for a, b in zip(palette[place], colour)))

    places = {colour: place for place, colour in enumerate(palette)}
    for colour in used:
        if colour not in places:
            places[colour] = find_place(colour)
    return places, palette


def make_chunk(kind, data):
    """Return a chunk of a PNG."""
    return (struct.pack('>I', len(data)) + kind + data
            + struct.pack('>I', zlib.crc32(kind + data)))


def read_pixels(picture):
    """Return (width, height, bytes of a pixel, rows) of a browser's PNG."""
    place, packed = 8, b''
    while place < len(picture):
        length, kind = struct.unpack('>I4s', picture[place:place + 8])
        data = picture[place + 8:place + 8 + length]
        if kind == b'IHDR':
            width, height, depth, colours = struct.unpack('>IIBB', data[:10])
        packed += data if kind == b'IDAT' else b''
        place += length + 12
    if depth != 8 or colours not in (2, 6):
        raise ValueError('picture: expected 8 bits of RGB or RGBA')
    size = 3 if colours == 2 else 4
    stride = width * size
    raw, rows, above = zlib.decompress(packed), [], bytes(stride)
    for begin in range(0, len(raw), stride + 1):
        above = undo_filter(raw[begin], bytearray(
            raw[begin + 1:begin + 1 + stride]), above, size)
        rows.append(above)
    return width, height, size, rows


def undo_filter(kind, row, above, size):
    """Return the bytes of a row of pixels; as the PNG specification says."""
    for n in range(len(row) if kind else 0):
        left = row[n - size] if n >= size else 0
        up, corner = above[n], above[n - size] if n >= size else 0
        if kind == 4:
            guess = left + up - corner
            near = min((abs(guess - left), 0, left), (abs(guess - up), 1, up),
                       (abs(guess - corner), 2, corner))[2]
        else:
            near = (left, up, (left + up) // 2)[kind - 1]
        row[n] = (row[n] + near) & 255
    return row


def makeDemo(folder, file):
    """Return the `Demo` of the database *file*, with texts to import."""
    base = Path(folder, 'texts')
    base.mkdir()
    for n in range(1, 41):
        Path(base, 'text-%02d.rst' % n).write_text('Text %d\n' % n)
    return Demo(folder, '--db', 'file://%s' % file,
                '--import-base', str(base))


def main(argv=None):
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('folder', nargs='?', default=os.path.join(
        os.path.dirname(os.path.abspath(__file__)), 'images'))
    options = parser.parse_args(argv)
    path = find_browser()
    hooks.setHooks()
    os.makedirs(options.folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'demo.fs')
        Day(file).fill()
        demo = makeDemo(folder, file)
        try:
            demo.waitForURL()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=path, args=ARGUMENTS)
                Pictures(demo, browser, options.folder).take()
                browser.close()
        finally:
            demo.end(signal.SIGKILL)


if __name__ == '__main__':
    main()
