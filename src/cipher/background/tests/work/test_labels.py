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
"""The labels of the records that a run logs."""
import json
import logging
import threading

import transaction
from zope.component import provideUtility
from zope.interface import Interface
from zope.schema import Password

from cipher.background.declaring import makeWorkerType
from cipher.background.interfaces import IWorkerType
from cipher.background.testing import runPending
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import SiteTests
from cipher.background.util.logs import LABELS
from cipher.background.util.logs import RunFilter
from cipher.background.util.logs import getLogger
from cipher.background.util.text import MASK


class ISecret(Interface):

    password = Password(title='Password')


class Records(logging.Handler):
    """Keeps the records of the root logger, for a test."""

    def __init__(self, test, *filters):
        super().__init__()
        self.records = []
        for one in filters:
            self.addFilter(one)
        root = logging.getLogger()
        root.addHandler(self)
        test.addCleanup(root.removeHandler, self)
        test.addCleanup(root.setLevel, root.level)
        root.setLevel(logging.INFO)

    def emit(self, record):
        self.records.append(record)

    def labels(self, text):
        """Return the labels of the only record with *text*."""
        record, = [record for record in self.records
                   if text in record.getMessage()]
        return tuple(getattr(record, name, 'none') for name in LABELS)


class LabelTests(SiteTests):

    def carryOut(self, handler, **options):
        declareWorker('work', handler, **options)
        run = self.registry.start('work')
        transaction.commit()
        self.runAll()
        return run

    def runAll(self):
        """Carry out what is due; return the error of a run that failed."""
        try:
            runPending(self.site)
        except BaseException as error:
            return error

    def test_log_of_the_worker_has_them(self):
        records = Records(self)
        run = self.carryOut(lambda worker: worker.log.info('hello'))
        self.assertEqual(records.labels('hello'), (run.id, 'work', 1))

    def test_log_of_the_worker_has_them_in_any_thread(self):
        records = Records(self)

        def work(worker):
            thread = threading.Thread(
                target=lambda: worker.log.info('hello', extra={'shelf': 7}))
            thread.start()
            thread.join(LIMIT)

        run = self.carryOut(work)
        self.assertEqual(records.labels('hello'), (run.id, 'work', 1))
        self.assertEqual([record.shelf for record in records.records
                          if hasattr(record, 'shelf')], [7])

    def test_attempts_are_counted(self):
        records, clock = Records(self), self.setClock()

        def work(worker):
            worker.log.info('try')
            raise ValueError('not yet')

        run = self.carryOut(work, max_attempts=3)
        for _ in range(2):
            clock.advance(7200.0)
            self.runAll()
        self.assertEqual(
            [(record.background_run, record.background_attempt)
             for record in records.records if record.getMessage() == 'try'],
            [(run.id, 1), (run.id, 2), (run.id, 3)])

    def test_records_of_this_package_have_them_within_a_run(self):
        records = Records(self)
        ours = getLogger('cipher.background.test')

        def work(worker):
            ours.info('within')
            raise ValueError('so that it is logged')

        ours.info('before')
        run = self.carryOut(work)
        ours.info('after')
        nothing = (None, None, None)
        self.assertEqual(records.labels('before'), nothing)
        self.assertEqual(records.labels('within'), (run.id, 'work', 1))
        self.assertEqual(records.labels('after'), nothing)
        failures = [record for record in records.records
                    if record.levelno >= logging.ERROR]
        self.assertTrue(failures)
        self.assertEqual(
            {record.background_run for record in failures}, {run.id})

    def test_filter_gives_them_to_the_records_of_all_loggers(self):
        filtered = Records(self, RunFilter())
        other = logging.getLogger('application')
        run = self.carryOut(lambda worker: other.info('within'))
        other.info('after')
        self.assertEqual(filtered.labels('within'), (run.id, 'work', 1))
        self.assertEqual(filtered.labels('after'), (None, None, None))

    def test_labels_of_the_caller_stay(self):
        records = Records(self, RunFilter())

        def work(worker):
            logging.getLogger('x').info(
                'mine', extra={'background_type': 'another'})

        run = self.carryOut(work)
        self.assertEqual(records.labels('mine'), (run.id, 'another', 1))

    def test_labels_end_when_a_run_does_whatever_happens(self):
        def work(worker):
            raise SystemExit

        self.carryOut(work)
        records = Records(self, RunFilter())
        logging.getLogger('x').info('after')
        self.assertEqual(records.labels('after'), (None, None, None))

    def test_no_attribute_has_a_secret(self):
        records = Records(self, RunFilter())
        for worker_type in makeWorkerType(
                'work', None, lambda worker, password: worker.log.info(
                    'the password is %s', password,
                    extra={'given': password}), schema=ISecret):
            provideUtility(worker_type, IWorkerType, worker_type.name)
        run = self.registry.start('work', password='Sesame-0123')
        transaction.commit()
        runPending(self.site)
        self.assertEqual(records.labels('the password is ' + MASK),
                         (run.id, 'work', 1))
        for record in records.records:
            self.assertNotIn('Sesame', json.dumps(vars(record), default=str))
