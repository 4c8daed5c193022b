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
"""The documents are in plain English: none of the forms that are not."""
import re
import unittest

from cipher.background.tests.support.checkout import listPages
from cipher.background.tests.support.promises import FOLDER


#: Forms of a translation, each with a remedy.
FORMS = {
    r'(?:^|[.;:?*]\s+)(?:- )?(?:Who|Whoever|Whose|What)\s(?![^.?]*\?)':
        'begin with the subject: "A person who", "The runs that"',
    r'\b(?:tell|tells|told|telling)\b': 'record, report, show or return',
    r'\b[Ww]ho(?:m)?ever\b': 'a person who, any',
    r'\bat the most\b': 'at most',
}


def findForms(text):
    """Return [(place, remedy)] of each such form in the prose of *text*."""
    found = []
    for paragraph in re.split(r'\n\s*\n', text):
        if '>>>' in paragraph:
            continue   # code, and what it prints
        flat = re.sub(r'``[^`]*``', '``', ' '.join(paragraph.split()))
        found += [(flat[max(0, match.start() - 20):match.end() + 40], remedy)
                  for form, remedy in FORMS.items()
                  for match in re.finditer(form, flat)]
    return found


class PlainEnglishTests(unittest.TestCase):

    def test_documents(self):
        readme, *pages = listPages()
        pages += [readme, readme.with_name('CHANGES.rst'),
                  *sorted(FOLDER.glob('*.rst'))]
        self.assertGreater(len(pages), 10)
        for page in pages:
            text = page.read_text('utf-8')
            with self.subTest(page.name):
                self.assertEqual([], findForms(text))

    def test_forms_are_found(self):
        for text in ('Who has it not sees nothing.', 'So it is.  What waits '
                     'goes on.', '- Whoever\n  asks is\n  told.',
                     'It tells the time.', 'Three at\nthe most.'):
            self.assertTrue(findForms(text), text)
        self.assertEqual([], findForms('What is a lane?  ``tell`` does it.'))
