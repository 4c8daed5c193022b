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
r"""Contracts of background work, and a tour of the package.

A developer declares **worker types** in ZCML (`zcml`, `declaring`,
`declarations`).  Application code, a **trigger** or a **schedule**
(`registry`) **starts** them.  `IWorkerRegistry.start` stores a **run**
(`store`) in a lane of the site's persistent **registry**, in the caller's
own transaction.  After the commit a hook wakes the **runtime** of the
process (`runtime`).  A thread of its **executor** (`runtime.executors`)
finds the run (`runtime.queue`) and carries it out.  The **worker**
(`thread`, `job`) does its work in a transaction of its own (`work`).  An
observer (`work.recorder`) writes the result into the run *in that very
transaction*.  So the effect of the work and the word "succeeded" are one
commit.

The control thread of a runtime (`runtime.maintenance`) finds what was
missed: at each poll, after a crash, and in other processes.  The views of
`browser` let administrators see, start and stop runs.  They reach the rest
through the interfaces of this module; `queries` has the answers.

docs/explanation/design.rst draws these ways, and
docs/reference/glossary.rst defines the words.

The states of a run::

                 +-----------------------------+
                 | retry, snooze, interrupted  |
                 v                             |
    start --> pending ----------> running -----+
                 |                   |
                 |                   +--> succeeded
                 |                   +--> failed
                 +--> stopped <------+
                 |                   |
                 +--> interrupted <--+

A job whose type says ``on_interrupt="rerun"`` needs no commit to mark it as
running.  It goes from ``pending`` to ``succeeded`` in the one commit of its
work.  It is shown as running because its process reports it (`IRunStatus`).

Durations are seconds (float), measured by a monotonic clock.  Times end in
``_at`` and are seconds since the epoch, UTC (float).
"""
from zope.interface import Attribute
from zope.interface import Interface
from zope.interface.interfaces import IObjectEvent
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Dict
from zope.schema import Float
from zope.schema import Int
from zope.schema import InterfaceField
from zope.schema import List
from zope.schema import Object
from zope.schema import Text
from zope.schema import TextLine
from zope.schema import Tuple

from cipher.background.i18n import _


PENDING = 'pending'
RUNNING = 'running'
SUCCEEDED = 'succeeded'
FAILED = 'failed'
STOPPED = 'stopped'
INTERRUPTED = 'interrupted'

#: Every state, in the order in which pages show them.
STATES = (PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED, INTERRUPTED)
FINISHED_STATES = STATES[2:]
#: Finished states that pages count as failures.
UNSUCCESSFUL_STATES = (FAILED, INTERRUPTED)

NOT_FINISHED = 'not finished'
RETRIED = 'retried'
TYPE_UNDECLARED = 'type undeclared'
IS_SERVICE = 'is service'
START_FAILED = 'start failed'
INPUT_UNFIT = 'input unfit'
#: Why a run cannot be retried.
RETRY_OBSTACLES = (NOT_FINISHED, RETRIED, TYPE_UNDECLARED, IS_SERVICE,
                   START_FAILED, INPUT_UNFIT)

#: How an attempt ended, if the run went on.  `PUT_OFF`: by a `Snooze`.
#: `UNRECORDED`: its end could not be written.  It can also be `FAILED`, or one
#: of `PROCESS_ENDS`.  The outcome of the last attempt is the state of the run.
PUT_OFF = 'put off'
UNRECORDED = 'unrecorded'
SHUT_DOWN = 'shut down'
DRAINED = 'drained'
GONE = 'gone'
SILENT = 'silent'
#: How a process ended.  `SHUT_DOWN`: by itself.  `DRAINED`: an administrator
#: drained it.  `GONE`: it died, its pid does not exist any more.  `SILENT`: it
#: sent no heartbeat for longer than its lease and counts as dead.
PROCESS_ENDS = (SHUT_DOWN, DRAINED, GONE, SILENT)
OUTCOMES = (SUCCEEDED, FAILED, STOPPED, INTERRUPTED, PUT_OFF, UNRECORDED,
            *PROCESS_ENDS)

BY_SCHEDULE = 'schedule'
BY_TRIGGER = 'trigger'
BY_SERVICE = 'service'
ELSEWHERE = 'elsewhere'
#: What started a run, if nobody did by hand.  `ELSEWHERE`: a run of another
#: registry.
CAUSES = (BY_SCHEDULE, BY_TRIGGER, BY_SERVICE, ELSEWHERE)

NOT_WAITING = 'not waiting'
PROCESS_GONE = 'process gone'
TYPE_PAUSED = 'type paused'
LIMIT_REACHED = 'limit reached'
ALREADY_DUE = 'already due'
KEPT_BACK = 'kept back'
#: Why a run cannot be begun now.  Only a run that waits for its time can.
BEGIN_OBSTACLES = (NOT_WAITING, PROCESS_GONE, TYPE_UNDECLARED, TYPE_PAUSED,
                   LIMIT_REACHED, ALREADY_DUE, KEPT_BACK)

WAITS_FOR_TIME = 'due'
WAITS_WHILE_PAUSED = 'paused'
WAITS_FOR_RUNTIME = 'no-runtime'
WAITS_WHILE_QUIET = 'quiet'
WAITS_WHILE_UNDECLARED = 'undeclared'
WAITS_FOR_LIMIT = 'limit'
WAITS_FOR_THREAD = 'no-thread'
WAITS_FOR_RESCUE = 'rescue'
WAITS_FOR_TURN = 'turn'
WAITS_WHILE_KEPT = 'kept'
#: Values of `IWait.kind`.
WAITS = (WAITS_FOR_TIME, WAITS_WHILE_PAUSED, WAITS_FOR_RUNTIME,
         WAITS_WHILE_QUIET, WAITS_WHILE_UNDECLARED, WAITS_FOR_LIMIT,
         WAITS_FOR_THREAD, WAITS_FOR_RESCUE, WAITS_FOR_TURN,
         WAITS_WHILE_KEPT)

RERUN = 'rerun'
FAIL = 'fail'
#: Values of ``on_interrupt``.
ON_INTERRUPT = (RERUN, FAIL)

NOT_UNIQUE = 'no'
BY_TYPE = 'type'
BY_CONTEXT = 'context'
BY_INPUT = 'input'
#: What stands for the replaced parts of a message: see `IErrorGroup`.
NUMBER_PART = '‹number›'
ID_PART = '‹id›'
TEXT_PART = '‹text›'

#: Values of ``unique``.
UNIQUE = (NOT_UNIQUE, BY_TYPE, BY_CONTEXT, BY_INPUT)

THREADS = 'threads'
CELERY = 'celery'

#: Values of ``run_as``; any other value is a principal id.
AS_STARTER = 'starter'
AS_SYSTEM = 'system'

NEWEST = 'newest'
OLDEST = 'oldest'
SLOWEST = 'slowest'
WAITED = 'waited'
#: Orders of a list of runs.
ORDERS = (NEWEST, OLDEST, SLOWEST, WAITED)

#: Values of `IProblem.kind`.
NO_RUNTIME = 'no-runtime'
SILENT_PROCESS = 'silent-process'
LATE_SCHEDULE = 'late-schedule'
UNDECLARED_TYPE = 'undeclared-type'
UNRESPONSIVE_RUN = 'unresponsive-run'
STUCK_PROCESS = 'stuck-process'
FAILING_STEP = 'failing-step'
FAILING_SUBSCRIBER = 'failing-subscriber'
BROKEN_RUN = 'broken-run'
FAILING_RESCUE = 'failing-rescue'
CLOCK_JUMP = 'clock-jump'
STALLED_RUN = 'stalled-run'
BUSY_THREADS = 'busy-threads'
FAILING_TYPE = 'failing-type'
SCHEDULE_ELSEWHERE = 'schedule-elsewhere'
PAUSED_TYPE = 'paused-type'
NEWER_DATABASE = 'newer-database'
OLDER_PROCESS = 'older-process'
COPIED_DATABASE = 'copied-database'
KEPT_RUNS = 'kept-runs'
PROBLEMS = (COPIED_DATABASE, KEPT_RUNS, NO_RUNTIME, NEWER_DATABASE,
            SILENT_PROCESS, STUCK_PROCESS, FAILING_STEP, BROKEN_RUN,
            FAILING_RESCUE, FAILING_SUBSCRIBER, OLDER_PROCESS, CLOCK_JUMP,
            UNRESPONSIVE_RUN, STALLED_RUN, BUSY_THREADS, FAILING_TYPE,
            LATE_SCHEDULE, SCHEDULE_ELSEWHERE, PAUSED_TYPE, UNDECLARED_TYPE)

#: Values of `IAction.verb`.
ACTIONS = ('begin', 'stop', 'retry', 'remove', 'pause type', 'resume type',
           'pause schedule', 'resume schedule', 'run schedule',
           'quiet process', 'unquiet process', 'drain process',
           'change thresholds', 'remove registry',
           'adopt database', 'begin kept', 'remove kept')

REFUSE = 'refuse'
STOP = 'stop'
DISCARD = 'discard'
#: Values of the argument *unfinished* of `installation.removeRegistry`.
UNFINISHED = (REFUSE, STOP, DISCARD)

#: Runs.  Longest chain of runs that each start the next.  A longer chain is
#: taken for an endless loop, and the next start is refused.
MAX_DEPTH = 10

VIEW_WORKERS = 'cipher.background.ViewWorkers'
START_WORKERS = 'cipher.background.StartWorkers'
STOP_WORKERS = 'cipher.background.StopWorkers'
MANAGE_WORKERS = 'cipher.background.ManageWorkers'
VIEW_DETAILS = 'cipher.background.ViewDetails'


class BackgroundError(Exception):
    """Base of the errors of this package that a caller may want to catch."""


class InvalidDeclaration(BackgroundError, ValueError):
    """A declaration cannot work."""


class UnknownWorkerType(BackgroundError, LookupError):
    """No ZCML declares a worker type of that name."""


class InvalidInput(BackgroundError, ValueError):
    """The input does not fit the schema of the worker type.

    The text is for the person who gave the input.  It names unknown fields
    and repeats the messages of the schema's invariants and constraints,
    without passwords.  ``public`` is for everybody else and quotes nothing of
    the input.

    *errors* is {field name: text}; the name None stands for errors that
    belong to no single field.  *causes* is {field name: exception} with the
    exceptions of zope.schema, whose messages can be translated.
    """

    errors = causes = {}

    def __init__(self, text, public=None):
        super().__init__(text)
        self.public = text if public is None else public


class InputOutdated(InvalidInput):
    """The stored input of a run does not fit its type any more."""


class InvalidContext(BackgroundError, ValueError):
    """The context cannot be referred to from the registry's database."""


