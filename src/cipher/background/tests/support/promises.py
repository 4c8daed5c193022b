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
"""The promises of PROMISES.rst and FAULTS.rst, and the tests they name."""
import importlib
import re
import unittest
from pathlib import Path
from typing import NamedTuple

import cipher.background.tests


FOLDER = Path(cipher.background.tests.__file__).resolve().parent

_SECTION = re.compile(r'^(\w+)\n=+\n(?:(?!=).*\n)+?(?=1\. )', re.MULTILINE)
_ENTRY = re.compile(
    r'^([0-9]+)\. ((?:.+\n)+)\n((?: +- ``[\w.]+``\n)*)', re.MULTILINE)


class Promise(NamedTuple):
    """One entry: its number, its text and the dotted names of its tests."""

    number: int
    text: str
    tests: tuple


def readPromises(name):
    """Return {title of a section: its promises} of a file of this package."""
    text = (FOLDER / name).read_text('utf-8')
    sections = list(_SECTION.finditer(text))
    ends = [section.start() for section in sections[1:]] + [len(text)]
    return {section[1]: _read(text[section.end():end])
            for section, end in zip(sections, ends)}


def _read(text):
    return [Promise(int(number), ' '.join(promise.split()),
                    tuple(re.findall('``(.*)``', tests)))
            for number, promise, tests in _ENTRY.findall(text)]


def findTest(name):
    """Return the test case that *name*, as "module.Class.test", says.

    Raise `LookupError` where there is none.
    """
    module_name, class_name, method = name.rsplit('.', 2)
    try:
        module = importlib.import_module(
            cipher.background.tests.__name__ + '.' + module_name)
    except ModuleNotFoundError as error:
        raise LookupError('%s: expected a module of tests, got none' % (
            name,)) from error
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, unittest.TestCase)
            and kind.__module__ == module.__name__):
        raise LookupError('%s: expected a class of tests, got %r' % (
            name, kind))
    if method not in unittest.defaultTestLoader.getTestCaseNames(kind):
        raise LookupError('%s: expected a test of the class, got %r' % (
            name, getattr(kind, method, None)))
    return kind(method)
