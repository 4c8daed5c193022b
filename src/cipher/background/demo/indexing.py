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
"""The index of the words in the documents.

Pickles name `TextIndex`, so it keeps its dotted name.
"""
import re

from BTrees.OOBTree import OOBTree
from BTrees.OOBTree import OOTreeSet
from persistent import Persistent
from zope.interface import implementer

from cipher.background.demo.interfaces import ITextIndex


#: Characters of a word that are indexed.
WORD_LIMIT = 50

_LAST = '\U0010ffff'


@implementer(ITextIndex)
class TextIndex(Persistent):

    def __init__(self):
        self._names = OOBTree()   # word -> OOTreeSet of names
        self._words = OOBTree()   # name -> OOTreeSet of words

    def add(self, name, text):
        words = find_words(text)
        known = self._words.get(name)
        if known is None:
            known = self._words[name] = OOTreeSet()
        old = set(known)
        for word in old - words:
            self._names[word].remove(name)
            known.remove(word)
        for word in words - old:
            names = self._names.get(word)
            if names is None:
                names = self._names[word] = OOTreeSet()
            names.add(name)
            known.add(word)
        return len(words)

    def remove(self, name):
        # The set of a word stays even if it is empty: another transaction may
        # add to it at the same time.
        for word in self._words.pop(name, ()):
            self._names[word].remove(name)

    def search(self, text):
        found = None
        for start in find_words(text):
            names = set()
            for some in self._names.values(start, start + _LAST):
                names.update(some)
            found = names if found is None else found & names
        return sorted(found or ())


def find_words(text):
    """Return the set of the words of a text in their indexed form."""
    return {word[:WORD_LIMIT]
            for word in re.findall(r'\w+', text.casefold())}
