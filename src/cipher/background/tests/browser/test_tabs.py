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
"""The kinds of problems and the tabs that count them."""
import unittest
from types import SimpleNamespace

from cipher.background.browser.descriptions import countByTab
from cipher.background.browser.page import Page
from cipher.background.interfaces import PROBLEMS


class TabTests(unittest.TestCase):

    def test_each_problem_is_counted_at_one_tab(self):
        found = countByTab([SimpleNamespace(kind=kind) for kind in PROBLEMS])
        self.assertEqual(sum(found.values()), len(PROBLEMS))
        page = Page(None, None)
        page.__dict__.update(
            wrong=found, _presenter=SimpleNamespace(
                format=SimpleNamespace(number=str)))
        page.say = lambda message, **mapping: str(message)
        Named = type('Named', (Page,), {'registry_url': '/r'})
        page.__class__ = Named
        self.assertEqual(
            {tab['url'] for tab in page.tabs if tab['wrong']},
            {'/r/' + name for name in found})
