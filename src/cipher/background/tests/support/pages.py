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
"""The blocks of code in a page of the documentation.

Needs no docutils: environments with one extra read the pages as well.
"""
import re
import textwrap
from pathlib import Path
from typing import NamedTuple


#: The begin of a block: a directive, or a paragraph that ends in "::".
_BEGIN = re.compile(
    r'^(?P<indent> *)(?:\.\. code-block:: (?P<language>[\w-]+)|'
    r'(?!\.\. )(?:.*\S)?::) *\n'
    r'(?P<options>(?:(?P=indent) +:\w.*\n)*)', re.MULTILINE)

#: The line before a block that names the file.
_NAME = re.compile(r'``([\w./-]+\.(?:%s))``(?:,[^\n]*)?:\s*\Z' % '|'.join((
    'cfg', 'conf', 'html', 'ini', 'pt', 'py', 'service', 'sh', 'yaml', 'yml',
    'zcml')))


class Block(NamedTuple):
    """A block of code; *language* and *name*, that of a file, may be None."""

    page: str
    line: int
    language: str
    name: str
    text: str

    def __str__(self):
        return '%s, line %d' % (self.page, self.line)


def listBlocks(path):
    """Return the blocks of the page at *path*; doctests are not among them."""
    text = Path(path).read_text('utf-8')
    found, position = [], 0
    while True:
        begin = _BEGIN.search(text, position)
        if begin is None:
            return found
        position = begin.end()
        indent = len(begin['indent']) + 1
        body = re.compile(
            r'(?:[ \t]*\n)*((?:^ {%d,}\S.*\n|^[ \t]*\n)+)' % indent,
            re.MULTILINE).match(text, position)
        if body is None or not body[1].strip():
            continue
        position = body.end()
        before = text[:begin.start()]
        if not begin['language']:
            before = text[:begin.end()].rstrip()[:-1]   # one colon of the two
        name = _NAME.search(before)
        found.append(Block(
            Path(path).name, text.count('\n', 0, body.start(1)) + 1,
            begin['language'], name and name[1],
            textwrap.dedent(body[1]).strip('\n') + '\n'))


def readFiles(path):
    """Return {name: text} of the files that the page at *path* shows."""
    return {block.name: block.text for block in listBlocks(path)
            if block.name}
