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
"""docs/howto/workers.rst: each of its command lines is accepted."""
import re
import shlex
import unittest

from cipher.background.cli.main import makeParser
from cipher.background.tests.support.checkout import listPages
from cipher.background.tests.support.checkout import requireCheckout
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.pages import listBlocks


class WorkersPageTests(unittest.TestCase):

    def test_command_lines(self):
        found = []
        for block in listBlocks(requirePage('workers.rst')):
            for line in re.findall(
                    r'cipher-background ([a-z].*)', block.text):
                with self.subTest(line):
                    makeParser().parse_args(shlex.split(line))
                    found.append(line)
        self.assertEqual(6, len(found))

    def test_it_shows_files_that_are_tested(self):
        # All files in docs/deploy are: see test_deploy.
        shown = {}
        for path in listPages():
            for name, options in re.findall(
                    r'^\.\. literalinclude:: (\S+)\n((?:   :.*\n)*)',
                    path.read_text('utf-8'), re.MULTILINE):
                folder, name = name.removeprefix('/').split('/')
                self.assertEqual('deploy', folder)
                text = requireCheckout('docs', folder, name).read_text('utf-8')
                for begin in re.findall(':start-at: (.*)', options):
                    self.assertEqual(1, text.count(begin), begin)
                shown.setdefault(path.name, []).append(name)
        self.assertEqual({'workers.rst': [
            'dms-worker@.service', 'supervisord.conf', 'compose.yaml']}, shown)
