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
"""Rendering of the demo's documents: what is shown is safe."""
import tempfile
import unittest
from pathlib import Path

from cipher.background.demo.rendering import is_safe_link
from cipher.background.demo.rendering import render
from cipher.background.demo.rendering import sanitize
from cipher.background.interfaces import StopRequested


class RenderingTests(unittest.TestCase):

    def test_sections_are_told_one_by_one(self):
        told = []
        render('One\n===\n\nTwo\n===\n\nThree\n=====\n',
               lambda *args: told.append(args))
        self.assertEqual(
            [(1, 3, 'One'), (2, 3, 'Two'), (3, 3, 'Three')], told)

    def test_a_text_without_sections_is_one(self):
        told = []
        render('text', lambda *args: told.append(args[:2]))
        self.assertEqual([(1, 1)], told)

    def test_a_heading_that_repeats_the_title_is_left_out(self):
        text = 'A & B\n=====\n\n:Field: value\n\ntext'
        html = render(text, title='A & B')
        self.assertNotIn('<h2>', html)
        self.assertIn('value', html)
        self.assertIn('<h2>A &amp; B</h2>', render(text, title='Other'))

    def test_what_tick_raises_ends_it(self):
        def stop(done, total, title):
            raise StopRequested
        with self.assertRaises(StopRequested):
            render('One\n===\n\nTwo\n===\n', stop)

    def test_markup(self):
        html = render('*a* **b** ``c``\n\n- `d <http://e.org/?f=1&g>`_')
        self.assertIn('<em>a</em> <strong>b</strong>', html)
        self.assertIn('href="http://e.org/?f=1&amp;g"', html)
        self.assertIn('<li>', html)

    def test_what_is_wrong_is_told_and_not_shown(self):
        told = []
        html = render('A :nosuch:`role`.\n\n.. nosuch::\n', warn=told.append)
        self.assertEqual(2, len(told), told)
        self.assertIn('line 1', told[0])
        self.assertIn(':nosuch:`role`', html)
        self.assertNotIn('Unknown', html)

    def test_no_file_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            secret = Path(folder, 'secret.txt')
            secret.write_text('the secret')
            Path(folder, 'secret.svg').write_text('<svg>the secret</svg>')
            for text in ('.. include:: %s', '.. literalinclude:: %s',
                         '.. csv-table::\n   :file: %s',
                         '.. raw:: html\n   :file: %s'):
                self.assertNotIn('the secret', render(text % secret))
            html = render('.. image:: %s/secret.svg\n   :loading: embed\n'
                          % folder)
            self.assertNotIn('the secret', html)

    def test_nothing_is_run(self):
        for text in (
                '.. raw:: html\n\n   <script>alert(1)</script>',
                '`x <javascript:alert(1)>`_',
                '`x <JaVaScRiPt:alert(1)>`_',
                '.. image:: x\n   :target: javascript:alert(1)',
                '.. image:: javascript:alert(1)',
                '.. _x: javascript:alert(1)\n\nx_',
                '.. role:: raw-html(raw)\n   :format: html\n\n'
                ':raw-html:`<svg onload=alert(1)>`',
                '.. class:: cb-bar\n\nx',
                '<svg onload=alert(1)>'):
            html = render(text)
            self.assertNotIn('<script', html)
            self.assertNotIn('<svg', html)
            self.assertNotIn('href="javascript', html.lower())
            self.assertNotIn('cb-bar', html)

    def test_sanitize_keeps_the_page_whole(self):
        for html, expected in (
                ('</div></main><p>x', '<p>x</p>'),
                ('<div><p>x</div>y', '<div><p>x</p></div>y'),
                ('<p onclick="x" class="y line">z</p>',
                 '<p class="line">z</p>'),
                ('<p id="cb-content">x</p>', '<p>x</p>'),
                ('<style>x</style>y', 'y'),
                ('<form><input value=1>x</form>', 'x'),
                ('<a href="//evil&quot;>">x</a>',
                 '<a href="//evil&quot;&gt;">x</a>'),
                ('&lt;script&gt;', '&lt;script&gt;'),
                ('<script>x', '')):
            self.assertEqual(expected, sanitize(html), html)

    def test_is_safe_link(self):
        for url in ('http://a', 'https://a/b:c', 'mailto:a@b', '#x', 'a/b:c',
                    '/a', 'a.html'):
            self.assertTrue(is_safe_link(url), url)
        for url in ('', None, 'javascript:x', 'JAVASCRIPT:x', 'data:x',
                    'java\tscript:x', ' javascript:x', '\x01javascript:x',
                    'vbscript:x', '\\\\host', 'a:b', 'http://[', 'file:///x'):
            self.assertFalse(is_safe_link(url), url)
