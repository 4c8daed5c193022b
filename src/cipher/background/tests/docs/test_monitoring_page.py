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
"""docs/monitoring.rst: its names, its rules and its code."""
import json
import logging
import re
import sys
import textwrap
from unittest import mock

import transaction

from cipher.background.interfaces import PROBLEMS
from cipher.background.monitoring.metrics import PREFIX
from cipher.background.monitoring.metrics import makeText
from cipher.background.tests.queries.test_problems import WatchTests
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.work.test_labels import Records
from cipher.background.util import switchboard


class PageTests(WatchTests):

    def setUp(self):
        super().setUp()
        self.page = requirePage('monitoring.rst').read_text(
            'utf-8')

    def families(self):
        """Return {name of a family: its kind}, with all that there is."""
        self.addProcess()
        self.makeRuns(1)
        transaction.commit()
        runtime = mock.Mock(id='p:1:x', threads=1, conflicts=0)
        runtime.name = 'p:1'
        runtime.getLive.return_value = None
        runtime.listLive.return_value = ()
        runtime.allLive.return_value = ()
        runtime.listTroubles.return_value = ()
        switchboard.connect(self.db, runtime)
        self.addCleanup(switchboard.disconnect, self.db, runtime)
        return dict(re.findall(
            r'(?m)^# TYPE %s(\S+) (\w+)$' % PREFIX,
            makeText(self.connection)))

    def test_table_has_each_metric_with_its_kind(self):
        rows = re.findall(
            r'(?m)^``(\w+)`` +(gauge|counter|histogram) ', self.page)
        self.assertGreater(len(rows), 10)
        self.assertEqual(dict(rows), self.families())

    def test_rules_use_metrics_that_there_are(self):
        used = set(re.findall(PREFIX + r'(\w+)', self.page))
        families = self.families()
        names = set(families) | {
            name + '_bucket' for name, kind in families.items()
            if kind == 'histogram'}
        used.discard('site')   # the name of a job
        self.assertGreater(len(used), 4)
        self.assertLessEqual(used, names)

    def test_kinds_of_problems_are_those_that_there_are(self):
        for kind in re.findall(r'"kind": "([\w-]+)"', self.page):
            self.assertIn(kind, PROBLEMS)

    def test_formatter_writes_json(self):
        block = re.search(
            r'(?s)\n    import json\n.*?addHandler\(handler\)\n', self.page)[0]
        root = logging.getLogger()
        before = list(root.handlers)
        space = {}
        try:
            exec(textwrap.dedent(block), space)
        finally:
            for handler in set(root.handlers) - set(before):
                root.removeHandler(handler)
        records = Records(self, space['RunFilter']())
        try:
            raise ValueError('two\nlines')
        except ValueError:
            logging.getLogger('x').error('failed', exc_info=True)
        line = space['JSONFormatter']().format(records.records[-1])
        self.assertNotIn('\n', line)
        data = json.loads(line)
        self.assertEqual((data['level'], data['run'], data['attempt']),
                         ('ERROR', None, None))
        self.assertIn('ValueError: two', data['text'])

    def test_label_of_sentry_takes_what_a_record_has(self):
        block = re.search(r'(?s)\n    def label\(.*?return event\n',
                          self.page)[0]
        space = {}
        exec(textwrap.dedent(block), space)
        record = mock.Mock(spec_set=(
            'background_run', 'background_type', 'background_attempt'),
            background_run='1-1', background_type='work',
            background_attempt=2)
        self.assertEqual(space['label']({}, {'log_record': record})['tags'], {
            'background_run': '1-1', 'background_type': 'work',
            'background_attempt': '2'})
        self.assertEqual(space['label']({}, {}), {})
        self.assertNotIn('sentry_sdk', sys.modules)