class RegistryNotFound(BackgroundError, LookupError):
    """There is no worker registry at or above the site."""


class InvalidSite(BackgroundError, ValueError):
    """The object cannot hold a worker registry."""


class RegistryInUse(BackgroundError, ValueError):
    """Runs of the registry wait or are in work, so it is not removed."""


class RunNotFound(BackgroundError, LookupError):
    """The registry holds no run of that id."""


class ScheduleNotFound(BackgroundError, LookupError):
    """No ZCML declares a schedule of that name."""


class RunNotStoppable(BackgroundError, ValueError):
    """The run is finished, so there is nothing to stop."""


class RunNotRetryable(BackgroundError, ValueError):
    """The run is not finished, or it cannot be done again.

    *cause* is one of `RETRY_OBSTACLES`.
    """

    def __init__(self, message='', cause=None):
        super().__init__(message)
        self.cause = cause


class RunNotBeginnable(BackgroundError, ValueError):
    """The run does not wait for its time.

    *cause* is one of `BEGIN_OBSTACLES`.
    """

    def __init__(self, message='', cause=None):
        super().__init__(message)
        self.cause = cause


class RunNotRemovable(BackgroundError, ValueError):
    """The run is not finished: stop it first."""


class TooManyWaiting(BackgroundError, ValueError):
    """Too many runs of the worker type wait, so people may start no more."""


class TooManyOfStarter(TooManyWaiting):
    """Too many runs of the starter wait, so they may start no more."""


class ProcessNotFound(BackgroundError, LookupError):
    """No process of that id is known."""


class InvalidThreshold(BackgroundError, ValueError):
    """The threshold *name* cannot have this value."""

    def __init__(self, name, message):
        super().__init__(message)
        self.name = name


class IllegalTransition(BackgroundError, ValueError):
    """A run cannot go from its state to the new one."""


class RuntimeRefused(BackgroundError, RuntimeError):
    """A runtime cannot begin here.

    Reasons: the process was forked or is shutting down, another runtime
    serves the database, the database is read-only, or the Celery application
    accepts more than JSON.
    """


class RuntimeNotFound(BackgroundError, LookupError):
    """No runtime of this process serves the database."""


class MetricsUnavailable(BackgroundError):
    """The metrics cannot be made, or their address cannot be had."""


class ContextGone(BackgroundError, LookupError):
    """The context of the run was deleted before the work began."""


class SiteGone(BackgroundError, LookupError):
    """The site of the run was deleted before the work began."""


class StarterGone(BackgroundError, LookupError):
    """The principal who started the run is gone or no longer permitted."""


class InvalidDatabase(BackgroundError, ValueError):
    """The database holds a foreign object in place of a record of ours."""


class NewerDatabase(InvalidDatabase):
    """Newer code has used the database: this code neither reads nor writes it.

    *version* is the number of the structure that was found.
    """

    def __init__(self, message='', version=None):
        super().__init__(message)
        self.version = version


class OlderProcess(BackgroundError):
    """A process of older code lives, so the database stays as it is."""


class RunLost(BackgroundError):
    """The worker does not own its run any more: it ends without a commit."""


class Cancel(BackgroundError):
    """Raised by a worker: the run fails and is not tried again."""


class Snooze(BackgroundError):
    """Raised by a worker: do all of the work later, and count no attempt.

    The changes of the work are aborted.  *seconds* is a float >= 0.
    """

    def __init__(self, seconds, reason=None):
        super().__init__(reason or 'put off for %s s' % seconds)
        self.seconds = float(seconds)


class StopRequested(BaseException):
    """Raised by `IWorker.checkStop` when a stop was asked for.

    Not an ``Exception``: a worker that catches exceptions for each of its
    items must not swallow a stop request.
    """


class IWorker(Interface):
    """The worker as its code sees it: ``self``, or the handler's argument.

    Any thread may use `requestStop` and `stop_requested`.  Everything else is
    for the worker's own thread.
    """

    run_id = TextLine(
        title="Run id",
        description="Stable over conflicts and reruns, so it can serve as an "
                    "idempotency key outside.  None if nothing is recorded.",
        required=False, readonly=True)

    origin_id = TextLine(
        title="Origin id",
        description="Id of the first run of a chain of retries by people, "
                    "even if that run was removed; the run's own id if it is "
                    "not a retry.  An idempotency key that outlives a retry.  "
                    "None before the work and if nothing is recorded.",
        required=False, readonly=True)

    context = Attribute(
        "The object that the run is about, loaded in the worker's own "
        "connection; None if the run has none.  It has no security proxy.  "
        "Only during doWork and doCleanup; a new object at each attempt.")

    input = Dict(
        title="Input",
        description="The input of the run, a fresh copy.",
        readonly=True)

    stop_requested = Bool(
        title="Stop requested",
        description="True as soon as the worker was asked to stop.",
        readonly=True)

    log = Attribute("A logger.  Its records of level INFO or above are kept "
                    "in the run's log.")

    def requestStop():
        """Ask the worker to stop soon; return at once.

        A `wait` of the worker ends, its next `checkStop` raises, and a loop
        begins no further iteration.  May be called twice.  Thread-safe.
        """

    def wait(seconds):
        """Sleep at most *seconds* (float); return whether to stop.

        A stop request ends the sleep at once.
        """

    def checkStop():
        """Raise `StopRequested` if a stop was asked for, else do nothing.

        The open transaction is then aborted and the run is ``stopped``.
        """

    cursor = Attribute(
        "The cursor of the last `checkpoint` of this run; None before the "
        "first.  A worker that makes checkpoints begins there.")

    def checkpoint(cursor=None):
        """Commit the work so far; go on in a new transaction.

        *cursor* (plain data) and the progress are part of that commit.  After
        a conflict, an error or the end of the process, the work begins again
        with the last committed `cursor`.  So each effect happens once.

        For jobs and handlers that are recorded.  After the commit, raise
        `StopRequested` if a stop was asked for.
        """

    def setProgress(done, total=None, message=None):
        """Report the progress of the work: *done* of *total* units (numbers).

        Cheap, however often it is called: it writes to memory only.  Never
        commits and never touches the transaction.  The *message* is cut to
        `util.text.MESSAGE_LIMIT` characters.  None leaves a value as it was.
        """


class IBackgroundWorkerThread(IWorker):
    """A thread that works with a connection, a site and a transaction.

    Upstream's contract.  The thread calls `scheduleNextWork`.  For each True
    it opens one connection, sets the site and begins an interaction.  Then it
    calls `doWork` and `doCleanup`, each in a transaction of its own.

    It leaves nothing behind: in any case it ends the transaction, resets the
    site, closes the connection and ends the interaction.
    """

    description = Attribute("Name of the thread, with %(class_name)s, "
                            "%(site_name)s and %(user_name)s")
    work_transaction_note = Attribute("Note of the work's transaction; takes "
                                      "%(thread_name)s as well")
    cleanup_transaction_note = Attribute("Note of the cleanup's transaction")
    max_tries = Attribute(
        "How many times one iteration's work is tried if a transient error "
        "(a conflict) ends its transaction.  Then the last error is raised.")

    def getSite(connection):
        """Return the site, loaded from *connection*."""

    def getTransactionNote():
        """Return the note for the work's transaction record (text)."""

    def getCleanupNote():
        """Return the note for the cleanup's transaction record (text)."""

    def scheduleNextWork():
        """Return True if there is work, False to end the thread.

        May sleep, preferably with `IWorker.wait`.  Called without a
        connection and without a transaction.  Returns False unless overridden.
        """

    def doWork():
        """Do one iteration's work.  Committed afterwards, aborted on error.

        Called again from the start if the commit conflicts.
        """

    def retryDelay(attempt, error):
        """Return the seconds (float) before the next attempt, or None.

        *attempt* attempts ended so far, the last one with *error*.  None means
        the delay of the worker type.  Called only if there is a next attempt.
        """

    def doCleanup():
        """Clean up after `doWork`, even if that failed.

        Called in a transaction of its own.  May be called twice: if the
        process dies meanwhile, nothing records that the cleanup was done.
        """


class IWorkObserver(Interface):
    """Receives the events of a worker; each method is called in its thread.

    A worker that no registry started looks up an adapter to this interface.
    """

    def started(worker):
        """The worker has begun; its first iteration follows."""

    def connect(worker):
        """Return a context manager for the connection of an iteration."""

    def participations(worker, connection):
        """Return the participations of the iteration's interaction.

        Called with the site set.  An error ends the iteration.
        """

    def opened(worker, connection):
        """Connection, site and interaction are ready; the work follows.

        May run transactions of its own.  Raise `RunLost` to cancel the work.
        """

    def began(worker, connection):
        """Check the claim at the start of each transaction (the fence).

        Called again at each try.  Return True if an earlier try was committed
        after all, so that nothing is left to do.  Raise `RunLost` if another
        process owns the run by now.
        """

    def done(worker, connection, result):
        """The work returned *result*; its transaction commits next.

        Changes made here are committed together with the work.
        """

    def checkpoint(worker, cursor):
        """Commit the work so far with *cursor*; see `IWorker.checkpoint`.

        Raise ``RuntimeError`` if the cursor cannot be stored.
        """

    def conflicted(worker, error):
        """A transient *error* ended a try; another try follows."""

    def failed(worker, connection, error):
        """The iteration ended with *error*; its transaction is aborted.

        Called while the connection is open and the site is set.
        """

    def cleaned(worker, connection):
        """The cleanup is done; its transaction commits next.

        Raise `RunLost` to abort it.
        """

    def cleanupFailed(worker, connection, error):
        """The cleanup ended with *error*; its transaction is aborted."""

    def ended(worker, error):
        """The worker has ended: by *error*, or normally if that is None."""


