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
import configparser
import re
import shlex
import textwrap
import unittest

from cipher.background.cli.main import makeParser
from cipher.background.tests.support.checkout import requireCheckout


class WorkersPageTests(unittest.TestCase):

    def setUp(self):
        page, = requireCheckout('docs').rglob('workers.rst')
        self.text = page.read_text(encoding='utf-8')
        self.blocks = [
            (match[2], textwrap.dedent(match[3])) for match in re.finditer(
                r'^( *)\.\. code-block:: (\w+)\n\n((?:\1 +.*\n|\n)+)',
                self.text, re.MULTILINE)]

    def test_command_lines(self):
        found = []
        for kind, block in self.blocks:
            for match in re.finditer(r'cipher-background ([a-z].*)', block):
                line = match[1]
                with self.subTest(line):
                    makeParser().parse_args(shlex.split(line))
                    found.append(line)
        healthcheck = re.search(r'test: \["CMD", (.*)\]', self.text)[1]
        program, *arguments = re.findall('"([^"]*)"', healthcheck)
        self.assertEqual('cipher-background', program)
        makeParser().parse_args(arguments)
        self.assertEqual(9, len(found))

    def test_units_give_the_drain_its_time(self):
        units = [block for kind, block in self.blocks if kind == 'ini']
        self.assertEqual(2, len(units))
        for unit, section, name in zip(
                units, ('Service', 'program:shop-worker'),
                ('TimeoutStopSec', 'stopwaitsecs')):
            parser = configparser.RawConfigParser()
            parser.optionxform = str
            parser.read_string(unit)
            self.assertEqual('80', parser[section][name])
