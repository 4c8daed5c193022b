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
"""The page of the command line names all of it, and shows what it prints."""
import re
import unittest

from cipher.background.cli import command
from cipher.background.cli import main
from cipher.background.tests.cli.test_errors import findParsers
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.transcript import insert
from cipher.background.tests.support.transcript import makeTranscript


def readPage():
    """Return the text of the page."""
    return requirePage('cli.rst').read_text(encoding='utf-8')


class PageTests(unittest.TestCase):

    def test_each_command_and_option_is_named(self):
        text = readPage()
        parsers = findParsers()
        self.assertIn('status', parsers)
        for name, parser in parsers.items():
            self.assertRegex(text, r'``%s[ `]' % name)
            for action in parser._actions:
                for option in action.option_strings:
                    if option != '-h':
                        self.assertRegex(
                            text, r'%s\b' % option, (name, option))
        self.assertIn('--version', text)

    def test_each_option_that_is_named_exists(self):
        known = {option for parser in (
            main.makeParser(), *findParsers().values())
            for action in parser._actions for option in action.option_strings}
        self.assertEqual(
            set(), set(re.findall(r'(?<![\w-])--[a-z][a-z-]*', readPage()))
            - known)

    def test_the_exit_codes_are_those_of_the_module(self):
        for text in readPage(), command.__doc__:
            table = re.search(r'^====  =+\n((?:.*\n)*?)====  =+$', text,
                              re.MULTILINE)[1]
            self.assertEqual(
                [command.OK, command.FAILED, command.UNUSABLE,
                 command.INTERRUPTED],
                [int(code) for code in re.findall(
                    r'^(\d+) ', table, re.MULTILINE)])

    def test_the_transcript_is_up_to_date(self):
        text = readPage()
        self.maxDiff = None
        # "python -m cipher.background.tests.support.transcript" renews it.
        self.assertEqual(text, insert(text, makeTranscript()))


class HelpTests(unittest.TestCase):

    def test_each_command_and_option_has_a_help(self):
        for name, parser in findParsers().items():
            self.assertGreater(len(parser.description), 10, name)
            for action in parser._actions:
                self.assertTrue(action.help, (name, action.dest))
            text = parser.format_help()
            self.assertNotIn('%(', text)
