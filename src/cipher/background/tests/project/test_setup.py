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
"""What setup.py says of the project: its home, once that is known."""
import re
import runpy
import unittest
from io import StringIO

from docutils.core import publish_doctree
from docutils.nodes import image
from docutils.nodes import reference

from cipher.background.tests.support.checkout import requireCheckout


HOME = 'https://example.com/project'
ADDRESS = re.compile(r'https?://[^\s<>`"]+')

#: Whole addresses that are not of the project.
FOREIGN = ('http://namespaces.zope.org/', 'http://localhost')


class SetupTests(unittest.TestCase):

    maxDiff = None

    def setUp(self):
        self.setup = runpy.run_path(str(requireCheckout('setup.py')))

    def render(self, home):
        """Return the long description as an index renders it."""
        errors = StringIO()
        document = publish_doctree(
            self.setup['describe'](home), settings_overrides={
                'warning_stream': errors, 'file_insertion_enabled': False})
        self.assertEqual('', errors.getvalue())
        return document

    def test_without_a_home_there_are_neither_pictures_nor_addresses(self):
        self.assertEqual([], list(self.render('').findall(image)))
        self.assertEqual({}, self.setup['list_addresses'](''))
        self.assertEqual([], [
            address for address in ADDRESS.findall(self.setup['describe'](''))
            if not address.startswith(FOREIGN)])

    def test_with_a_home_the_pictures_are_there(self):
        pictures = list(self.render(HOME).findall(image))
        self.assertTrue(pictures)
        for picture in pictures:
            prefix, path = picture['uri'].split('/raw/HEAD/')
            self.assertEqual(HOME, prefix)
            self.assertTrue(requireCheckout(*path.split('/')).is_file())
            self.assertTrue(picture['alt'])

    def test_links_lead_to_pages_of_the_home(self):
        links = [link['refuri'] for link in self.render(HOME).findall(
            reference)]
        self.assertGreater(len(links), 5)
        for link in links:
            prefix, path = link.split('/blob/HEAD/')
            self.assertEqual(HOME, prefix)
            self.assertTrue(requireCheckout(*path.split('/')).is_file(), link)

    def test_without_a_home_there_are_no_links(self):
        self.assertEqual([], list(self.render('').findall(reference)))

    def test_with_a_home_the_addresses_are_below_it(self):
        addresses = self.setup['list_addresses'](HOME)
        self.assertIn('Source', addresses)
        for address in addresses.values():
            self.assertTrue(address.startswith(HOME), address)

    def test_all_else_of_the_description_is_the_same(self):
        def text(home):
            return [' '.join(paragraph.astext().split())
                    for paragraph in self.render(home).findall()
                    if type(paragraph).__name__ == 'paragraph']

        self.assertTrue(text(''))
        self.assertEqual(text(''), text(HOME))