class IWorkerType(Interface):
    """A worker type of ``<background:worker>``; immutable, a named utility."""

    name = TextLine(title="Name", readonly=True)
    title = TextLine(title="Title", readonly=True)
    description = Text(title="Description", readonly=True)
    schema = InterfaceField(
        title="Schema of the input",
        description="None: the worker takes no input.",
        required=False, readonly=True)
    permission = TextLine(
        title="Permission to start it", readonly=True,
        description="Needed to start it in the browser.  Application code "
                    "that calls `IWorkerRegistry.start` is trusted.")
    view_permission = TextLine(
        title="Permission to see it", required=False, readonly=True,
        description="Without this permission on the registry, the type and "
                    "its runs are hidden in every list and count.  None: the "
                    "permission to see the registry is enough.")
    on_interrupt = Choice(
        title="When its process dies", values=ON_INTERRUPT, readonly=True,
        description="'rerun'; or 'fail' for effects outside the ZODB that "
                    "must not happen twice.")
    factory = Attribute("The class of the worker, or None")
    handler = Attribute("The function that does the work, or None")
    max_attempts = Int(
        title="Attempts", min=1, readonly=True,
        description="How many times the work is begun before an error makes "
                    "the run fail.  Conflicts and stops do not count.")
    retry_delay = Float(
        title="Retry delay", min=0.0, readonly=True,
        description="Seconds before the second attempt.  Doubled before each "
                    "further one, to an hour at most.  Chance shortens each "
                    "delay, by half at most.")
    max_running = Int(
        title="At a time", min=1, required=False, readonly=True,
        description="How many runs of the type may run at a time in the "
                    "whole database.  None: as many as there are threads.")
    unique = Choice(
        title="Unique", values=UNIQUE, readonly=True,
        description="While such a run is pending, a second start returns that "
                    "run.  It has the same type; the same type and context; "
                    "or the same type, context and input.  If the work runs "
                    "as the starter, the starter must be the same as well.")
    priority = Int(
        title="Priority", readonly=True,
        description="Of the runs that wait, the greater number goes first.")
    run_as = TextLine(
        title="Run as", readonly=True,
        description="The principal whose permissions the work has: 'starter', "
                    "'system' or a principal id.  A retry asked for by "
                    "another person has only the permissions that both have.")
    stop_timeout = Float(
        title="Stop timeout", min=0.0, readonly=True,
        description="Seconds that a run may take to obey a stop request.  "
                    "Then pages show that it does not respond.  Its thread is "
                    "not killed: Python threads cannot be.")
    autostart = Bool(
        title="Service", readonly=True,
        description="Kept running while a runtime lives: one run in the "
                    "database, or max_running of them")
    keep_days = Float(
        title="Keep for", required=False, readonly=True,
        description="Days that a finished run is kept.  None: the number of "
                    "the registry")
    share = Bool(
        title="Share commits", required=False, readonly=True,
        description="Whether short runs of the type may be carried out in "
                    "one transaction with others.  If one of them fails, the "
                    "others are done again.  None: as the runtime says.")
    current = TextLine(
        title="Current name", required=False, readonly=True,
        description="For a former name, the name of today: a start under the "
                    "former name starts this type.  Else None.")
    keep = Int(
        title="Keep at most", required=False, readonly=True,
        description="Finished runs that are kept.  None: the number of the "
                    "registry")
    is_loop = Bool(
        title="Loops", readonly=True,
        description="True for a class that is a `BackgroundWorkerThread` "
                    "but not a `BackgroundJob`: it has a thread of its own.")

    def cleanInput(input, site=None):
        """Return *input* (a dict) as a plain deep copy that fits the schema.

        Missing fields get the field's default.  Vocabularies are those of
        *site*.  Security proxies are removed at any depth.  Values that JSON
        does not have are converted; see `fitting.fit`.

        Raise `InvalidInput` for values that are unknown, missing, of a wrong
        type or too big, and for numbers that are not finite.  It names the
        type and each field.
        """

    def fitInput(input, site=None):
        """Return (input, names left out) for a run that begins.

        *input* is the stored input of the run, perhaps of an older schema.
        New fields get their default.  Fields that the schema lost are left
        out.  Raise `InputOutdated`, which quotes nothing of the input.
        """

    def hide(text, input):
        """Return *text* with the passwords of *input* masked.

        *input* is a dict that need not fit the schema.
        """


class IWorkerRun(Interface):
    """The persistent record of one execution.

    Only the registry and the recorder change it.
    """

    id = TextLine(title="Id", readonly=True,
                  description="LANE-SERIAL, unique within the registry")
    type = TextLine(title="Worker type", readonly=True,
                    description="Its name; the type need not exist any more")
    title = TextLine(title="Title", readonly=True, required=False)
    state = Choice(title="State", values=STATES, readonly=True,
                   description="As stored.  `IRunStatus.state` is the state "
                               "that pages show.")
    starter = TextLine(title="Started by", required=False, readonly=True,
                       description="Principal id; None for trusted code "
                                   "without an interaction")
    asker = TextLine(title="Also limited to the rights of", required=False,
                     readonly=True,
                     description="Id of the principal who retried it, if not "
                                 "the starter.  The work has only the "
                                 "permissions that both have.  The runs that "
                                 "it starts inherit this.")
    created_at = Float(title="Created", readonly=True)
    started_at = Float(title="Began", required=False, readonly=True)
    finished_at = Float(title="Finished", required=False, readonly=True)
    attempts = Int(title="Attempts", readonly=True)
    priority = Int(title="Priority", readonly=True)
    due_at = Float(title="Due", required=False, readonly=True,
                   description="It begins at this time or later; None: at "
                               "once")
    depth = Int(title="Depth", readonly=True,
                description="How many runs are before it in the chain of "
                            "runs that started each other")
    parent_id = TextLine(
        title="Parent", required=False, readonly=True,
        description="Id of the run within whose work it was started, or at "
                    "whose event a trigger started it; None without one")
    interruptions = Int(
        title="Interruptions", readonly=True,
        description="How many times its process died while it ran since its "
                    "last checkpoint")
    owner = TextLine(title="Process", required=False, readonly=True,
                     description="The process that carries it out")
    result = Attribute("The work's result: a short text or plain data")
    error = Attribute("None or (type name, short text)")
    progress = Attribute("None or (done, total, message)")
    stop = Attribute("None or an `IStopRequest`")
    retry = Attribute("An `IRetry` if it is the retry of another run, or None")
    retried_as = TextLine(
        title="Retried as", required=False, readonly=True,
        description="Id of the run that took its place, or None")
    context = Attribute(
        "The object it is about, or None; it has no security proxy")

    def isFinished():
        """Return whether the state of the run is final."""


class IRunDetails(Interface):
    """The big or private data of a run; they need a permission of their own.
    """

    input = Dict(title="Input", readonly=True,
                 description="In the order of the form, passwords masked.  If "
                             "the type is not declared, every value is masked")
    masked = Tuple(title="Masked", readonly=True,
                   description="Names of the masked values of `input`")
    traceback = Text(title="Traceback", readonly=True)
    log = Text(title="Log", readonly=True,
               description="The log of all attempts.  If there are several, "
                           "a line that names the attempt precedes each")
    attempts = List(
        title="Attempts", readonly=True,
        description="An `IAttempt` for each, the last one included.  If there "
                    "are very many: the first one and the last ones")
    left_out = Int(title="Left out", readonly=True,
                   description="Number of attempts after the first one that "
                               "are not kept any more")
    history = List(
        title="Failed attempts", readonly=True,
        description="(began at, seconds, type of the error, text) for each "
                    "attempt that failed")


class IAttempt(Interface):
    """One attempt of a run, and how it ended.

    Deaths of a process, snoozes and shutdowns end an attempt as well.  So
    there can be more than `IWorkerRun.attempts`, which ``max_attempts``
    bounds.
    """

    began_at = Float(title="Began", required=False, readonly=True,
                     description="None if unknown")
    ended_at = Float(title="Ended", required=False, readonly=True,
                     description="None while it runs")
    process = TextLine(title="Process", required=False, readonly=True,
                       description="host:pid")
    outcome = Choice(title="Outcome", values=OUTCOMES, required=False,
                     readonly=True, description="None while it runs")
    error_type = TextLine(title="Error", required=False, readonly=True)
    error_text = TextLine(
        title="Message of the error", required=False, readonly=True,
        description="The message; for a drain or a stop, the reason")
    principal = TextLine(
        title="Requested by", required=False, readonly=True,
        description="Id of the principal who drained its process or stopped "
                    "the run")


class IRequest(Interface):
    """What a person asked for: the principal, the time and the reason."""

    principal = TextLine(title="Requested by", required=False, readonly=True)
    asked_at = Float(title="Requested at", readonly=True)
    reason = TextLine(title="Reason", required=False, readonly=True)


class IStopRequest(IRequest):
    """A request to stop a run."""


class IRetry(IRequest):
    """The request by which a run does the work of a finished one again."""

    run_id = TextLine(title="Retry of", readonly=True)


class IWait(Interface):
    """The reason why a run waits, a snapshot."""

    kind = Choice(
        title="Why it waits", values=WAITS,
        description="The first of these that holds.  kept: it came with a "
                    "copy of the registry.  rescue: its process is gone, and "
                    "another one will rescue it.  due: its time has not "
                    "come.  paused: its type is paused.  no-runtime: no "
                    "process carries out runs.  quiet: each such process is "
                    "quiet.  undeclared: no such process knows the type.  "
                    "limit: max_running runs of the type run.  no-thread: "
                    "all threads are busy.  turn: other runs go first.  "
                    "Hidden runs count neither for limit nor for no-thread")
    until = Float(title="Due", required=False,
                  description="For due: the time")
    number = Int(title="At a time", required=False,
                 description="For limit: the max_running of the type")
    run_id = TextLine(
        title="Goes first", required=False,
        description="For limit: id of the run that took its slot first; None "
                    "if that run is in another registry")


class IRunStatus(Interface):
    """A run as it is now, a snapshot: stored and live data together.

    All attributes are plain data, safe to keep after the transaction.
    """

    id = TextLine(title="Id")
    type = TextLine(title="Worker type")
    title = TextLine(title="Title")
    state = Choice(title="State", values=STATES)
    starter = TextLine(title="Started by", required=False)
    asker = TextLine(title="Also limited to the rights of", required=False)
    created_at = Float(title="Created")
    started_at = Float(title="Began", required=False)
    finished_at = Float(title="Finished", required=False)
    attempts = Int(title="Attempts")
    interruptions = Int(title="Interruptions")
    due_at = Float(title="Due", required=False)
    progress_done = Float(title="Done", required=False)
    progress_total = Float(title="Of", required=False)
    message = TextLine(title="Message", required=False)
    stop = Object(title="Stop", schema=IStopRequest, required=False)
    owner = TextLine(title="Process", required=False,
                     description="host:pid of the process that runs it")
    result = Attribute("The work's result, or None")
    error_type = TextLine(title="Error", required=False)
    error_text = TextLine(title="Message of the error", required=False)
    is_declared = Bool(title="Declared",
                       description="False: no ZCML declares the type now")
    is_stoppable = Bool(title="Can be stopped",
                        description="Not finished, and not asked to stop yet")
    is_retryable = Bool(title="Can be retried",
                        description="True if retry_obstacle is None")
    retry_obstacle = Choice(
        title="Why not retried", values=RETRY_OBSTACLES, required=False,
        description="Why it cannot be retried; None if it can.  If it was "
                    "retried already, retry() returns that retry")
    is_beginnable = Bool(title="Can be begun now",
                         description="True if begin_obstacle is None")
    begin_obstacle = Choice(
        title="Why not begun now", values=BEGIN_OBSTACLES, required=False,
        description="Why it cannot be begun now; None if it waits for its "
                    "time")
    is_removable = Bool(title="Can be removed",
                        description="Finished")
    is_unresponsive = Bool(
        title="Does not respond",
        description="Still runs, though it was asked to stop longer ago than "
                    "the stop_timeout of its type")
    is_paused = Bool(title="Type paused",
                     description="Waits, and its type is paused")
    is_orphaned = Bool(
        title="Process gone",
        description="Stored as running, but its process is gone or silent.  "
                    "It is shown as pending until another process rescues it")
    is_kept = Bool(
        title="Held",
        description="Came with a copy of the registry.  It does not begin "
                    "until an administrator lets it")
    retry = Object(title="Retry", schema=IRetry, required=False)
    retried_as = TextLine(title="Retried as", required=False)
    waited = Float(title="Queue wait", required=False,
                   description="Queue wait: seconds from its due time (else "
                               "its creation) to its first begin; None "
                               "before that")
    took = Float(title="Took", required=False,
                 description="Seconds from its begin to its end, or to now")
    progressed_at = Float(
        title="Last progress", required=False,
        description="While it runs: time of the last change of the progress "
                    "or of the last checkpoint; None before the first")
    wait = Object(title="Why it waits", schema=IWait, required=False,
                  description="None unless it is pending")


