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
"""The walk of an administrator in a real browser, the same in each host."""
import base64
import re
from contextlib import contextmanager

from cipher.background.tests.support.chromium import launchBrowser
from cipher.background.tests.support.chromium import openPage


#: Steps of the work, and seconds for each: more than a walk takes.
STEPS, PAUSE = 600, 0.2

ZCML = """
  <background:worker
      name="count"
      handler="cipher.background.tests.support.hostwalk.count"
      title="Count"
      permission="cipher.background.StartWorkers"
      />
"""


def count(worker):
    """Count with progress, until somebody stops the run."""
    for number in range(1, STEPS + 1):
        worker.setProgress(number, STEPS)
        worker.wait(PAUSE)
        worker.checkStop()


class Walk:
    """A browser in which *user* is logged in; *case* is the test."""

    def __init__(self, case, user):
        browser = launchBrowser(case)
        login = base64.b64encode(b'%s:secret' % user.encode()).decode()
        context = browser.new_context(
            locale='en', viewport={'width': 1200, 'height': 900},
            # Plone has a form for a login, and asks for no other.
            extra_http_headers={'Authorization': 'Basic ' + login})
        case.addCleanup(context.close)
        self.case = case
        self.complaints = []
        self.page = openPage(context, self.complaints)

    @contextmanager
    def loading(self):
        """Wait for another page, which the block leads to."""
        with self.page.expect_navigation():
            yield

    def press(self, name):
        """Press the button that begins with *name*."""
        with self.loading():
            self.page.locator('#cb-content').get_by_role(
                'button', name=re.compile('^' + name)).first.click()

    def follow(self, name, place='body'):
        """Follow the link that begins with *name*."""
        with self.loading():
            self.page.locator(place).first.get_by_role(
                'link', name=re.compile('^' + name)).first.click()

    def waitForState(self, state):
        """Wait for the state of the run on its page, which is not reloaded.
        """
        self.page.wait_for_function(
            'state => document.querySelector(".cb-heading .cb-state")'
            '.textContent.trim() === state', arg=state)
        self.case.assertTrue(self.page.evaluate('window.notReloaded'))

    def arrive(self):
        """Note that the page of a run is loaded; return the run's id."""
        self.page.wait_for_selector('.cb-heading .cb-state')
        self.page.evaluate('window.notReloaded = true')
        return self.page.url.split('/')[-2]

    def watchMoving(self):
        """Wait until the progress of the running run has changed."""
        self.waitForState('running')
        before = self.page.text_content('.cb-progress-text')
        self.page.wait_for_function(
            'before => document.querySelector(".cb-progress-text")'
            '.textContent !== before', arg=before)

    def stop(self):
        """Stop the run on the page."""
        self.follow('Stop', '#cb-content')
        self.press('Stop')
        self.arrive()
        self.waitForState('stopped')

    def startStopRetry(self):
        """Start work by its form, watch it, stop it and retry it.

        Begin on a page of ours; return the ids of the two runs.
        """
        self.follow('Worker types')
        row = self.page.locator('#cb-content').get_by_role('row').filter(
            has_text='Count')
        with self.loading():
            row.get_by_role('link', name=re.compile('^Start')).click()
        self.press('Start')
        first = self.arrive()
        self.watchMoving()
        self.stop()
        self.follow('Retry', '#cb-content')
        self.press('Retry')
        second = self.arrive()
        self.watchMoving()
        self.stop()
        self.case.assertEqual(self.complaints, [])
        return first, second
