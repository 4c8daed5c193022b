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
"""Build the documentation and look at the result.

usage: python3 .ci/docs.py

"python3 bootstrap.py docs" builds the pages; a warning is a failure.  Then
each page is looked at: each link in the documentation leads to a page or a
place in a page, each file that a page loads is there, and a page leads to it.
"python3 bootstrap.py docs linkcheck" looks at the links to other servers,
which this does not.

The last line is "N passed, N failed, N skipped"; the exit code is 1 if
anything failed.
"""
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from urllib.parse import urlsplit


CHECKOUT = Path(__file__).resolve().parent.parent
BUILT = CHECKOUT / 'build' / 'docs' / 'html'

#: Pages that Sphinx makes; no page has to lead there.
MADE = {'genindex.html', 'py-modindex.html', 'search.html'}


class Page(HTMLParser):
    """What a page leads to, what it loads, and the places in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.places = set(), set(), {''}
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places.add(attributes.get('id') or '')
        if tag == 'a':
            self.places.add(attributes.get('name') or '')
            self.links.add(attributes.get('href') or '')
        elif tag in ('img', 'script'):
            self.loads.add(attributes.get('src') or '')
        elif tag == 'link' and attributes.get('rel') == 'stylesheet':
            self.loads.add(attributes.get('href') or '')


def find_failures(folder):
    """Return (number of pages, texts about what is wrong in them)."""
    pages = {path.resolve(): Page(path) for path in folder.rglob('*.html')}
    failures, led_to = [], {(folder / 'index.html').resolve()}
    for path, page in pages.items():
        name = path.relative_to(folder.resolve()).as_posix()
        for address in sorted(page.links | page.loads):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not address:
                if address in page.loads and address:
                    failures.append('%s: expected to load own files only, '
                                    'got %s' % (name, address))
                continue
            target = (path.parent / unquote(parts.path)).resolve() \
                if parts.path else path
            if address in page.links and target != path:
                led_to.add(target)
            if not target.is_file():
                failures.append('%s: expected a file at %s, got none' % (
                    name, address))
            elif target in pages and unquote(
                    parts.fragment) not in pages[target].places:
                failures.append('%s: expected a place in its page at %s, got '
                                'none' % (name, address))
    for path in pages.keys() - led_to:
        name = path.relative_to(folder.resolve()).as_posix()
        if name not in MADE:
            failures.append('%s: expected a link to it, got none' % name)
    return len(pages), failures


def say(text):
    print('docs: %s' % text, flush=True)


def main():
    passed = failed = 0
    code = subprocess.call(
        [sys.executable, 'bootstrap.py', 'docs'], cwd=CHECKOUT,
        stdin=subprocess.DEVNULL)
    if code:
        failed += 1
        say('FAILED: expected a build without a warning; see above')
    else:
        passed += 1
        say('built without a warning')
    number, failures = find_failures(BUILT)
    for failure in failures:
        say('FAILED: ' + failure)
    if failures or not number:
        failed += 1
    else:
        passed += 1
        say('the links of %d pages lead to something' % number)
    # Alone on its line, for totals.py.
    print('%d passed, %d failed, 0 skipped' % (passed, failed), flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
