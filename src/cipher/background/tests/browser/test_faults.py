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
"""The pages in a world of faults: odd texts, a database that takes nothing."""
import json

import transaction

from cipher.background.tests.support.browser import BrowserTests


#: NUL, lone surrogates, bidirectional overrides, CR and LF, and much of it.
ODD = 'a\0b\ud800c\u202ed\r\ne\x1b[31m' + 'x' * 2 ** 20


class FaultyPagesTests(BrowserTests):

    def setUp(self):
        super().setUp()
        self.failed = self.makeFailed(
            (ODD, ODD), ODD, ODD, title=ODD, result=ODD)
        self.running = self.makeRunning(title=ODD, progress=(1, 2, ODD))
        self.registry.stops[self.running.id] = (ODD, 1000.0, ODD)
        self.odd = self.registry.addRun(
            ODD, input={ODD[:1000]: ODD[:1000]}, starter=ODD)
        transaction.commit()
        self.pages = ['index.html', 'runs.html', 'types.html',
                      'schedules.html', 'processes.html', 'journal.html',
                      'type.html?name=plain']
        self.data = ['index.json', 'runs.json', 'types.json',
                     'processes.json']
        for run in self.failed, self.running, self.odd:
            self.pages.append(run.id)
            self.data.append(run.id + '/index.json')

    def test_pages_render_odd_texts(self):
        for path in self.pages + self.data:
            with self.subTest(path):
                answer = self.get(path)
                self.assertEqual(answer.status_int, 200)
                text = answer.body.decode('utf-8')
                if path in self.data:
                    text = json.dumps(json.loads(text), ensure_ascii=False)
                for unfit in '\0\ud800\u202e\x1b\r':
                    self.assertNotIn(unfit, text)

    def test_pages_write_nothing(self):
        # So they serve where a commit would fail.
        storage = self.registry._p_jar.db().storage
        before = storage.lastTransaction()
        more = ['runs.csv', 'start.html?type=plain']
        for path in self.pages + self.data + more:
            with self.subTest(path):
                self.assertEqual(self.get(path).status_int, 200)
                self.assertEqual(storage.lastTransaction(), before)