class ICause(Interface):
    """What started a run.  Each attribute is None if it is not known."""

    kind = Choice(title="By", values=CAUSES, required=False, readonly=True)
    name = TextLine(title="Name", required=False, readonly=True,
                    description="Of the schedule, or of the class of the "
                                "event at which a trigger started it")
    run_id = TextLine(
        title="Run", required=False, readonly=True,
        description="Id of the run that started it within its work, or whose "
                    "event did; None if it is gone or hidden from the reader")


class IFamily(Interface):
    """The runs that belong to a run: its cause, what it caused, its retries.

    Only runs that are kept and that the reader may see are listed.
    """

    cause = Object(title="Cause", schema=ICause, required=False)
    parent = Object(title="Parent", schema=IRunStatus, required=False,
                    description="The run of the cause")
    children = List(
        title="Started by it", value_type=Object(schema=IRunStatus),
        description="The last runs that it caused, oldest first")
    started = Int(title="Number",
                  description="How many runs it caused, also those that are "
                              "not listed")
    retries = List(
        title="Retries", value_type=Object(schema=IRunStatus),
        description="The chain of retries that it belongs to, itself "
                    "included, oldest first; empty without retries")


class IRunHealth(Interface):
    """How a run does.  Each attribute is None if that is not known.

    Only `usual` and `usual_most` are known of a run that does not run.
    """

    usual = Float(title="Usual duration", required=False,
                  description="Seconds: half of the runs of its type took at "
                              "most that")
    usual_most = Float(title="Usual duration at most", required=False,
                       description="Seconds: 95 % took at most that")
    rate = Float(title="Rate", required=False,
                 description="How much of its progress it does in a second, "
                             "on average in this attempt")
    left = Float(title="Time left", required=False,
                 description="Seconds at this rate; None unless it progresses "
                             "towards a total")
    stalled_since = Float(
        title="Stands still since", required=False,
        description="The time of its last sign of progress, if a problem "
                    "reports it as stalled")
    unmoved_since = Float(
        title="Not moved since", required=False,
        description="Time since when its thread is at the same place in the "
                    "code.  A run of another process reports this after a "
                    "minute")
    process_id = TextLine(title="Id of its process", required=False)
    beat_at = Float(title="Last heartbeat of its process", required=False)
    neighbours = List(
        title="Beside it", value_type=Object(schema=IRunStatus),
        description="If it stands still or ignores a stop: other runs that "
                    "its process carries out now and that the reader may see")


class IRunPage(Interface):
    """One page of a list of runs."""

    items = List(title="Runs", value_type=Object(schema=IRunStatus))
    older = TextLine(title="Key of the next page", required=False,
                     description="None on the last page")
    looked_at = Int(title="Searched",
                    description="How many runs or entries were read for this "
                                "page")
    is_cut = Bool(title="Cut",
                  description="The search ended at its limit before the page "
                              "was full; `older` goes on from there")


class IProcessStatus(Interface):
    """A process that carries out runs, as its records show it."""

    id = TextLine(title="Process id",
                  description="HOST:PID:RANDOM; new for each runtime, and "
                              "after others counted it as dead")
    host = TextLine(title="Host")
    pid = Int(title="Pid")
    threads = Int(title="Threads")
    started_at = Float(title="Started")
    beat_at = Float(title="Last heartbeat")
    is_here = Bool(title="This process")
    is_silent = Bool(title="Silent",
                     description="No heartbeat for longer than its lease")
    busy = Int(title="Busy",
               description="Number of runs that it carries out now.  Only "
                           "runs that it has reported and that the reader may "
                           "see count")
    is_all_seen = Bool(
        title="All is seen",
        description="True if the reader may see every run of the process: "
                    "they have the permission to see runs on the root object "
                    "of the application, and no worker type is hidden")
    is_quiet = Bool(title="Takes no new runs",
                    description="It begins nothing new: it was asked to be "
                                "quiet, or its database is a copy")
    is_draining = Bool(title="Finishes and stops",
                       description="It was asked to end all work and its "
                                   "runtime")
    is_copy = Bool(title="Copy",
                   description="It regards its database as a copy")
    types = List(
        title="Types", required=False,
        description="The names of the worker types that it takes and begins, "
                    "without those that are hidden from the reader.  None: "
                    "all that it declares")
    asked_by = TextLine(title="Requested by", required=False,
                        description="Id of the principal who made it quiet "
                                    "or drained it")


class IEndedProcess(Interface):
    """A process that ended or died within the last day."""

    id = TextLine(title="Process id")
    host = TextLine(title="Host")
    pid = Int(title="Pid")
    started_at = Float(title="Started")
    beat_at = Float(title="Last heartbeat")
    ended_at = Float(title="Ended",
                     description="If it died: when another process noticed")
    how = Choice(title="How", values=PROCESS_ENDS)
    asked_by = TextLine(title="Requested by", required=False,
                        description="Id of the principal who drained it")
    reason = TextLine(title="Reason", required=False)
    taken_over = Int(title="Rescued runs",
                     description="Number of runs that it worked on at its end "
                                 "and that others took over.  Only runs that "
                                 "the reader may see count")
    run_ids = List(title="Ids", value_type=TextLine(),
                   description="Ids of the ones in this registry")


class IPauseStatus(Interface):
    """Whether something is paused, and by whom; None unless it is."""

    is_paused = Bool(title="Paused")
    paused_by = TextLine(title="Paused by", required=False)
    paused_at = Float(title="Paused at", required=False)
    pause_reason = TextLine(title="Reason", required=False)


class ITypeStatus(IPauseStatus):
    """A worker type in a registry, a snapshot; declared or not."""

    name = TextLine(title="Worker type")
    is_declared = Bool(title="Declared")
    counts = Attribute("{state: number of runs}, without zeros")
    timed = Int(title="Measured",
                description="Number of finished runs that ever began; the "
                            "basis of mean and maximum")
    mean = Float(title="Mean duration", required=False,
                 description="Seconds; None if nothing was measured")
    maximum = Float(title="Longest duration", required=False,
                    description="Seconds")
    failure_rate = Float(title="Failure rate", required=False,
                         description="Share of failed runs among all that "
                                     "ever finished, 0.0 to 1.0; None if none "
                                     "did")
    last_run = TextLine(title="Last run", required=False,
                        description="Id of the run that finished last")
    last_at = Float(title="Last finished", required=False)
    last_state = Choice(title="Last state", values=STATES, required=False)


class IErrorGroup(Interface):
    """Runs that failed, or were interrupted, for the same reason.

    The reason is the class of the error and its message.  Numbers, ids and
    quoted words of the message are replaced by ``‹number›``, ``‹id›`` and
    ``‹text›``.
    """

    key = TextLine(title="Key", description="See `IWorkerRegistry.listRuns`")
    error_type = TextLine(title="Error", required=False)
    message = TextLine(title="Message", description="With parts replaced")
    number = Int(title="Number of runs")
    unresolved = Int(
        title="Not resolved",
        description="Runs that were not retried, and whose work has not "
                    "succeeded since")
    first_at = Float(title="First finish")
    last_at = Float(title="Last finish")
    types = Attribute("{type name: number of runs}")
    hours = Attribute("The numbers of runs in the last 24 hours, oldest "
                      "first; the last one is the current hour")
    days = Attribute("The numbers of runs in the last 14 times 24 hours, "
                     "oldest first")
    last_run = TextLine(title="Id of the run that failed last")


class IErrors(Interface):
    """The errors of the runs that failed last."""

    groups = Attribute("An `IErrorGroup` for each reason; the one of the last "
                       "failure comes first")
    looked_at = Int(title="Runs in the groups")
    is_cut = Bool(title="Cut", description="Older failures are not in the "
                                           "groups")


class ITypePeriod(Interface):
    """The runs of a worker type that finished in some time."""

    begins_at = Float(title="Begin of the period")
    ends_at = Float(title="End of the period")
    counts = Attribute("{finished state: number of runs}, without zeros")
    took_half = Float(
        title="Half took", required=False,
        description="Seconds that half of the runs took at most; None if "
                    "none began")
    took_most = Float(
        title="95 % took", required=False,
        description="Seconds that 95 % of the runs took at most")
    waited_half = Float(
        title="Half waited", required=False,
        description="Seconds that half of the runs waited at most; None if "
                    "no queue wait is known")
    waited_most = Float(
        title="95 % waited", required=False,
        description="Seconds that 95 % of the runs waited at most")


class ITypeHistory(Interface):
    """The finished runs of a worker type over 14 days.

    Removed and pruned runs count too.  Seconds are at most 9 % off.
    """

    hours = Attribute("An `ITypePeriod` for each of the last 24 hours, oldest "
                      "first; the last one is the current hour")
    days = Attribute("An `ITypePeriod` for each of the last 14 times 24 "
                     "hours, oldest first; the last one ends with the "
                     "current hour")
    day = Object(title="The last 24 hours", schema=ITypePeriod)
    fortnight = Object(title="The last 14 days", schema=ITypePeriod)
    buckets = Attribute(
        "[(seconds, number)]: the runs of the 14 days by the time that they "
        "took.  Each took at most these seconds, and more than those before. "
        "The last seconds are None: no limit")


