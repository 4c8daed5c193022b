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
"""Another process on a test's database that obeys commands of the test.

The test has an `Actor`.  It sends the program below one command at a time and
waits for the answer.  The workers of the process are those of
`crashingprocess`: files in the folder are the barriers.
"""
import json
import os
import select
import signal
import subprocess
import sys

import transaction
from zope.component import hooks

from cipher.background.runtime.maintenance import troubles
from cipher.background.runtime.maintenance import turn
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.runtime.runtime import startRuntime
from cipher.background.tests.support.crashingprocess import declareWorkers
from cipher.background.tests.support.live import Counter
from cipher.background.tests.support.live import waitForLanes
from cipher.background.tests.support.servers import openDatabase
from cipher.background.tests.support.servers import programEnvironment


#: Seconds that an answer may take.
ANSWER_LIMIT = 30


class Actor:
    """A process that has the database *uri* open.

    Call its commands as methods: ``actor.start('add', number=3)``.  They are
    the methods of `Play` and return plain data.  The process ends with the
    test.
    """

    program = __name__   # module whose main is called with uri and folder

    def __init__(self, test, uri, folder):
        self._log_path = os.path.join(folder, 'actor.log')
        with open(self._log_path, 'ab') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-m', self.program, uri, folder],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env=programEnvironment(), bufsize=0)
        self.pid = self.process.pid
        test.addCleanup(self._close)
        self.answer()   # the first answer says that it is ready

    def __getattr__(self, name):
        def command(*args, **kwargs):
            self.send(name, *args, **kwargs)
            return self.answer()
        return command

    def send(self, name, *args, **kwargs):
        """Send a command without waiting for its answer."""
        self.process.stdin.write(
            json.dumps([name, args, kwargs]).encode() + b'\n')

    def answer(self):
        """Wait for the answer to the command that was sent."""
        answer = b''
        while not answer.endswith(b'\n'):
            if not select.select(
                    [self.process.stdout], [], [], ANSWER_LIMIT)[0]:
                raise self._failure('none')
            part = self.process.stdout.read(65536)
            if not part:
                raise self._failure(
                    'exit %s' % self.process.wait(ANSWER_LIMIT))
            answer += part
        error, value = json.loads(answer)
        if error is not None:
            raise AssertionError('actor: %s' % error)
        return value

    def _failure(self, got):
        with open(self._log_path, errors='replace') as log:
            return AssertionError('actor: expected an answer, got %s; it '
                                  'says:\n%s' % (got, log.read()[-4000:]))

    def kill(self):
        """End it as a crash does."""
        self.signal(signal.SIGKILL)
        self.process.wait(ANSWER_LIMIT)

    def pause(self):
        """Stop the process until `resume`."""
        self.signal(signal.SIGSTOP)

    def resume(self):
        """End a `pause`."""
        self.signal(signal.SIGCONT)

    def signal(self, number):
        """Send it a signal."""
        self.process.send_signal(number)

    def _close(self):
        if self.process.poll() is None:
            self.kill()
        self.process.stdin.close()
        self.process.stdout.close()


class Play:
    """The commands of an actor; a test may also use them in its own process.
    """

    def __init__(self, db):
        self._db = db
        self._connection = db.open()
        self._site = site = self._connection.root()['Application']
        self._registry = site.getSiteManager()['background']
        self._runtime = None

    def runtime(self, **settings):
        """Start a runtime that has lanes; return its id."""
        self.begin(**settings)
        waitForLanes(self._runtime)
        return self._runtime.id

    def begin(self, **settings):
        """Start a runtime; return its id."""
        self._runtime = startRuntime(self._db, RuntimeSettings(
            **dict({'threads': 2, 'poll': 0.05, 'lease': 3.0}, **settings)))
        return self._runtime.id

    def start(self, name, number=1):
        """Start runs, each in a transaction of its own; return the ids."""
        ids = []
        for _ in range(number):
            transaction.begin()
            ids.append(self._registry.start(name).id)
            transaction.commit()
        return ids

    def grow(self, name):
        """Add a `Counter` to the site that no other process has seen."""
        transaction.begin()
        self._site[name] = Counter()
        self._site[name].value = 1
        transaction.commit()

    def startAtOnce(self, name, number):
        """Start runs in one transaction; return the ids."""
        transaction.begin()
        ids = [self._registry.start(name).id for _ in range(number)]
        transaction.commit()
        return ids

    def quiet(self, is_quiet=True):
        """Make the runtime quiet, or resume it."""
        self._runtime.quiet(is_quiet)

    def stop(self, run_id, reason):
        """Ask a run to stop."""
        transaction.begin()
        self._registry.requestStop(run_id, reason)
        transaction.commit()

    def live(self):
        """Return the ids of the runs that are live here."""
        return self._runtime.listLive(self._registry._p_oid)

    def troubles(self):
        """Return the kinds of the troubles of the process."""
        return [trouble.kind for trouble in self._runtime.listTroubles()]

    def shutdown(self, timeout):
        """End the runtime."""
        self._runtime.shutdown(timeout)

    def ping(self):
        """Return at once."""


def main(uri, folder, play_class=Play):
    """Obey the commands on the standard input until it ends."""
    hooks.setHooks()
    # Seconds: tests are in a hurry, and their leases are short.
    turn.REPORT_INTERVAL = 0.2
    troubles.FAILURE_PAUSE = 1.0
    declareWorkers(folder)
    play = play_class(openDatabase(uri))
    answer = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)   # so that print() does not look like an answer
    print('[null, null]', file=answer, flush=True)
    for line in sys.stdin:
        name, args, kwargs = json.loads(line)
        try:
            result = None, getattr(play, name)(*args, **kwargs)
        except Exception as error:
            transaction.abort()
            result = '%s: %s' % (type(error).__name__, error), None
        print(json.dumps(result), file=answer, flush=True)
    os._exit(0)   # at once, like its parent


if __name__ == '__main__':
    main(*sys.argv[1:])
