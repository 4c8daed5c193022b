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
"""Check a page in a real browser for barriers to people who use it.

Each function takes a page of playwright and returns a list of complaints.
"""
from itertools import zip_longest

from axe_playwright_python.base import AXE_SCRIPT


WIDE = {'width': 1280, 'height': 900}
NARROW = {'width': 360, 'height': 740}

#: More stops of the Tab key than a browser's control for date and time has.
MOMENT_STOPS = 10
COUNT_MOMENTS = '''() => document.querySelectorAll(
    "input[type=date], input[type=time], input[type=datetime-local]").length'''
COUNT_GROUPS = '''() => new Set([...document.querySelectorAll(
    "input[type=radio]")].map((element) => element.name)).size'''
IS_ALL_REACHED = '''() => window.cbFocus.reached.length
    >= window.cbFocus.expected.length'''

#: Each colour scheme and each size once, and the colours of a system that
#: forces its own.  All pairs would take twice the time and find little more.
LOOKS = (('light', WIDE, 'none'), ('dark', NARROW, 'none'),
         ('light', NARROW, 'active'))

# All rules of axe that are on by default, best practices included.  Without
# frames and preloading there is nothing to wait for.
OPTIONS = {'resultTypes': ['violations'], 'iframes': False, 'preload': False}

# The elements that Tab should reach, in the order of the document.  An element
# without a box is not rendered.  Tab reaches one radio button of a group.
WATCH_FOCUS = '''() => {
  const reachable = [...document.querySelectorAll(
    'a[href], button, input, select, textarea, summary, [tabindex]')]
    .filter((element) => element.tabIndex >= 0 && !element.disabled
            && element.type !== 'hidden' && element.checkVisibility()
            && element.type !== 'radio');
  const say = (element) => element.outerHTML.slice(0, 120);
  window.cbFocus = {expected: reachable.map(say), reached: [], unseen: []};
  // Tab begins where the focus was last: at the top of the page.
  const top = document.createElement('span');
  top.tabIndex = -1;
  document.body.prepend(top);
  top.focus();
  top.remove();
  document.addEventListener('focusin', (event) => {
    const element = event.target;
    if (element.type === 'radio') {
      return;
    }
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    window.cbFocus.reached.push(say(element));
    const outline = style.outlineStyle === 'auto' ? Infinity
      : style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth);
    if (outline < 2 || box.right <= 0 || box.bottom <= 0) {
      window.cbFocus.unseen.push(say(element));
    }
  });
  return reachable.length;
}'''

SCROLLS = '''() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) {
    return [];
  }
  const wide = [...document.querySelectorAll('body *')].filter(
    (element) => element.getBoundingClientRect().right > root.clientWidth + 1);
  return ['scrolls sideways: ' + root.scrollWidth + ' px, '
          + wide.slice(0, 3).map(
            (element) => element.outerHTML.slice(0, 200)).join(' | ')];
}'''


def look(page, scheme, viewport, forced):
    """Show the page in these colours and size, without reloading it."""
    page.emulate_media(color_scheme=scheme, forced_colors=forced)
    page.set_viewport_size(viewport)


def findViolations(page):
    """Complain about each violation that axe-core finds."""
    if not page.evaluate('"axe" in window'):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate('(options) => axe.run(options)', OPTIONS)
    return ['%s: %s: %s' % (
        violation['id'], violation['help'],
        ' | '.join(_describe(node) for node in violation['nodes'][:3]))
        for violation in found['violations']]


def _describe(node):
    messages = [check['message'] for kind in ('any', 'all', 'none')
                for check in node[kind]]
    return '%s (%s)' % (node['html'][:200], '; '.join(messages[:2]))


def findSidewaysScrolling(page):
    """Complain if the whole page is wider than its window."""
    return page.evaluate(SCROLLS)


def findFocusTroubles(page):
    """Complain about elements that Tab does not reach in order and visibly."""
    for _n in range(page.evaluate(WATCH_FOCUS)):
        page.keyboard.press('Tab')
    # Within the control of a date there are several stops, and one in each
    # group of radio buttons.
    for _n in range(MOMENT_STOPS * page.evaluate(COUNT_MOMENTS)
                    + page.evaluate(COUNT_GROUPS)):
        if page.evaluate(IS_ALL_REACHED):
            break
        page.keyboard.press('Tab')
    focus = page.evaluate('window.cbFocus')
    complaints = ['focus is not to be seen: ' + text
                  for text in focus['unseen']]
    for expected, reached in zip_longest(focus['expected'], focus['reached']):
        if expected != reached:
            complaints.append('Tab reaches %s instead of %s' % (
                reached, expected))
            break
    return complaints


def inspect(page):
    """Complain about everything, in each of `LOOKS`."""
    # Without updates, which would look as if Tab left an element out.
    page.evaluate('() => { window.fetch = () => new Promise(() => {}); }')
    complaints = []
    for scheme, viewport, forced in LOOKS:
        look(page, scheme, viewport, forced)
        found = findViolations(page) + findSidewaysScrolling(page)
        if forced == 'active':
            scheme = 'forced colours'
        complaints += ['%s, %d px: %s' % (scheme, viewport['width'], text)
                       for text in found]
    look(page, *LOOKS[0])
    return complaints + findFocusTroubles(page)