class IActivityPeriod(Interface):
    """The runs of all worker types that finished in some time."""

    begins_at = Float(title="Begin of the period")
    ends_at = Float(title="End of the period")
    counts = Attribute("{finished state: number of runs}, without zeros")
    waited_half = Float(
        title="Half waited", required=False,
        description="Seconds that half of the runs waited at most; None if "
                    "no queue wait is known")
    waited_most = Float(
        title="95 % waited", required=False,
        description="Seconds that 95 % of the runs waited at most")
    pace_half = Float(
        title="Pace of half", required=False,
        description="Half of the runs took at most this multiple of what is "
                    "usual for their type; None if none began")
    pace_most = Float(
        title="Pace of 95 %", required=False,
        description="95 % of the runs took at most this multiple")


class IActivity(Interface):
    """The finished runs of all worker types over 14 days.

    Removed and pruned runs count too.  Types that the principal may not see
    do not.  What is usual for a type is the duration that half of its runs
    within these days did not exceed.
    """

    hours = Attribute("An `IActivityPeriod` for each of the last 24 hours, "
                      "oldest first; the last one is the current hour")
    days = Attribute("An `IActivityPeriod` for each of the last 14 times 24 "
                     "hours, oldest first; the last one ends with the "
                     "current hour")
    day = Object(title="The last 24 hours", schema=IActivityPeriod)
    fortnight = Object(title="The last 14 days", schema=IActivityPeriod)
    paces = Attribute(
        "{type name: the multiple of its usual duration that half of its "
        "runs of the last 24 hours did not exceed}")


class IProblem(Interface):
    """A problem that an administrator should look at."""

    kind = Choice(title="Kind", values=PROBLEMS)
    subject = TextLine(
        title="Subject", required=False,
        description="Process id, schedule name, type name or run id, as fits "
                    "the kind; None for no-runtime.  For failing-step and "
                    "stuck-process the name of the step; for clock-jump the "
                    "seconds; for newer-database the structure number found; "
                    "for busy-threads the run that waits longest; for "
                    "copied-database the deployment that owns the database, "
                    "if known")
    since = Float(title="Since", required=False)
    number = Int(title="Runs", description="Runs that wait because of it, "
                 "or 0; for failing-type, runs that failed in the last hour")
    process = TextLine(
        title="Process", required=False,
        description="Id of the process that reported it, if any")
    error = TextLine(title="Error", required=False,
                     description="The name of the error's type")
    stack = Text(title="Stack", required=False,
                 description="The stack of the thread of a stuck-process")
    total = Int(title="Of", description="For failing-type: runs that "
                "finished in the last hour")
    usual = Float(
        title="Usual", required=False,
        description="For stalled-run: seconds of the longest run of the "
                    "type.  For failing-type: share of runs that failed in "
                    "the day before.  None if unknown")


class IThresholds(Interface):
    """The values from which on a registry reports its problems.

    None: the problem is never reported.
    """

    stalled_after = Float(
        title=_("No progress, in seconds"),
        description=_("A run is reported when it has shown no progress and "
                      "made no checkpoint for longer.  Loops are left "
                      "out.  Default: 600."),
        min=1.0, max=1e9, default=600.0, required=False)
    stalled_factor = Float(
        title=_("No progress, as a multiple of the usual"),
        description=_("The run must also have taken longer than this "
                      "multiple of the longest run of its type in the last "
                      "24 hours, or of the longest ever if there was "
                      "none.  Default: 3."),
        min=0.0, max=1e6, default=3.0)
    busy_after = Float(
        title=_("All threads busy, in seconds"),
        description=_("Reported when a run has waited longer for a thread "
                      "alone.  Default: 900."),
        min=1.0, max=1e9, default=900.0, required=False)
    failing_number = Int(
        title=_("Failures of a worker type, in runs"),
        description=_("Reported when at least this many of its runs failed "
                      "in the last hour.  Default: 5."),
        min=1, max=10 ** 9, default=5, required=False)
    failing_percent = Float(
        title=_("Failures of a worker type, in percent"),
        description=_("They must also be at least this percentage of all "
                      "that finished.  Default: 50."),
        min=0.0, max=100.0, default=50.0)
    failing_factor = Float(
        title=_("Failures of a worker type, as a multiple of the usual"),
        description=_("The percentage must also be at least this multiple "
                      "of the one in the 23 hours before.  Default: 3."),
        min=0.0, max=1e6, default=3.0)
    paused_waiting = Int(
        title=_("Paused worker type, in waiting runs"),
        description=_("Reported when at least this many of its runs wait, "
                      "or when a schedule keeps starting them.  Default: 1."),
        min=1, max=10 ** 9, default=1, required=False)
    late_after = Float(
        title=_("Late schedule, in seconds"),
        description=_("Reported when it has been due for longer.  Default: "
                      "60."),
        min=1.0, max=1e9, default=60.0, required=False)
    elsewhere_after = Float(
        title=_("Schedule that does not run here, in seconds"),
        description=_("Reported when nothing starts it here, although a "
                      "process has carried out runs for longer.  Default: "
                      "60."),
        min=1.0, max=1e9, default=60.0, required=False)
    jump_above = Float(
        title=_("Clock jump, in seconds"),
        description=_("Reported when the clock of a process was set "
                      "forward or back by at least this much.  Default: "
                      "60; processes do not record smaller jumps."),
        min=60.0, max=1e9, default=60.0, required=False)


class IAction(Interface):
    """One act of an administrator, as the journal keeps it."""

    at = Float(title="When")
    principal = TextLine(title="Who", required=False)
    verb = Choice(title="Action", values=ACTIONS)
    subject = TextLine(title="Subject", required=False,
                       description="Run id, type name, schedule name or "
                                   "process id; None for an act on many runs")
    reason = TextLine(title="Reason", required=False)
    times = Int(title="Times",
                description="How many times the same person did it to the "
                            "same subject within an hour; one row for all")
    last_at = Float(title="Last time", required=False,
                    description="None if it was done once")
    number = Int(title="Runs",
                 description="Number of runs of an act on many; else 1")
    filter = TextLine(title="Found by", required=False,
                      description="The filter that found them; None if they "
                                  "were selected")
    run_ids = List(title="Ids", value_type=TextLine(),
                   description="Ids of an act on many; else empty")


class ISchedule(Interface):
    """A schedule of ``<background:schedule>``; immutable, a named utility."""

    name = TextLine(title="Name", readonly=True)
    worker = TextLine(title="Worker type", readonly=True)
    cron = TextLine(title="Cron expression", required=False, readonly=True)
    every = Float(title="Every", required=False, readonly=True,
                  description="Seconds from tick to tick")
    timezone = TextLine(title="Time zone of the cron expression",
                        readonly=True)
    input = Attribute("A callable without arguments that returns the input, "
                      "or None")
    context = Attribute("A callable without arguments that returns the object "
                        "that the run is about, or None")
    unique = Choice(title="Unique", values=UNIQUE, required=False,
                    readonly=True, description="None: that of the type")
    priority = Int(title="Priority", required=False, readonly=True,
                   description="None: that of the type")
    description = TextLine(title="Description", readonly=True)
    misfire = Float(
        title="Misfire", required=False, readonly=True,
        description="Seconds that a tick may be late and still start a run.  "
                    "None: any number of seconds")
    expression = TextLine(title="When, for people", readonly=True)

    def isMissed(due_at, now):
        """Return whether all ticks from *due_at* to *now* are too late.

        Both are times.
        """

    def nextTick(after):
        """Return the time of the first tick after the time *after*."""


class ITrigger(Interface):
    """An event handler of ``<background:trigger>`` that starts runs."""

    worker = TextLine(title="Worker type", readonly=True)


class ITick(Interface):
    """A tick of a schedule, a snapshot."""

    at = Float(title="Time")
    state = TextLine(title="State of its run", required=False,
                     description="None if there is no such run any more")
    run_id = TextLine(title="Id of its run", required=False)
    is_missed = Bool(title="Missed", description="It started no run")


class IScheduleStatus(IPauseStatus):
    """A schedule in a registry, a snapshot."""

    name = TextLine(title="Schedule")
    worker = TextLine(title="Worker type")
    expression = TextLine(title="When")
    description = TextLine(title="Description")
    next_at = Float(title="Next", required=False,
                    description="None until a runtime has seen the schedule")
    last_at = Float(title="Last", required=False)
    last_run = TextLine(title="Last run", required=False,
                        description="Its id; None if the run is gone")
    recent = Attribute("The last `ITick` objects, at most 14, oldest first")
    is_late = Bool(title="Late",
                   description="It is not paused, and its tick has been due "
                               "for more than `IThresholds.late_after`")


