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
"""Answers five questions with a demo of 20,000 runs, and counts the clicks.

    bin/python bench/main.py questions [--runs 20000] [--folder FOLDER]

An administrator asks them at 5 pm: what runs and who started it, is it stuck,
how is it stopped, what failed today and why, is it getting slower.  Prints a
table for docs/howto/ui.rst.  With ``--folder``, a picture of each answer is
written there.  Needs Chromium, as the tests of the pages in a browser do.
"""
import argparse
import signal
import tempfile
import time
from pathlib import Path

from docs.screenshots import BASE
from docs.screenshots import HOUR
from docs.screenshots import Day
from docs.screenshots import makeDemo
from playwright.sync_api import sync_playwright
from zope.component import hooks

from cipher.background.tests.demo.test_server import LIMIT
from cipher.background.tests.support.chromium import ARGUMENTS
from cipher.background.tests.support.chromium import find_browser


#: Of the page that is shown: milliseconds until it was there, and its bytes.
COST = '''() => {
  const [page] = performance.getEntriesByType('navigation');
  return [page.responseEnd - page.startTime, page.encodedBodySize,
          page.decodedBodySize];
}'''


class SlowDay(Day):
    """A day whose last hours were slow for one type."""

    gap = 0.01

    def factor(self, name):
        return 5.0 if name == 'publish' and (
            time.time() - self.now < 4 * HOUR) else 1.0


class Administrator:
    """Clicks, and keeps count."""

    def __init__(self, page, url, folder):
        self.page = page
        self.url = url
        self.folder = folder
        self.rows = []

    def ask(self, question, answer):
        """Answer a question from the overview on; *answer* is a method."""
        self.clicks = 0
        self.page.goto(self.url + BASE + 'index.html')
        began = time.monotonic()
        found = answer()
        seconds = time.monotonic() - began
        if self.folder:
            self.page.screenshot(full_page=True, path=str(Path(
                self.folder, 'question-%d.png' % (len(self.rows) + 1))))
        took, packed, size = self.page.evaluate(COST)
        self.rows.append((question, self.clicks, found, took, packed, size,
                          seconds))

    def click(self, locator):
        """Click on a link and wait for its page."""
        self.clicks += 1
        with self.page.expect_navigation():
            locator.first.click()

    def read(self, selector, text=None):
        """Return the text of an element as soon as it is there."""
        locator = self.page.locator(selector)
        if text is not None:
            locator = locator.filter(has_text=text)
        locator.first.wait_for()
        return ' '.join(locator.first.inner_text().split())

    def seeWhatRuns(self):
        return self.read('[data-list=running] tr[data-key]', 'Editor')

    def seeWhereItIsStuck(self):
        self.click(self.page.locator('.cb-problems li').filter(
            has_text='does not respond').get_by_role('link'))
        frame = self.read('[data-list="details.frames"]')
        return '%s; %s' % (self.read('.cb-note-error strong'), frame)

    def stop(self):
        self.seeWhereItIsStuck()
        self.click(self.page.locator('.cb-note-error').get_by_role(
            'link', name='Processes'))
        return self.read('summary', 'Finish and stop')

    def seeWhatFailed(self):
        self.click(self.page.get_by_role('link', name='Errors').first)
        # What was interrupted has no traceback.
        found = self.read('main tbody tr', 'Error')
        self.click(self.page.locator('main tbody tr').filter(
            has_text='Error').locator('a:has(time)'))
        self.read('pre', 'Traceback')
        return found

    def seeIfItIsSlower(self):
        self.click(self.page.get_by_role('link', name='Worker types').first)
        self.click(self.page.get_by_role('link', name='Publish a document'))
        return self.read('.cb-figures')


def printTable(rows):
    """Print what was found."""
    for question, clicks, found, took, packed, size, seconds in rows:
        print('%s\n  %d clicks, %.1f s; the last page: %.0f ms, %.1f kB '
              'packed, %.0f kB; found: %s' % (
                  question, clicks, seconds, took, packed / 1000, size / 1000,
                  found[:160]))


def main(argv=None):
    """Ask the questions."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--runs', type=int, default=20000)
    parser.add_argument('--folder')
    options = parser.parse_args(argv)
    path = find_browser()
    hooks.setHooks()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'demo.fs')
        began = time.monotonic()
        day = SlowDay(file)
        day.fill(options.runs)
        print('%.0f s to make the runs, %.1f MB' % (
            time.monotonic() - began, file.stat().st_size / 1e6))
        demo = makeDemo(folder, file)
        try:
            demo.waitForURL()
            demo.start('import', 'editor', folder='.', pause='60')
            demo.start('stubborn', seconds='200')
            run = demo.waitForRun(lambda run: run['type'] == 'stubborn'
                                  and run['state'] == 'running')
            demo.readStatus(BASE + run['id'] + '/stop.html', data={
                'csrf_token': demo.readToken(BASE + run['id'] + '/stop.html'),
                'stop': '1'})
            # It takes a minute, as long as one wait at most.
            demo.waitForRun(lambda run: run['type'] == 'stubborn'
                            and (run['progress_done'] or 0) > 30)
            demo.waitForRun(lambda run: run['is_unresponsive'])
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=path, args=ARGUMENTS)
                context = browser.new_context(
                    locale='en', viewport={'width': 1280, 'height': 800},
                    http_credentials={
                        'username': 'admin', 'password': 'admin'})
                context.set_default_timeout(LIMIT * 1000)
                who = Administrator(
                    context.new_page(), demo.url, options.folder)
                who.ask('What runs, and who started it?', who.seeWhatRuns)
                who.ask('Is it stuck, since when, where?',
                        who.seeWhereItIsStuck)
                who.ask('How do I stop it?', who.stop)
                who.ask('What failed today, and why?', who.seeWhatFailed)
                who.ask('Is it getting slower?', who.seeIfItIsSlower)
                printTable(who.rows)
                browser.close()
        finally:
            demo.end(signal.SIGKILL)


if __name__ == '__main__':
    main()
