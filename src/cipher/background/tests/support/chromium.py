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
"""A real browser: where it is, how it is started, and what it complains about.

It needs playwright, which the extra ``test`` brings.
"""
import os
import shutil


try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None


BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
ARGUMENTS = ('--no-sandbox', '--disable-gpu', '--disable-quic',
             '--no-first-run', '--disable-background-networking',
             '--disable-component-update', '--disable-sync')

#: Seconds that a page may take to show what is expected.
LIMIT = 60.0


def find_browser():
    """Return the path of a browser; raise LookupError with the reason."""
    if sync_playwright is None:
        raise LookupError('playwright is not installed')
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    raise LookupError('none of %s is installed' % ', '.join(BROWSERS))


def openPage(context, complaints):
    """Return a page of that context that adds its errors to *complaints*."""
    context.set_default_timeout(LIMIT * 1000)
    page = context.new_page()
    page.on('pageerror', lambda error: complaints.append(str(error)))
    page.on('console', lambda message: complaints.append(message.text)
            if message.type == 'error' else None)
    return page


def launchBrowser(case, *arguments):
    """Return a browser for the test *case*, which ends it.

    Skip the test if there is no browser.  On CI that is an error.
    """
    try:
        path = find_browser()
    except LookupError as error:
        if os.environ.get('CI'):
            raise
        case.skipTest(str(error))
    playwright = sync_playwright().start()
    case.addCleanup(playwright.stop)
    browser = playwright.chromium.launch(
        executable_path=path, args=(*ARGUMENTS, *arguments))
    case.addCleanup(browser.close)
    return browser
