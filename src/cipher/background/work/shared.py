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
"""One member of a group: a job in a transaction that it shares with others.

The transaction is open when the work begins, and others commit it.  So the
member raises every error, and records none: the whole group is aborted then,
and each of its runs is done again alone, where its error is recorded.
"""
import transaction

from cipher.background.contextmanagers import ZopeInteraction
from cipher.background.contextmanagers import ZopeSite
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import StopRequested
from cipher.background.util.calling import callWork
from cipher.background.work.loop import OnePiece
from cipher.background.work.loop import PieceOfWork
from cipher.background.work.loop import WorkLoop
from cipher.background.work.recorder import JobRecorder


#: Methods whose override makes a transaction of its own, or goes another way.
UNSHARED = {
    'doCleanup': 'the cleanup has a transaction of its own',
    'run': 'it may do its work in another way',
}

_ORIGINAL = {'doCleanup': WorkLoop.doCleanup, 'run': OnePiece.run}


def listObstacles(worker_type):
    """Yield why runs of *worker_type* cannot share commits.

    Each is a tuple of texts (what needs its own, what there is, the reason).
    """
    for is_so, what in (
            (worker_type.is_loop, 'a loop'),
            (worker_type.on_interrupt == FAIL, 'on_interrupt="fail"'),
            (worker_type.max_running is not None,
             'max_running=%r' % worker_type.max_running)):
        if is_so:
            yield what, 'both', 'such a run begins with a commit of its own'
    class_ = worker_type.factory
    if class_ is None:
        return
    for name, reason in UNSHARED.items():
        if getattr(class_, name) is not _ORIGINAL[name]:
            yield ('a class that overrides %s' % name, class_.__name__, reason)


class DoneAlone(BaseException):
    """A run has to be done alone, because of what it did or met.

    Not an ``Exception``, so that no handler in the work goes on after it.
    """


class SharedPiece(PieceOfWork):
    """Carries out a worker in the open transaction; see `Work`."""

    def labels(self):
        """Return (user, note) of the transaction, if it were not shared."""
        return self._user(), self._note('getTransactionNote')

    def begin(self):
        """Prepare the calling thread for the work."""
        self.state.observer.started(self.worker)

    def do(self, connection):
        """Do the work and record its success.  Raise any error."""
        worker, state, observer = self.worker, self.state, self.state.observer
        if state.stop_requested or not self._call('scheduleNextWork'):
            raise StopRequested
        with ZopeSite(self._call('getSite', connection)):
            with ZopeInteraction(
                    *observer.participations(worker, connection)):
                observer.opened(worker, connection)
                observer.began(worker, connection)
                observer.done(worker, connection, callWork(
                    self._name_of('doWork'), worker.doWork))
                state.maskNote()

    def leave(self):
        """Restore the calling thread, whatever became of the work."""
        self.state.context = None
        self.state.observer.leaveThread()


class SharedRecorder(JobRecorder):
    """Records the success of a member; what else happens ends the group.

    *guard* is the `Guard` of the shared transaction.
    """

    def __init__(self, live, epoch, connection, guard):
        super().__init__(live, epoch, False, connection)
        self.guard = guard

    def _find(self, connection):
        return self._found[1:]   # as the same transaction has found it

    def checkpoint(self, worker, cursor):
        self.guard.refuse('a checkpoint')

    def leaveThread(self):
        super().leaveThread()
        # The thread goes on with another run; this one waits for the commit.
        self.live.thread_id = None


class Guard:
    """A data manager that keeps a shared transaction for the group.

    It joins first and votes first, so that no work can commit what others
    have done.  It notices an abort, and what else joins.
    """

    transaction_manager = None

    def __init__(self, txn):
        self.txn = txn
        self._is_over = False
        self.reason = None   # why the transaction cannot be committed
        txn.join(self)

    def refuse(self, reason):
        """Note that the member in work cannot share, and raise `DoneAlone`."""
        self.reason = self.reason or reason
        raise DoneAlone(reason)

    def check(self):
        """Raise `DoneAlone` unless the transaction is as a group needs it."""
        txn = self.txn
        if self.reason is not None or transaction.get() is not txn:
            self.refuse('a commit or an abort')
        if txn.isDoomed():
            self.refuse('a doomed transaction')

    def listOthers(self):
        """Return the other data managers that joined the transaction."""
        return [each for each in self.txn._resources if each is not self]

    def commit(self, txn=None):
        """Commit the transaction; as a data manager, do nothing."""
        if txn is None:
            self._is_over = True
            transaction.commit()

    # See transaction.interfaces.IDataManager

    def sortKey(self):
        return ''   # before any other

    def tpc_begin(self, txn):
        if not self._is_over:
            self.refuse('a commit')

    def tpc_vote(self, txn):
        pass

    def tpc_finish(self, txn):
        pass

    def tpc_abort(self, txn):
        pass

    def abort(self, txn):
        self.reason = self.reason or 'an abort'

    def savepoint(self):
        return self

    def rollback(self):
        """Do nothing: the work may use savepoints."""