class IWorkerRegistry(Interface):
    """The runs of a site: a persistent local utility.

    Add one with `installation.addRegistry`.  Methods neither list, count nor
    find runs of a worker type that the principal of the interaction may not
    see (`IWorkerType.view_permission`).  Without an interaction nothing is
    hidden.

    No method commits.  Methods that change something join the transaction of
    the registry's connection.
    """

    def start(name, context=None, **input):
        """Store a run of worker type *name* and return it (`IWorkerRun`).

        Joins the transaction of the registry's connection and never commits.
        An abort or a savepoint rollback takes the run back; after a commit a
        runtime carries it out.  The id of the run is known at once.  The
        starter is the principal of the current interaction, if there is one.

        *context* is a persistent object of the same database, stored already
        or by this transaction.  The run refers to it weakly.  *input* is
        checked against the schema of the type and copied.

        For trusted code: no permission is checked.  Raise
        `UnknownWorkerType`, `InvalidInput` or `InvalidContext`, each with
        nothing stored.
        """

    def submit(name, context=None, input=None, delay=0.0, unique=None,
               priority=None):
        """`start` with options; *input* is a dict or None.

        *delay*: seconds that the run waits at least; ten years at most.
        *unique* (one of `UNIQUE`) and *priority* (an int from -1000 to 1000)
        override the values of the type.  Raise ``ValueError`` for any other
        value, with nothing stored.  If the start is unique and such a run is
        pending, return that run.
        """

    def startByPrincipal(name, context=None, **input):
        """`start` for untrusted callers: the browser, proxied code.

        Raise ``Unauthorized`` unless the principal of the interaction has the
        permission of the worker type on *context*, or on the site if that is
        None.  Raise ``NoInteraction`` without an interaction.  The permission
        is checked again when the run begins.

        Raise `TooManyOfStarter` if about `waiting_per_starter` runs of the
        principal wait already.  Of the methods that start a run, only this
        one and `startOnce` raise that.
        """

    def mayStart(name, context=None):
        """Return whether the principal may start that worker type.

        Checks the same permission as `startByPrincipal`.
        """

    def startOnce(since, name, context=None, input=None):
        """`startByPrincipal` for a form: a second click starts nothing.

        *since* is the time when the form was shown.  If the principal called
        this with the same type, context and input at that time or later,
        return the run of that call.
        """

    def get(run_id, default=None):
        """Return the run of that id, or *default*."""

    def getStatus(run_id):
        """Return the `IRunStatus` of a run; raise `RunNotFound`."""

    def getFamily(run_id):
        """Return the `IFamily` of a run; raise `RunNotFound`."""

    def getHealth(run_id):
        """Return the `IRunHealth` of a run; raise `RunNotFound`."""

    def getDetails(run_id):
        """Return the `IRunDetails` of a run; raise `RunNotFound`.

        While the run is live, they have its log so far.  If another process
        carries it out, they have the part that this process last reported.
        """

    def getContext(run_id):
        """Return the object that a run is about.

        None if it has none, or if the object is gone.  Raise `RunNotFound`.
        """

    def listRuns(states=(), types=(), contexts=(), starters=(), text=None,
                 since=None, until=None, order=NEWEST, limit=50, before=None,
                 unresolved=False, error=None):
        """Return one `IRunPage` of statuses.

        *states*, *types*, *starters* and *contexts* (objects) restrict the
        list unless they are empty.  *starters* are ids of principals.  An
        entry that is not the id of a known principal is also searched for in
        the principals' titles.

        *text* must be part of the title, the message, the error or the name
        of the worker type.  If the reader has the permission to see details,
        it may also be part of a value of the input that is not masked: within
        the first `digests.INPUT_LIMIT` characters of these.  Case does not
        matter, nor does it matter whether characters are composed.

        *unresolved* restricts the list to runs that failed or were
        interrupted.  They were not retried, and their type has not succeeded
        with the same context and input since.  A success that was removed does
        not count.  A run is listed as well if its successes were not read
        within `resolving.TIME_LIMIT` seconds.

        *error* is an `IErrorGroup.key`: only runs of that group.

        *order* is ``newest`` or ``oldest`` first: by the finish if *states*
        are finished states only, else by the creation.  Or it is ``slowest``
        first, or ``waited``, the longest queue wait first: of the
        `paging.SCAN_LIMIT` runs that finished last.

        *since* and *until* (times) bound the time by which the list is
        ordered: *since* included, *until* excluded.

        *before* is the `IRunPage.older` of the page before.  Raise
        ``ValueError`` for any other key and for an unknown *order*.

        Never scans the registry.  At most `paging.SCAN_LIMIT` runs or entries
        are read, for about `paging.TIME_LIMIT` seconds.  `IRunPage.is_cut`
        reports that one of these limits ended the search.
        """

    def getCounts():
        """Return {type name: {state: number of runs}}, without zeros."""

    def getWorkerTypes():
        """Return {name: `IWorkerType`} of the declared worker types."""

    def listProcesses():
        """Return an `IProcessStatus` for each known process, oldest first."""

    def listEndedProcesses():
        """Return an `IEndedProcess` for each that ended within a day.

        The last one comes first; about 200 at most.
        """

    def listTypes():
        """Return an `ITypeStatus` for each worker type, sorted by name.

        These are the types that are declared, have runs or are paused.  The
        cost does not grow with the number of runs.
        """

    def listErrors(types=(), limit=2000):
        """Return the `IErrors` of the runs that failed or were interrupted.

        *types* (names) restrict them unless empty.  At most *limit* runs are
        loaded, the newest first, for about `errors.TIME_LIMIT` seconds.
        """

    def getHistory(name):
        """Return the `ITypeHistory` of the worker type *name*.

        It is empty for a type that is unknown or that the principal may not
        see.
        """

    def getActivity():
        """Return the `IActivity` of all worker types.

        Its cost grows with the number of types and of lanes, not of runs.
        """

    def listProblems():
        """Return an `IProblem` for each problem, worst first.

        The cost does not grow with the number of runs.
        """

    def getThresholds():
        """Return the `IThresholds` of the registry."""

    def changeThresholds(values, reason=None):
        """Change some of the `IThresholds`: *values* is {name: value}.

        Joins the caller's transaction and is kept in the journal.  Raise
        `InvalidThreshold`, with nothing changed.
        """

    def listActions(limit=50, before=None):
        """Return ([`IAction`], key): acts of administrators, newest first.

        *key* is *before* of the next page, or None.  Removals and drains are
        kept for 90 days at least, of the other acts the last 1,000.  If there
        are more, the most frequent act of a person is dropped first.  Each
        registry's journal has the acts on processes.
        """

    def getStack(run_id):
        """Return the stack of the thread of a running run, or None.

        A text like a traceback, innermost call last, without any values.  For
        a run of another process it is the stack that this process last
        reported; it reports one after a stop request, and of a run that has
        not moved for a minute.  Raise `RunNotFound`.
        """

    # Acts of administrators.  Each joins the caller's transaction, records
    # its principal, time and reason (`listActions`), and never commits.

    def retry(run_id, reason=None):
        """Do a finished run again as a new run; return the new run.

        The new run has the type, context, input, starter, permission and
        priority of the old one.  It continues after the last checkpoint of
        the old one unless that succeeded.

        The old run is kept unchanged and records its retry.  A second retry
        returns the same run as long as that is kept.  If the type is unique
        and such a run is pending, return that run as the retry.

        For trusted code: no permission is checked.  If the principal is not
        the starter, the work has only the permissions that both have
        (`IWorkerRun.asker`).  Raise `RunNotFound` or `RunNotRetryable`.
        """

    def retryByPrincipal(run_id, reason=None):
        """`retry` for untrusted callers.

        Raise ``Unauthorized`` unless the principal of the interaction has the
        permission of the worker type on the context of the run.  Without a
        context, or if it is gone, the site counts.
        """

    def mayRetry(run_id):
        """Return whether `retryByPrincipal` would be permitted.

        Raise `RunNotFound`.
        """

    def actOnRuns(verb, run_ids, reason=None, filter=None):
        """Stop, retry or remove many runs; return the ids of those changed.

        *verb* is ``begin``, ``stop``, ``retry`` or ``remove``.  A run is left
        out if it is gone, cannot change, or was asked to stop or retried
        before.  ``retry`` leaves out a run that `retryByPrincipal` would
        refuse.

        The returned list has an attribute `failed`, {run id: (type, text)}
        of the errors of subscribers.  Such a run stays as it was; the others
        are still changed.

        The journal gets one row for all.  *filter* is the text for this row
        that describes how the runs were found.
        """

    def remove(run_id, reason=None):
        """Remove a finished run.  Raise `RunNotFound`, `RunNotRemovable`."""

    def pauseType(name, is_paused=True, reason=None):
        """Pause a worker type, or resume it if *is_paused* is false.

        While it is paused, no run of it begins: running runs go on, and new
        runs wait.  A second pause changes nothing.  Raise
        `UnknownWorkerType` for a type that is not declared and has no runs.
        """

    def quietProcess(process_id, is_quiet=True, reason=None):
        """Make a process quiet, or resume it if *is_quiet* is false.

        A quiet process begins nothing new.  Its running runs go on; other
        processes take its waiting runs.  If it is quiet because its database
        is a copy, only `adoptDatabase` resumes it.  Raise `ProcessNotFound`.
        """

    def adoptDatabase(process_id, reason=None, keep_back=False):
        """Let a process begin runs though it regards its database as a copy.

        From the commit on, the database belongs to the deployment of that
        process and to the place of its file.  All processes of that
        deployment begin runs; processes of another one begin nothing new.

        With *keep_back*, waiting runs of all registries are kept back, as
        after a copy of the registry.  Return whether anything changed.  Raise
        `ProcessNotFound`.
        """

    def beginKept(reason=None):
        """Release the runs that came with a copy and are kept back.

        A run that was running in the original begins again.  It is
        ``interrupted`` instead if its type says ``on_interrupt="fail"`` or is
        a service: another run of the service exists by now.

        Only for types that the caller may see.  Return the number of runs.
        """

    def removeKept(reason=None, limit=1000):
        """Stop and remove runs that came with a copy and are kept back.

        At most *limit* runs, of types that the caller may see.  Return the
        number of runs.
        """

    def drainProcess(process_id, reason=None):
        """Make a process end its runtime as at a shutdown.

        The process itself goes on.  It carries out runs again only after a
        restart.  Raise `ProcessNotFound`.
        """

    keep_days = Attribute(
        "Days that finished runs are kept, unless their type has a keep_days")
    keep = Attribute(
        "How many finished runs of a type are kept at most, unless the type "
        "has a keep")
    waiting_per_starter = Attribute(
        "Number of waiting runs of a principal from which on "
        "`startByPrincipal` and `startOnce` refuse another start; "
        "approximate.  Default: 1,000")

    def listSchedules():
        """Return an `IScheduleStatus` for each declared schedule, by name."""

    def pauseSchedule(name, is_paused=True, reason=None):
        """Pause a schedule, or resume it if *is_paused* is false.

        A paused schedule starts nothing.  Raise `ScheduleNotFound`.
        """

    def runSchedule(name):
        """Start the run of a schedule now and return it.

        Return None if it cannot be started, for example if its input cannot
        be made.  That is recorded as a failed run.  Raise `ScheduleNotFound`.
        """

    def mayRunSchedule(name):
        """Return whether `runScheduleByPrincipal` would be permitted.

        Raise `ScheduleNotFound`.
        """

    def runScheduleByPrincipal(name):
        """`runSchedule` for untrusted callers.

        Raise ``Unauthorized`` unless the principal of the interaction has the
        permission of the worker type on the site.
        """

    def requestStop(run_id, reason=None):
        """Ask a run to stop; return its state: ``stopped`` or ``running``.

        A pending run is ``stopped`` by the caller's commit.  For a running
        run the request is stored, and the worker receives it after the
        commit.  The request records the principal of the interaction.  A
        second request changes nothing.  Never commits.  Raise `RunNotFound`
        or `RunNotStoppable`.
        """

    def beginNow(run_id, reason=None):
        """Make a run due now that waits for its time.

        It does not matter what set that time: its start, a retry delay, a
        `Snooze` or a wrong clock.  The run begins after the commit, as soon
        as a thread is free.  Never commits.  Raise `RunNotFound`, and
        `RunNotBeginnable` for a run that waits for anything else.
        """

    def getSite():
        """Return the site that holds the registry."""

    secret = Attribute(
        "32 random bytes, made with the registry.  The tokens against forged "
        "requests are made from it.  For trusted code only.")


