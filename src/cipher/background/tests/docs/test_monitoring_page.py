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
import types
import urllib.error
from unittest import mock

import transaction
import yaml

from cipher.background.interfaces import PROBLEMS
from cipher.background.monitoring import checkDatabase
from cipher.background.monitoring import serveMetrics
from cipher.background.monitoring.health import Listed
from cipher.background.monitoring.metrics import PREFIX
from cipher.background.monitoring.metrics import makeText
from cipher.background.tests.queries.test_problems import WatchTests
from cipher.background.tests.support.checkout import requirePage
from cipher.background.tests.support.layers import Live
from cipher.background.tests.support.pages import listBlocks
from cipher.background.tests.support.promql import Query
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.work.test_labels import Records
from cipher.background.util import switchboard


class PageTests(WatchTests):

    layer = Live   # a server

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

    def find(self, begin):
        """Return the text of the block that begins like that."""
        found, = [block.text for block in listBlocks(
            requirePage('monitoring.rst')) if block.text.startswith(begin)]
        return found

    def test_labels_of_queries_are_those_of_the_metrics(self):
        rules, = yaml.safe_load(self.find('groups:'))['groups']
        queries = [Query(rule['expr']) for rule in rules['rules']]
        queries.append(Query(self.find('histogram_quantile')))
        self.families()
        text = makeText(self.connection)
        jobs = {job['job_name'] for job in yaml.safe_load(
            self.find('scrape_configs:'))['scrape_configs']}
        for query in queries:
            for metric in query.metrics - {'up'}:
                found = [set(re.findall(r'(\w+)="', line)) for line
                         in text.splitlines() if line.startswith(metric)]
                self.assertTrue(found, metric)
                self.assertLessEqual(query.labels, set().union(*found))
        used = set(re.findall(r'up\{job="(\w+)"', self.find('groups:')))
        self.assertTrue(used)
        self.assertLessEqual(used, jobs)

    def test_health_has_these_keys(self):
        self.addProcess()
        shown = re.sub(', …', '', self.find('{"ok"'))
        whole = checkDatabase(self.db, LIMIT).describe()
        data = json.loads(shown)
        self.assertEqual(set(data), set(whole))
        self.assertLessEqual(set(data['processes'][0]),
                             set(whole['processes'][0]))
        self.assertLessEqual(set(data['problems'][0]), set(Listed._fields))

    def test_check_of_a_container_fails_if_it_is_not_well(self):
        check = yaml.safe_load(self.find('healthcheck:'))['healthcheck']
        self.assertEqual({'test', 'interval', 'timeout', 'start_period'},
                         set(check))
        for name in set(check) - {'test'}:
            self.assertRegex(check[name], r'^\d+s$')
        kind, program, option, code = check['test']
        self.assertEqual(('CMD', 'python', '-c'), (kind, program, option))
        served = serveMetrics(self.db, 0, limit=LIMIT)
        self.addCleanup(served.close)
        self.assertEqual(1, code.count(':9464/'))
        code = code.replace(':9464/', ':%d/' % served.port)
        with self.assertRaises(urllib.error.HTTPError) as caught:
            exec(code, {})
        caught.exception.close()
        self.assertEqual(503, caught.exception.code)
        self.addProcess()
        exec(code, {})

    def test_formatter_writes_json(self):
        block = self.find('import json')
        root = logging.getLogger()
        before = list(root.handlers)
        space = {}
        try:
            exec(block, space)
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
        sentry = types.ModuleType('sentry_sdk')
        # The options of the release that was tried.
        sentry.init = mock.create_autospec(
            lambda *, dsn, include_local_variables, max_request_body_size,
            send_default_pii, before_send: None)
        space = {}
        with mock.patch.dict(sys.modules, sentry_sdk=sentry):
            exec(self.find('import sentry_sdk'), space)
        options = sentry.init.call_args.kwargs
        self.assertIs(options['before_send'], space['label'])
        self.assertIs(options['include_local_variables'], False)
        record = mock.Mock(spec_set=(
            'background_run', 'background_type', 'background_attempt'),
            background_run='1-1', background_type='work',
            background_attempt=2)
        self.assertEqual(space['label']({}, {'log_record': record})['tags'], {
            'background_run': '1-1', 'background_type': 'work',
            'background_attempt': '2'})
        self.assertEqual(space['label']({}, {}), {})
        self.assertNotIn('sentry_sdk', sys.modules)
