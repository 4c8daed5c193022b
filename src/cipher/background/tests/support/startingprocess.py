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
"""A process without a runtime that starts runs like a web process.

The program prints ``ready`` and waits for a line.  At its end it prints, as
JSON, the number of ConflictErrors in its transactions.
"""
import json
import random
import sys
import threading
import time

import transaction
from ZODB.POSException import ConflictError

from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.servers import openDatabase


class Starter(threading.Thread):
    """A thread that starts runs, each in a request of its own."""

    def __init__(self, db, number, seconds, **submit):
        super().__init__()
        self._db = db
        self._number = number
        self._seconds = seconds
        self._submit = submit
        # Conflicts of transactions with a new writer, and of all others.
        self.new_writer_conflicts = self.conflicts = 0

    def run(self):
        """Start the runs."""
        manager = transaction.TransactionManager()
        for _ in range(self._number):
            while not self._start(manager):
                pass

    def _start(self, manager):
        manager.begin()
        connection = self._db.open(manager)
        try:
            site = connection.root()['Application']
            registry = site.getSiteManager()['background']
            time.sleep(random.random() * self._seconds)
            registry.submit('work', **self._submit)
            is_new = registry.checkOut().is_new
            time.sleep(random.random() * self._seconds)
            manager.commit()
            return True
        except ConflictError:
            manager.abort()
            if is_new:
                self.new_writer_conflicts += 1
            else:
                self.conflicts += 1
            return False
        finally:
            connection.close()


def main(uri, threads, number, seconds, submit='{}'):
    """Start *number* runs in each of *threads* threads."""
    declareWorker('work')
    db = openDatabase(uri)
    starters = [Starter(db, int(number), float(seconds), **json.loads(submit))
                for _ in range(int(threads))]
    print('ready', flush=True)
    sys.stdin.readline()
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    print(json.dumps([
        sum(starter.conflicts for starter in starters),
        sum(starter.new_writer_conflicts for starter in starters)]),
        flush=True)
    db.close()


if __name__ == '__main__':
    main(*sys.argv[1:])