class IVerbs(Interface):
    """A registry for the principal of the interaction, permissions checked.

    `verbs.of` returns it for a registry.  Each verb checks its permission.
    It raises ``Unauthorized`` without the permission and ``NoInteraction``
    without an interaction.  Then it calls the `IWorkerRegistry` method of the
    same name.

    Nothing depends on security proxies.  Objects of the application are
    returned with a security proxy.  Everything else is returned as plain data
    or without a proxy.
    """

    def may(name):
        """Return whether the principal has the permission of the verb *name*.

        For the verbs that check it on the registry or on the root object of
        the application.
        """

    # Need the permission to see runs.

    def get(run_id, default=None):
        """See `IWorkerRegistry.get`."""

    def getStatus(run_id):
        """See `IWorkerRegistry.getStatus`."""

    def getFamily(run_id):
        """See `IWorkerRegistry.getFamily`."""

    def getHealth(run_id):
        """See `IWorkerRegistry.getHealth`."""

    def getContext(run_id):
        """See `IWorkerRegistry.getContext`; with a security proxy."""

    def listRuns(states=(), types=(), contexts=(), starters=(), text=None,
                 since=None, until=None, order=NEWEST, limit=50,
                 before=None, unresolved=False, error=None):
        """See `IWorkerRegistry.listRuns`."""

    def getCounts():
        """See `IWorkerRegistry.getCounts`."""

    def getWorkerTypes():
        """See `IWorkerRegistry.getWorkerTypes`."""

    def listTypes():
        """See `IWorkerRegistry.listTypes`."""

    def listEndedProcesses():
        """See `IWorkerRegistry.listEndedProcesses`."""

    def listProcesses():
        """See `IWorkerRegistry.listProcesses`."""

    def listSchedules():
        """See `IWorkerRegistry.listSchedules`."""

    def listErrors(types=(), limit=2000):
        """See `IWorkerRegistry.listErrors`."""

    def getHistory(name):
        """See `IWorkerRegistry.getHistory`."""

    def getActivity():
        """See `IWorkerRegistry.getActivity`."""

    def listProblems():
        """See `IWorkerRegistry.listProblems`."""

    def listActions(limit=50, before=None):
        """See `IWorkerRegistry.listActions`."""

    # Need the details permission.

    def getDetails(run_id):
        """See `IWorkerRegistry.getDetails`."""

    def getStack(run_id):
        """See `IWorkerRegistry.getStack`."""

    # Need no permission.

    def mayStop(run_id):
        """Return whether the principal may ask the run to stop.

        With the permission, or if the principal started the run.
        """

    def getOwnStatus(run_id):
        """Return the `IRunStatus` of a run that the principal started.

        None for any other id: unknown runs and those of others look alike.
        Unauthenticated principals have no runs.
        """

    def getSite():
        """Return the site that holds the registry, with a security proxy."""

    # Need the permission to start workers and that of the worker type.

    def queryWorkerType(name):
        """Return the declared `IWorkerType` of that name, or None.

        None also for a type that the principal may not see.  The permission
        of the type is not checked.
        """

    def mayStart(name, context=None):
        """Return whether `startByPrincipal` would be permitted."""

    def startByPrincipal(name, context=None, **input):
        """See `IWorkerRegistry.startByPrincipal`.

        Also raise `UnknownWorkerType` for a type that the principal may not
        see, and `TooManyWaiting` if too many runs of the type wait.
        """

    def startOnce(since, name, context=None, input=None):
        """See `IWorkerRegistry.startOnce`; raises like `startByPrincipal`."""

    # Needs the permission to stop runs.

    def requestStop(run_id, reason=None):
        """See `IWorkerRegistry.requestStop`."""

    # Need the permission to manage.

    def beginNow(run_id, reason=None):
        """See `IWorkerRegistry.beginNow`."""

    def retry(run_id, reason=None):
        """See `IWorkerRegistry.retryByPrincipal`."""

    def mayRetry(run_id):
        """Return whether `retry` would be permitted."""

    def remove(run_id, reason=None):
        """See `IWorkerRegistry.remove`."""

    def actOnRuns(verb, run_ids, reason=None, filter=None):
        """See `IWorkerRegistry.actOnRuns`; needs the permission of *verb*."""

    def pauseType(name, is_paused=True, reason=None):
        """See `IWorkerRegistry.pauseType`."""

    def pauseSchedule(name, is_paused=True, reason=None):
        """See `IWorkerRegistry.pauseSchedule`."""

    def runSchedule(name):
        """See `IWorkerRegistry.runScheduleByPrincipal`."""

    def getThresholds():
        """See `IWorkerRegistry.getThresholds`."""

    def changeThresholds(values, reason=None):
        """See `IWorkerRegistry.changeThresholds`."""

    def mayRunSchedule(name):
        """Return whether `runSchedule` would be permitted."""

    def beginKept(reason=None):
        """See `IWorkerRegistry.beginKept`."""

    def removeKept(reason=None, limit=1000):
        """See `IWorkerRegistry.removeKept`."""

    # Need the permission to manage on the root object of every application
    # in the database: a process serves all their registries.

    def quietProcess(process_id, is_quiet=True, reason=None):
        """See `IWorkerRegistry.quietProcess`."""

    def drainProcess(process_id, reason=None):
        """See `IWorkerRegistry.drainProcess`."""

    def adoptDatabase(process_id, reason=None, keep_back=False):
        """See `IWorkerRegistry.adoptDatabase`."""


class IRegistryInstaller(Interface):
    """Adapter of a site: lets the principal add or remove its registry."""

    def mayInstall():
        """Return whether the principal may manage workers on the site."""

    def install():
        """Add a registry to the site, if it has none; return its registry.

        Joins the caller's transaction.  Raise ``Unauthorized`` without the
        permission to manage on the site.  Raise `InvalidSite` if the site is
        not stored in a database yet or has no site manager.  Trusted code
        calls `installation.addRegistry`.
        """

    def queryRegistry():
        """Return the registry that the site itself has, or None."""

    def countUnfinished():
        """Return (running runs, waiting runs) of the site's registry."""

    def mayUninstall():
        """Return whether the principal may remove the site's registry.

        False if there is none, and if a worker type is hidden from the
        principal: hidden runs are not removed.
        """

    def uninstall(unfinished, reason=None):
        """Call `installation.removeRegistry` and return its result.

        Raise ``Unauthorized`` if the principal may not.  If there are
        unfinished runs, the permission to stop is needed as well.
        """


class IHost(Interface):
    """The host application: how it places, finds, permits and enters.

    The core, the pages and the command line ask it wherever applications
    differ.  A global utility replaces `util.host.ToolkitHost`, the default,
    which is for applications of the Zope Toolkit.
    """

    # Threads

    def getSite():
        """Return the current site of the thread, or None."""

    def enterSite(site):
        """Make *site*, or None, current; return what `leaveSite` needs.

        Called by `ZopeSite` before the thread works for the site.  A worker
        has loaded *site* by its oid, so it may lack the wrappers that the
        host adds.
        """

    def leaveSite(previous):
        """Restore what was current before `enterSite` returned *previous*."""

    def participations(user_name, run):
        """Return a sequence of IParticipation for the thread's interaction.

        *run* is the `IWorkerRun`, or None for a bare thread.  Called with the
        site set.  Raise `StarterGone` if the principal of the run does not
        exist any more or lost the permission that was checked at the start.
        """

    def beginInteraction(*participations):
        """Let the thread act for the principals of the *participations*.

        Raise ``ExistingInteraction`` if it acts for somebody already.
        Without participations everything is allowed.
        """

    def endInteraction():
        """End what `beginInteraction` began."""

    def trusted():
        """Return a context manager: work in the block as trusted code."""

    # Objects

    def unwrap(ob):
        """Return the stored object itself, without proxies and wrappers."""

    def lineage(ob):
        """Yield *ob*, its parent, the parent of that, and so on.

        Also for a registry, whose parents include its site.
        """

    def pathOf(ob):
        """Return the path of *ob* from its root object, such as '/site/a'."""

    def placeOf(ob):
        """Return plain data that `locate` needs beside the object; or None."""

    def isInPlace(ob):
        """Return whether *ob* can be reached from the database root by names.

        A deleted object can be loaded until the database is packed; it is not
        in its place.
        """

    def locate(ob, place):
        """Return the stored *ob* as the application uses it.

        *place* is what `placeOf` returned when a run was started.  Return
        None if the object is not in a place any more.
        """

    def traverse(ob, name, is_trusted=False):
        """Return the object called *name* in *ob*.

        Unless *is_trusted*, the principal needs the permission for this step,
        and the result is protected as by `protect`.  Raise ``LookupError``,
        ``AttributeError``, ``TypeError``, ``ValueError``, ``Unauthorized`` or
        ``Forbidden``.
        """

    def protect(ob):
        """Return *ob* so that each access needs the principal's permission.

        A host whose objects are not proxied returns it as it is.
        """

    # Sites and registries

    registry_factory = Attribute(
        "Class of the registries that it adds; None for the usual one")

    registry_advice = Attribute(
        "How a site gets a registry, for the log: 'call …, or open …'")

    def isSite(ob):
        """Return whether *ob* itself can have a site manager."""

    def connectionOf(site):
        """Return the connection of *site*; None if it is not stored."""

    def siteOf(registry):
        """Return the site of *registry*; raise `RegistryNotFound`."""

    def ownRegistry(site):
        """Return the registry that *site* itself has, or None.

        Raise ``AttributeError`` or ``LookupError`` if it is not a site.
        """

    def nearestRegistry(ob):
        """Return the nearest registry at or above *ob*, or None."""

    def putRegistry(site, registry):
        """Place the new *registry* in *site* and register it there."""

    def takeRegistry(site, registry):
        """Unregister *registry* and take it away from *site*."""

    # Principals

    def hasInteraction():
        """Return whether the thread acts for somebody.

        False for trusted code, from which nothing is hidden.
        """

    def currentPrincipals():
        """Return the ids of those for whom the thread acts, without doubles.

        All of them must have a permission to make an act permitted.
        """

    def currentPerson():
        """Return the id of the first of them, if that is one known person.

        None for the system and for those who have not logged in: nobody can
        say which of them is meant.
        """

    def checkPermission(permission, ob):
        """Return whether the thread may do what *permission* names on *ob*.

        *permission* is the id of a permission.  Raise ``NoInteraction`` if
        the thread acts for nobody.
        """

    def getPrincipal(principal_id):
        """Return an IPrincipal; that of the system for None.

        Raise ``PrincipalLookupError`` if there is none of that id, and
        ``ComponentLookupError`` if the application knows no principals.
        """

    def principalOf(request):
        """Return the principal of *request*; None before authentication."""

    def prepareRequest(request):
        """Let *request* have what pages use of a request of zope.publisher.

        Called once, before a page or a step to one.
        """

    def acceptRequest(request):
        """Note that *request* may write: its token was checked."""

    def currentTransaction():
        """Return the transaction of the request that a page answers."""

    def challenge(request):
        """Ask an anonymous reader to log in; leave others refused."""

    # Addresses

    def getURL(ob, request):
        """Return the absolute URL of *ob*; raise ``TypeError`` without one."""

    def getResourceURL(name, request):
        """Return the URL of the browser resource *name*, or None."""

    def getRootURL(request):
        """Return the URL of the application's root object."""


class IExecutor(Interface):
    """A strategy that carries out runs."""

    def start():
        """Begin to take runs."""

    takes = Attribute("Whether to take runs whose home is another process")

    def stop():
        """Take no more runs; return at once."""

    def join(timeout):
        """After `stop`, wait at most *timeout* seconds for the work to end."""

    def isUnderway(ticket, run):
        """Return whether another process may still begin the pending *run*.

        Called for runs that were given to another process, by a message for
        example.
        """

    def returned(ticket, run):
        """Note that no other process works on *run* (or None) any more."""


def _is_printable(text):
    return text.isprintable()


def _is_duration(seconds):
    # Excludes NaN, and durations that are too long for the wait of a thread.
    return 0 <= seconds <= 366 * 86400


class IRuntimeSettings(Interface):
    """The settings of ``<background:runtime>``; a global utility."""

    threads = Int(
        title="Threads", min=0, default=4,
        description="How many jobs this process works on at once.  A loop "
                    "has a thread of its own and does not count.  Default: 4.")
    drain = Float(
        title="Drain", min=0.0, default=15.0,
        constraint=_is_duration,
        description="Seconds that work may still take when the process is "
                    "asked to end.  Then the remaining work is interrupted; "
                    "with 0, at once.  Default: 15.")
    poll = Float(
        title="Poll", min=0.05, default=1.0,
        constraint=_is_duration,
        description="Seconds until this process notices runs that another "
                    "process started or asked to stop.  Default: 1.")
    lease = Float(
        title="Lease", min=3.0, default=90.0,
        constraint=_is_duration,
        description="Seconds that a process may send no heartbeat before "
                    "others rescue its runs.  Default: 90.")
    grace = Float(
        title="Grace", min=0.0, default=86400.0,
        constraint=_is_duration,
        description="Seconds that a run waits while no process declares its "
                    "worker type.  Then it fails.  Default: 86400.")
    executor = TextLine(
        title="Executor", default=THREADS,
        min_length=1, max_length=100, constraint=_is_printable,
        description="'threads': threads of this process carry out jobs.  "
                    "'celery': Celery's worker processes do, and messages "
                    "name the runs.  Any other: the executor of that name; "
                    "see `registerExecutor`.  Default: threads.")
    deployment = TextLine(
        title="Deployment", required=False, default=None,
        min_length=1, max_length=100, constraint=_is_printable,
        description="The id of this deployment, like production or staging.  "
                    "The environment variable CIPHER_BACKGROUND_DEPLOYMENT "
                    "overrides it.  If the database belongs to another "
                    "deployment, the runtime begins quiet.  Default: none; "
                    "nothing is compared.")
    types = Tuple(
        title="Types", required=False, default=None, min_length=1,
        value_type=TextLine(),
        description="The names of the worker types whose runs this process "
                    "takes and begins.  Runs of other types can be started "
                    "in it; other processes carry them out.  Default: all.")
    share = Bool(
        title="Share commits", default=False,
        description="Whether short jobs of all types that may be run again "
                    "share commits, unless their type says share=\"no\".  "
                    "Threads of this process carry them out.  Choose it if "
                    "they have effects in the ZODB only.  Default: no.")


class IWebSettings(Interface):
    """The settings of ``<background:web>``; a global utility.

    They say how browsers reach this process.  Each process that serves the
    pages needs them, whether it carries out runs or not.
    """

    base_url = TextLine(
        title="Base URL", required=False, default=None,
        description="The outside address of the application: scheme, host "
                    "and port, as in https://example.org.  A form from any "
                    "other address is refused.  Default: the scheme and the "
                    "Host header of the request.")
    proxy_sets_scheme = Bool(
        title="Proxy sets the scheme", default=False,
        description="Whether a proxy sets X-Forwarded-Proto in each request.  "
                    "If so, the header is trusted.  Default: no.")
    trusts_virtual_hosts = Bool(
        title="Trusts virtual hosts", default=False,
        description="Whether only a proxy can put ++vh++ into a path.  If so, "
                    "the address in it is trusted.  Default: no.")


class IMonitoringSettings(Interface):
    """The settings of ``<background:monitoring>``; a global utility.

    They say who may see the health and the metrics, beside persons with the
    permission to see runs.
    """

    public_health = Bool(
        title="Public health", default=False,
        description="Whether health.json answers everybody: with 200 or 503, "
                    "and {\"ok\": true} or {\"ok\": false}.  Default: no.")
    ignore_problems = Bool(
        title="Ignore problems", default=False,
        description="Whether health.json answers 200 while problems are "
                    "listed, as long as a process lives and the database "
                    "answers.  For load balancers, and for all that restarts "
                    "what is not well.  Default: no.")

    has_token = Bool(title="Has a token", readonly=True)

    def accepts(authorization):
        """Return whether *authorization* bears the token.

        It is the value of the header ``Authorization``, or None.  Without a
        token nothing is accepted.  The time does not depend on the token.
        """

    def refuses(authorization):
        """Return whether *authorization* bears another token than this.

        Without a token nothing is refused: it may be for the application.
        """


class IHealth(Interface):
    """A judgement of a registry or a database; plain data."""

    code = Int(
        title="Code", min=0, max=2, readonly=True,
        description="0: a process with threads lives, and no problem is "
                    "listed.  1: a problem is listed.  2: no process with "
                    "threads lives, or the database fails")
    ok = Bool(title="All is well", readonly=True)
    problems = Tuple(
        title="Problems", readonly=True,
        description="With the fields of IProblem, without stack, and the "
                    "path of the site; those that the reader may see")
    processes = Tuple(title="Processes", readonly=True,
                      description="IProcessStatus")
    error = TextLine(
        title="Error", required=False, readonly=True,
        description="The name of the error's type if the database failed")

    def describe():
        """Return all of this as data for JSON; times are ISO 8601 in UTC."""

    def isServed(ignores_problems):
        """Return whether HTTP answers 200, and 503 otherwise.

        *ignores_problems* is `IMonitoringSettings.ignore_problems`.
        """


class IMonitor(Interface):
    """Health and metrics, for the pages; a global utility.

    It asks for no permission.  With *sees_all* no worker type is hidden from
    the reader.
    """

    def checkHealth(registry, sees_all=False):
        """Return the `IHealth` of *registry*.  Raise no database error."""

    def makeMetrics(registry, sees_all=False):
        """Return (content type, text): the metrics for Prometheus.

        Raise `MetricsUnavailable` without the extra [metrics].
        """

    def isReachable():
        """Return whether the databases of this process answer.

        These are the databases whose opening was announced by an event.
        Return False after some seconds without an answer.
        """


class IAlertTexts(Interface):
    """Writes the messages of alerts; a global utility."""

    def compose(news, at, language, url):
        """Return (message, {key: sentence}) for *news* at the time *at*.

        The message is plain data for JSON with the keys ``subject``, ``text``,
        ``problems``, ``gone``, ``failures`` and ``more``.  The sentences are
        those of the new problems.  *news* is a `cipher.background.alerts.news`
        ``News``, *url* the address of the database's root on the web or None.
        """


class IRuntime(Interface):
    """The owner of the live workers: one per process and database."""

    id = TextLine(title="Process id", description="HOST:PID:RANDOM")

    def begins(name):
        """Return whether it begins runs of the worker type *name*.

        That is so if the type is declared and the settings do not leave it
        out.  Former names count as well.
        """

    def wake(places=(), only=None):
        """Wake the control thread.  Thread-safe; never blocks, never fails.

        *places* names the lanes that have new runs: (registry oid, number).
        *only* is (serial, oid) of the new run if there is just one, or None.
        """

    def countWaiting(registry_oid, starter):
        """Return (number, time): how many runs of *starter* wait here.

        It counts the lanes whose home is this process, as known at that time.
        Running runs count as well.  Runs that wait for a time count only if
        the time is near.
        """

    def quiet(is_quiet=True):
        """Begin nothing new, or begin runs again if *is_quiet* is false.

        Returns at once.  In a signal handler it takes effect a moment later.
        Running runs go on; other processes begin the waiting ones.  It is the
        same as `IWorkerRegistry.quietProcess` for this process: the last call
        counts.
        """

    def shutdown(timeout=None):
        """Take nothing new, let work end, wait at most *timeout* seconds.

        None means the drain of the settings.  The last writes may take some
        seconds more.

        Loops are asked to stop at once.  Jobs are asked to stop when five
        seconds are left, or half of the time if that is less.  Work that is
        not done in time is interrupted, and its transaction does not commit.

        The database may be closed afterwards.  May be called twice: the
        second call waits for the end of the first.

        In a signal handler it only begins the shutdown and returns at once:
        the interrupted code may hold a lock.  Call it again before the
        database is closed.
        """


class IStartCheck(Interface):
    """Looks for pieces of the application that are missing.

    Each named utility is called when a process starts: when a host notifies
    ``zope.processlifetime.ProcessStarting``.
    """

    def __call__(registries):
        """Yield a text for each missing piece; it is logged as a warning.

        *registries* are those of one database; it may have none.  A text has
        the form "expected …, got …; do …".
        """


class IRunEvent(IObjectEvent):
    """A run (`object`) changed; sent in the transaction of the change.

    Changes of a subscriber are committed together with that change, and an
    error of a subscriber makes it fail.  If a worker or a runtime sends the
    event, the site of the registry is set.

    Changes by the runtime itself, like a rescue or the stop of a waiting run,
    survive an error of a subscriber.  The subscribers' changes are then taken
    back, and pages show the error as a problem.  There is no interaction.
    """

    registry = Attribute("The registry of the run")


class IRunCreatedEvent(IRunEvent):
    """A run was stored, in the caller's transaction."""


class IRunStartedEvent(IRunEvent):
    """The work begins.

    If the begin has no commit of its own, the event is sent in the
    transaction of the work, so once for each try.
    """


class IRunFinishedEvent(IRunEvent):
    """The state of the run is final."""


class IRunSucceededEvent(IRunFinishedEvent):
    """The work is done; in the transaction of the work."""


class IRunFailedEvent(IRunFinishedEvent):
    """The work failed; ``object.error`` says why."""


class IRunStoppedEvent(IRunFinishedEvent):
    """The run was stopped."""


class IRunInterruptedEvent(IRunFinishedEvent):
    """The process of the run ended, and the run must not be rerun."""


class IRunRequeuedEvent(IRunEvent):
    """The run waits again: after an error, a snooze or the end of its process.
    """
