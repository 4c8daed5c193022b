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

A developer declares **worker types** in ZCML (`zcml`, `declarations`).
Application code, a **trigger** or a **schedule** (`registry`) **starts**
them: `IWorkerRegistry.start` stores a **run** (`store`) in a lane of the
site's persistent **registry**, in the caller's own transaction.  After the
commit a hook wakes the **runtime** of the process (`runtime`), whose
**executor** (`runtime.executors`) gives the run to a thread.  There the
**worker** (`thread`, `job`) does its work in a transaction of its own
(`work`), and an observer (`work.recorder`) writes the result into the run
*in that very transaction*: the effect of the work and the word "succeeded"
are one commit.  What a runtime finds in the database, at each poll or after
a crash, is the matter of `runtime.maintenance`.  Administrators look on,
start and stop through the views of `browser`, which see the rest through
this module only.

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

A job whose type says ``on_interrupt="rerun"`` needs no commit to say that it
runs: it goes from ``pending`` to ``succeeded`` in the one commit of its work,
and shows as running through what its process tells (`IRunStatus`).

Units: durations are seconds (float) and are measured by a monotonic clock;
times end in ``_at`` and are seconds since the epoch, UTC (float).
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
#: Finished, and not as it should be.
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

#: How an attempt ended that another one follows, or that nobody ended: an
#: error, a `Snooze`, the end of its process (one of `PROCESS_ENDS`), or an end
#: that could not be written.  Else it is the state of the run.
PUT_OFF = 'put off'
UNRECORDED = 'unrecorded'
SHUT_DOWN = 'shut down'
DRAINED = 'drained'
GONE = 'gone'
SILENT = 'silent'
#: How a process ended: by itself, because an administrator had it drained; or
#: it died: its pid is gone, or it sent no heartbeat for longer than its lease.
PROCESS_ENDS = (SHUT_DOWN, DRAINED, GONE, SILENT)
OUTCOMES = (SUCCEEDED, FAILED, STOPPED, INTERRUPTED, PUT_OFF, UNRECORDED,
            *PROCESS_ENDS)

NOT_WAITING = 'not waiting'
PROCESS_GONE = 'process gone'
TYPE_PAUSED = 'type paused'
LIMIT_REACHED = 'limit reached'
ALREADY_DUE = 'already due'
KEPT_BACK = 'kept back'
#: Why a run cannot be begun now: only what waits for its time can.
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
#: What `IWait.kind` may say.
WAITS = (WAITS_FOR_TIME, WAITS_WHILE_PAUSED, WAITS_FOR_RUNTIME,
         WAITS_WHILE_QUIET, WAITS_WHILE_UNDECLARED, WAITS_FOR_LIMIT,
         WAITS_FOR_THREAD, WAITS_FOR_RESCUE, WAITS_FOR_TURN,
         WAITS_WHILE_KEPT)

RERUN = 'rerun'
FAIL = 'fail'
#: What ``on_interrupt`` may say.
ON_INTERRUPT = (RERUN, FAIL)

NOT_UNIQUE = 'no'
BY_TYPE = 'type'
BY_CONTEXT = 'context'
BY_INPUT = 'input'
#: What ``unique`` may say.
UNIQUE = (NOT_UNIQUE, BY_TYPE, BY_CONTEXT, BY_INPUT)

THREADS = 'threads'
CELERY = 'celery'
#: What ``executor`` may say.
EXECUTORS = (THREADS, CELERY)

AS_STARTER = 'starter'
AS_SYSTEM = 'system'
#: What ``run_as`` may say, but a principal id.

NEWEST = 'newest'
OLDEST = 'oldest'
SLOWEST = 'slowest'
#: Orders of a list of runs.
ORDERS = (NEWEST, OLDEST, SLOWEST)

#: What `IProblem.kind` may say.
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

#: What `IAction.verb` may say.
ACTIONS = ('begin', 'stop', 'retry', 'remove', 'pause type', 'resume type',
           'pause schedule', 'resume schedule', 'run schedule',
           'quiet process', 'unquiet process', 'drain process',
           'change thresholds', 'remove registry',
           'adopt database', 'begin kept', 'remove kept')

REFUSE = 'refuse'
STOP = 'stop'
DISCARD = 'discard'
#: What `installation.removeRegistry` does with runs that are not finished.
UNFINISHED = (REFUSE, STOP, DISCARD)

#: A run that was started by a run that was started … by a run, so often, is
#: no chain any more but a loop.
MAX_DEPTH = 10

VIEW_WORKERS = 'cipher.background.ViewWorkers'
START_WORKERS = 'cipher.background.StartWorkers'
STOP_WORKERS = 'cipher.background.StopWorkers'
MANAGE_WORKERS = 'cipher.background.ManageWorkers'
VIEW_DETAILS = 'cipher.background.ViewDetails'


class BackgroundError(Exception):
    """Base of the errors of this package that a caller may want to catch."""


class InvalidDeclaration(BackgroundError, ValueError):
    """What is declared cannot work."""


class UnknownWorkerType(BackgroundError, LookupError):
    """No ZCML declares a worker type of that name."""


class InvalidInput(BackgroundError, ValueError):
    """The input does not fit the schema of the worker type.

    The text is for the one who gave the input: it names unknown fields and
    repeats what an invariant or a constraint of the schema says, without
    passwords.  `public` is for everybody else and quotes nothing of the
    input.  *errors* is {name of a field: text}, with None as the name for
    what belongs to no one field; *causes* likewise has the exceptions of
    zope.schema, whose messages can be translated.
    """

    errors = causes = {}

    def __init__(self, text, public=None):
        super().__init__(text)
        self.public = text if public is None else public


class InputOutdated(InvalidInput):
    """What a run was started with does not fit its type any more."""


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
    """The run is not finished, or there is no way to do it again.

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
    """So many runs of the worker type wait that people start no more."""


class TooManyOfStarter(TooManyWaiting):
    """So many runs of the starter wait that they start no more."""


class ProcessNotFound(BackgroundError, LookupError):
    """No process of that id is known."""


class InvalidThreshold(BackgroundError, ValueError):
    """The value is none that the threshold *name* can have."""

    def __init__(self, name, message):
        super().__init__(message)
        self.name = name


class IllegalTransition(BackgroundError, ValueError):
    """The states of a run do not follow each other like that."""


class RuntimeRefused(BackgroundError, RuntimeError):
    """A runtime cannot begin here, or not any more.

    After a fork or a shutdown, beside another runtime, with a database that
    is read-only, or with an application of Celery that takes more than JSON.
    """


class RuntimeNotFound(BackgroundError, LookupError):
    """No runtime of this process serves the database."""


class ContextGone(BackgroundError, LookupError):
    """The context of the run was deleted before the work began."""


class SiteGone(BackgroundError, LookupError):
    """The site of the run was deleted before the work began."""


class StarterGone(BackgroundError, LookupError):
    """The principal who started the run is gone or no longer permitted."""


class InvalidDatabase(BackgroundError, ValueError):
    """The database holds something else where records of ours should be."""


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
    """The worker no longer owns its run: it leaves without a commit."""


class Cancel(BackgroundError):
    """Raised by a worker: the run fails, and is not tried again."""


class Snooze(BackgroundError):
    """Raised by a worker: do all of it later, and count no attempt.

    What the work changed is aborted.  *seconds* is a float >= 0.
    """

    def __init__(self, seconds, reason=None):
        super().__init__(reason or 'put off for %s s' % seconds)
        self.seconds = float(seconds)


class StopRequested(BaseException):
    """Raised by `IWorker.checkStop` when a stop was asked for.

    Not an ``Exception``: a worker that catches those for each of its items
    must not swallow the wish of an administrator.
    """


class IWorker(Interface):
    """What a worker's code may use: ``self``, or the handler's argument.

    Everything here is called in the worker's own thread, but `requestStop`
    and `stop_requested`, which any thread may use.
    """

    run_id = TextLine(
        title="Run id",
        description="Stable over conflicts and reruns, so that it serves as "
                    "idempotency key outside.  None when nothing records.",
        required=False, readonly=True)

    origin_id = TextLine(
        title="Origin id",
        description="Id of the first run of a chain of retries by people, "
                    "also where that one was removed; the run's own id where "
                    "it is no retry.  An idempotency key that outlives a "
                    "retry.  None before the work and when nothing records.",
        required=False, readonly=True)

    context = Attribute(
        "The object that the run is about, loaded in the worker's own "
        "connection; None where the run has none.  Bare: no security proxy. "
        "Only during doWork and doCleanup; a new object at each attempt.")

    input = Dict(
        title="Input",
        description="What the run was started with, a fresh copy.",
        readonly=True)

    stop_requested = Bool(
        title="Stop requested",
        description="True as soon as somebody asked the worker to stop.",
        readonly=True)

    log = Attribute("A logger; what it is told from INFO on is kept in the "
                    "run's log.")

    def requestStop():
        """Ask the worker to stop, soon; return at once.

        A `wait` of the worker ends, its next `checkStop` raises, and a loop
        begins no further iteration.  May be called twice, and from any thread.
        """

    def wait(seconds):
        """Sleep up to *seconds* (float); return whether to stop.

        A request to stop ends the sleep at once.
        """

    def checkStop():
        """Raise `StopRequested` when a stop was asked for, else do nothing.

        The open transaction is then aborted and the run is ``stopped``.
        """

    cursor = Attribute(
        "What the last `checkpoint` of this run was given, None at first.  A "
        "worker that makes checkpoints begins there.")

    def checkpoint(cursor=None):
        """Commit the work so far; go on in a new transaction.

        *cursor* (plain data) and the progress are part of that commit.  After
        a conflict, an error or the end of the process the work begins anew,
        with `cursor` as it was given last: each effect happens once.  Raise
        `StopRequested` where a stop was asked for, after the commit.  For
        jobs and handlers that are recorded.
        """

    def setProgress(done, total=None, message=None):
        """Tell how far the work is: *done* of *total* units (numbers).

        Cheap: it writes to memory, whatever the number of calls.  Never
        commits and never touches the transaction.  The *message* is cut to
        `text.MESSAGE_LIMIT` characters.  What is None stays as it was.
        """


class IBackgroundWorkerThread(IWorker):
    """A thread that works with a connection, a site and a transaction.

    Upstream's contract.  The thread asks `scheduleNextWork`; for each True it
    opens one connection, sets the site, begins an interaction, and calls
    `doWork` and then `doCleanup`, each in a transaction of its own.  It leaves
    nothing behind: whatever happened, the transaction is ended, the site is
    reset, the connection is closed and the interaction is over.
    """

    description = Attribute("Name of the thread, with %(class_name)s, "
                            "%(site_name)s and %(user_name)s")
    work_transaction_note = Attribute("Note of the work's transaction; takes "
                                      "%(thread_name)s as well")
    cleanup_transaction_note = Attribute("Note of the cleanup's transaction")
    max_tries = Attribute(
        "How many times one iteration's work is tried when a transient error "
        "(a conflict) ends its transaction.  The last error is then raised.")

    def getSite(connection):
        """Return the site, loaded from *connection*."""

    def getTransactionNote():
        """Return the note for the work's transaction record (text)."""

    def getCleanupNote():
        """Return the note for the cleanup's transaction record (text)."""

    def scheduleNextWork():
        """Return True when there is work, False to end the thread.

        May sleep, best with `wait`.  There is no connection and no
        transaction.  Returns False unless overridden.
        """

    def doWork():
        """Do one iteration's work.  Committed afterwards, aborted on error.

        Called again from the start when the commit conflicts.
        """

    def retryDelay(attempt, error):
        """Return the seconds (float) before the next attempt.

        *attempt* attempts ended so far, the last one with *error*.  None: as
        the worker type says.  Asked only where there is a next attempt.
        """

    def doCleanup():
        """Clean up after `doWork`, also when that failed.

        In a transaction of its own.  Should bear being called twice: nothing
        remembers that it was done when the process dies meanwhile.
        """


class IWorkObserver(Interface):
    """Is told what a worker does; every method is called in its thread.

    A worker that no registry started asks for an adapter to this.
    """

    def started(worker):
        """The worker is at its begin, before its first iteration."""

    def connect(worker):
        """Return a context manager that gives an iteration its connection."""

    def participations(worker, connection):
        """Return the participations of the iteration's interaction.

        Called with the site set.  An error ends the iteration.
        """

    def opened(worker, connection):
        """Connection, site and interaction are there; the work is to begin.

        May run transactions of its own.  Raise `RunLost` to call it off.
        """

    def began(worker, connection):
        """A transaction of the work has begun: check the claim (the fence).

        Called anew at each try.  Return True when an earlier try turns out to
        be committed, so that there is nothing left to do.  Raise `RunLost`
        when the run belongs to somebody else by now.
        """

    def done(worker, connection, result):
        """The work returned *result*; its transaction is about to commit.

        What is written here is committed together with the work.
        """

    def checkpoint(worker, cursor):
        """Commit the work so far with *cursor*; see `IWorker.checkpoint`.

        Raise ``RuntimeError`` where there is nowhere to keep the cursor.
        """

    def conflicted(worker, error):
        """A transient *error* ended a try; there will be another."""

    def failed(worker, connection, error):
        """The iteration ended with *error*; its transaction is aborted.

        Called while the connection and the site are still there.
        """

    def cleaned(worker, connection):
        """The cleanup is done; its transaction is about to commit.

        Raise `RunLost` to have it aborted.
        """

    def cleanupFailed(worker, connection, error):
        """The cleanup ended with *error*; its transaction is aborted."""

    def ended(worker, error):
        """The worker is at its end; *error* is what ended it, or None."""


class IWorkerType(Interface):
    """What ``<background:worker>`` declared; immutable, a named utility."""

    name = TextLine(title="Name", readonly=True)
    title = TextLine(title="Title", readonly=True)
    description = Text(title="Description", readonly=True)
    schema = InterfaceField(
        title="Schema of the input",
        description="None: the worker takes no input.",
        required=False, readonly=True)
    permission = TextLine(
        title="Permission to start it", readonly=True,
        description="Asked of whoever starts it in the browser; application "
                    "code that calls `IWorkerRegistry.start` is trusted.")
    view_permission = TextLine(
        title="Permission to see it", required=False, readonly=True,
        description="Who has it not on the registry sees neither the type nor "
                    "its runs, in no list and no count; None: whoever sees "
                    "the registry sees them.")
    on_interrupt = Choice(
        title="When its process dies", values=ON_INTERRUPT, readonly=True,
        description="'rerun', or 'fail' for work outside the ZODB that must "
                    "not happen twice.")
    factory = Attribute("The class of the worker, or None")
    handler = Attribute("The function that does the work, or None")
    max_attempts = Int(
        title="Attempts", min=1, readonly=True,
        description="How many times the work is begun before an error fails "
                    "the run.  Conflicts and stops do not count.")
    retry_delay = Float(
        title="Retry delay", min=0.0, readonly=True,
        description="Seconds before the second attempt; doubled, up to an "
                    "hour, at each further one, less up to a half by chance.")
    max_running = Int(
        title="At a time", min=1, required=False, readonly=True,
        description="How many runs of the type run at a time in the whole "
                    "database; None: as many as there are threads.")
    unique = Choice(
        title="Unique", values=UNIQUE, readonly=True,
        description="While such a run is pending a second start gives that "
                    "one: of the same type, type and context, or type, "
                    "context and input; of the same starter, too, where the "
                    "work runs as the starter.")
    priority = Int(
        title="Priority", readonly=True,
        description="Of those that wait the greater goes first.")
    run_as = TextLine(
        title="Run as", readonly=True,
        description="Whose permissions the work has: 'starter', 'system' or "
                    "a principal id.  A retry that somebody else asked for "
                    "has what both the starter and they may do.")
    stop_timeout = Float(
        title="Stop timeout", min=0.0, readonly=True,
        description="Seconds that a run may take to obey a stop request; "
                    "then pages say that it does not respond.  Nothing is "
                    "killed: a thread cannot be.")
    autostart = Bool(
        title="Service", readonly=True,
        description="Kept running while a runtime lives: one in the "
                    "database, or as many as max_running says")
    keep_days = Float(
        title="Keep for", required=False, readonly=True,
        description="Days that a finished run is kept; None: as the registry "
                    "says")
    current = TextLine(
        title="Current name", required=False, readonly=True,
        description="None; where the name is a former one, that of today: "
                    "what is started under the former name is started under "
                    "this one.")
    keep = Int(
        title="Keep at the most", required=False, readonly=True,
        description="Finished runs that are kept; None: as the registry says")
    is_loop = Bool(
        title="Loops", readonly=True,
        description="True for a class that is a `BackgroundWorkerThread` "
                    "but no `BackgroundJob`: it has a thread of its own.")

    def cleanInput(input, site=None):
        """Return *input* (a dict) as a plain deep copy that fits the schema.

        Missing fields get the field's default.  Vocabularies are those of
        *site*.  Security proxies are taken off, at any depth, and what JSON
        cannot say is converted; see `fitting.fit`.  Raise `InvalidInput`,
        naming the type and each field, for what is unknown, missing, of a
        wrong type or too big, and for numbers that are not finite.
        """

    def fitInput(input, site=None):
        """Return (input, names left out) for a run that begins.

        *input* is what the run was started with, perhaps under an older
        schema: new fields get their default, those that are gone are left
        out.  Raise `InputOutdated`, which quotes nothing of the input.
        """

    def hide(text, input):
        """Return *text* with the passwords of *input* masked.

        *input* is a dict, which need not fit the schema.
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
                   description="As stored.  See `IRunStatus.state` for what "
                               "an administrator wants to know.")
    starter = TextLine(title="Started by", required=False, readonly=True,
                       description="Principal id; None for trusted code "
                                   "without an interaction")
    asker = TextLine(title="Also limited to the rights of", required=False,
                     readonly=True,
                     description="Principal id of who had it done again, "
                                 "where that is not the starter: the work "
                                 "may do what both may.  Runs that it starts "
                                 "inherit it.")
    created_at = Float(title="Created", readonly=True)
    started_at = Float(title="Began", required=False, readonly=True)
    finished_at = Float(title="Finished", required=False, readonly=True)
    attempts = Int(title="Attempts", readonly=True)
    priority = Int(title="Priority", readonly=True)
    due_at = Float(title="Due", required=False, readonly=True,
                   description="Not before; None: at once")
    depth = Int(title="Depth", readonly=True,
                description="How many runs led to it, each by a start")
    interruptions = Int(
        title="Interruptions", readonly=True,
        description="How many times its process died while it ran, since "
                    "its last checkpoint")
    owner = TextLine(title="Process", required=False, readonly=True,
                     description="The process that carries it out")
    result = Attribute("What the work returned: a short text or plain data")
    error = Attribute("None or (type name, short text)")
    progress = Attribute("None or (done, total, message)")
    stop = Attribute("None or an `IStopRequest`")
    retry = Attribute("None or an `IRetry`: it is the retry of another run")
    retried_as = TextLine(
        title="Retried as", required=False, readonly=True,
        description="Id of the run that took its place, or None")
    context = Attribute("The object it is about, or None; bare")

    def isFinished():
        """Return whether nothing will happen to the run any more."""


class IRunDetails(Interface):
    """What is big or private about a run; needs a permission of its own."""

    input = Dict(title="Input", readonly=True,
                 description="In the order of the form, passwords masked; all "
                             "of it where the type is not declared")
    traceback = Text(title="Traceback", readonly=True)
    log = Text(title="Log", readonly=True,
               description="Of all attempts, each below a line that names "
                           "it; of one attempt just its lines")
    attempts = List(
        title="Attempts", readonly=True,
        description="Each as an `IAttempt`, the last one included; of very "
                    "many the first one and the last")
    left_out = Int(title="Left out", readonly=True,
                   description="Attempts behind the first one that are not "
                               "kept any more")
    history = List(
        title="Failed attempts", readonly=True,
        description="Of those that failed: (began at, seconds, type of the "
                    "error, text)")


class IAttempt(Interface):
    """A begin of a run, and how that ended.

    Deaths, snoozes and shutdowns end one as well: there are more of these
    than the `attempts` of a run, which ``max_attempts`` bounds.
    """

    began_at = Float(title="Began", required=False, readonly=True,
                     description="None where nobody knows")
    ended_at = Float(title="Ended", required=False, readonly=True,
                     description="None while it goes on")
    process = TextLine(title="Process", required=False, readonly=True,
                       description="host:pid")
    outcome = Choice(title="Outcome", values=OUTCOMES, required=False,
                     readonly=True, description="None while it goes on")
    error_type = TextLine(title="Error", required=False, readonly=True)
    error_text = TextLine(
        title="Message of the error", required=False, readonly=True,
        description="Of a drain or a stop the reason")
    principal = TextLine(
        title="Requested by", required=False, readonly=True,
        description="Who had its process drained, or the run stopped")


class IStopRequest(Interface):
    """Who wants a run to stop, since when and why."""

    principal = TextLine(title="Requested by", required=False, readonly=True)
    asked_at = Float(title="Requested at", readonly=True)
    reason = TextLine(title="Reason", required=False, readonly=True)


class IRetry(Interface):
    """Who had a finished run done again, when and why."""

    run_id = TextLine(title="Retry of", readonly=True)
    principal = TextLine(title="Retried by", required=False, readonly=True)
    asked_at = Float(title="Retried at", readonly=True)
    reason = TextLine(title="Reason", required=False, readonly=True)


class IWait(Interface):
    """Why a run waits, a snapshot."""

    kind = Choice(
        title="Why it waits", values=WAITS,
        description="The first in this order that holds.  rescue: the "
                    "process of the run is gone, and another one will see to "
                    "it.  due: its time.  paused: its type is paused.  "
                    "no-runtime: no process carries out runs.  quiet: none "
                    "of those begins anything.  undeclared: none of those "
                    "knows the type.  limit: as many runs of the type run as "
                    "may.  no-thread: all threads are at work.  Of these "
                    "two nothing is said because of runs that the reader "
                    "may not see.  turn: nothing is in its way but runs "
                    "that go first")
    until = Float(title="Due", required=False, description="Of due")
    number = Int(title="At a time", required=False,
                 description="Of limit: so many run at a time")
    run_id = TextLine(
        title="Goes first", required=False,
        description="Of limit: id of the run that took its place first; None "
                    "if that is in another registry")


class IRunStatus(Interface):
    """A run as it is now, a snapshot: what is stored and what is live.

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
    result = Attribute("What the work returned, or None")
    error_type = TextLine(title="Error", required=False)
    error_text = TextLine(title="Message of the error", required=False)
    is_declared = Bool(title="Declared",
                       description="False: no ZCML declares the type now")
    is_stoppable = Bool(title="Can be stopped",
                        description="Not finished, and nobody has asked for "
                                    "it yet")
    is_retryable = Bool(title="Can be retried",
                        description="There is no retry_obstacle")
    retry_obstacle = Choice(
        title="Why not retried", values=RETRY_OBSTACLES, required=False,
        description="Why it cannot be retried; None where it can.  Of what "
                    "was retried already, retry() returns the retry")
    is_beginnable = Bool(title="Can be begun now",
                         description="There is no begin_obstacle")
    begin_obstacle = Choice(
        title="Why not begun now", values=BEGIN_OBSTACLES, required=False,
        description="Why it cannot be begun now; None where it waits for "
                    "nothing but its time")
    is_removable = Bool(title="Can be removed",
                        description="Finished")
    is_unresponsive = Bool(
        title="Does not respond",
        description="Runs on though a stop was asked for longer ago than the "
                    "stop_timeout of its type")
    is_paused = Bool(title="Type paused",
                     description="Waits, and its type is paused")
    is_orphaned = Bool(
        title="Process gone",
        description="Stored as running, but its process is gone or silent: "
                    "it is shown as pending, until another process has "
                    "looked after it")
    is_kept = Bool(
        title="Held",
        description="Came with a copy of the registry and is not begun, "
                    "until an administrator says so")
    retry = Object(title="Retry", schema=IRetry, required=False)
    retried_as = TextLine(title="Retried as", required=False)
    waited = Float(title="Queue wait", required=False,
                   description="Seconds from when it was due, else from the "
                               "creation, to its first begin; None before "
                               "that")
    took = Float(title="Took", required=False,
                 description="Seconds from the begin to the end, or to now")
    progressed_at = Float(
        title="Last progress", required=False,
        description="While it runs: when the progress changed last, or the "
                    "work made a checkpoint; None if it never did")
    wait = Object(title="Why it waits", schema=IWait, required=False,
                  description="None unless it is pending")


class IRunPage(Interface):
    """One page of a list of runs."""

    items = List(title="Runs", value_type=Object(schema=IRunStatus))
    older = TextLine(title="Key of the next page", required=False,
                     description="None on the last page")
    looked_at = Int(title="Searched",
                    description="How many runs or entries this page cost")
    is_cut = Bool(title="Cut",
                  description="The search ended at its limit, not because "
                              "the page was full: `older` goes on from there")


class IProcessStatus(Interface):
    """A process that carries out runs, as its records tell."""

    id = TextLine(title="Process id",
                  description="HOST:PID:RANDOM, new for each runtime, and "
                              "when others had taken it for dead")
    host = TextLine(title="Host")
    pid = Int(title="Pid")
    threads = Int(title="Threads")
    started_at = Float(title="Started")
    beat_at = Float(title="Last heartbeat")
    is_here = Bool(title="This process")
    is_silent = Bool(title="Silent",
                     description="No beat for longer than its lease")
    busy = Int(title="Busy",
               description="Runs that it carries out now, as far as it has "
                           "reported, and as far as the reader may see them")
    is_all_seen = Bool(
        title="All is seen",
        description="True if the reader may see every run of the process: "
                    "the permission to see runs on the root object of the "
                    "application, and no worker type hidden")
    is_quiet = Bool(title="Takes no new runs",
                    description="It begins nothing new: it was asked to, or "
                                "its database is a copy")
    is_draining = Bool(title="Finishes and stops",
                       description="It was asked to end all work and its "
                                   "runtime")
    is_copy = Bool(title="Copy",
                   description="It takes its database for a copy")
    asked_by = TextLine(title="Requested by", required=False,
                        description="Who asked for that")


class IEndedProcess(Interface):
    """A process that ended or died within the last day."""

    id = TextLine(title="Process id")
    host = TextLine(title="Host")
    pid = Int(title="Pid")
    started_at = Float(title="Started")
    beat_at = Float(title="Last heartbeat")
    ended_at = Float(title="Ended",
                     description="Of one that died: when that was found out")
    how = Choice(title="How", values=PROCESS_ENDS)
    asked_by = TextLine(title="Requested by", required=False,
                        description="Who had it drained")
    reason = TextLine(title="Reason", required=False)
    taken_over = Int(title="Rescued runs",
                     description="Runs that it worked on when it ended and "
                                 "that others took over, as far as the "
                                 "reader may see them")
    run_ids = List(title="Ids", value_type=TextLine(),
                   description="Of those of this registry")


class ITypeStatus(Interface):
    """A worker type in a registry, a snapshot; declared or not."""

    name = TextLine(title="Worker type")
    is_declared = Bool(title="Declared")
    counts = Attribute("{state: number of runs}, without zeros")
    is_paused = Bool(title="Paused")
    paused_by = TextLine(title="Paused by", required=False)
    paused_at = Float(title="Paused at", required=False)
    pause_reason = TextLine(title="Reason", required=False)
    timed = Int(title="Measured",
                description="Finished runs that began, ever; what mean and "
                            "maximum are of")
    mean = Float(title="Mean duration", required=False,
                 description="Seconds; None where nothing was measured")
    maximum = Float(title="Longest duration", required=False,
                    description="Seconds")
    failure_rate = Float(title="Failure rate", required=False,
                         description="Failed of all that were finished, ever; "
                                     "0.0 to 1.0, None where none was")
    last_run = TextLine(title="Last run", required=False,
                        description="Id of the run that finished last")
    last_at = Float(title="Last finished", required=False)
    last_state = Choice(title="Last state", values=STATES, required=False)


class IHour(Interface):
    """What was finished within one hour."""

    begins_at = Float(title="Hour", description="A multiple of 3600")
    counts = Attribute("{finished state: number of runs}, without zeros")
    mean = Float(title="Mean duration", required=False,
                 description="Seconds; None where nothing was measured")


class IProblem(Interface):
    """Something that wants the attention of an administrator."""

    kind = Choice(title="Kind", values=PROBLEMS)
    subject = TextLine(
        title="Subject", required=False,
        description="Process id, schedule name, type name or run id, as the "
                    "kind wants; None for no-runtime.  Of failing-step and "
                    "stuck-process it is the name of the step, of clock-jump "
                    "the seconds, of newer-database the number of the "
                    "structure that was found, of busy-threads the run that "
                    "waits longest, "
                    "of copied-database the deployment that the database "
                    "belongs to, if that is known")
    since = Float(title="Since", required=False)
    number = Int(title="Runs", description="Runs that wait for it, or 0; "
                 "of failing-type, those that failed in the last hour")
    process = TextLine(
        title="Process", required=False,
        description="Id of the process that met it, if one did")
    error = TextLine(title="Error", required=False,
                     description="The name of the error's type")
    stack = Text(title="Stack", required=False,
                 description="Where the thread of a stuck-process stands")
    total = Int(title="Of", description="Of failing-type: runs finished "
                "in the last hour")
    usual = Float(
        title="Usual", required=False,
        description="Of stalled-run: seconds of the longest run of the type, "
                    "of failing-type: what part failed in the day before; "
                    "None where that is not known")


class IThresholds(Interface):
    """From when on something in a registry is a problem.

    None: that is never reported.
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
    """Something that an administrator did."""

    at = Float(title="When")
    principal = TextLine(title="Who", required=False)
    verb = Choice(title="Action", values=ACTIONS)
    subject = TextLine(title="Subject", required=False,
                       description="Run id, type name, schedule name or "
                                   "process id; None for an act on many runs")
    reason = TextLine(title="Reason", required=False)
    times = Int(title="Times",
                description="How many times the same person did it to the "
                            "same thing, within an hour; one row for all")
    last_at = Float(title="Last time", required=False,
                    description="None if it was once")
    number = Int(title="Runs", description="Of an act on many; else 1")
    filter = TextLine(title="Found by", required=False,
                      description="What found them; None for a selection")
    run_ids = List(title="Ids", description="Of an act on many; else empty",
                   value_type=TextLine())


class ISchedule(Interface):
    """What ``<background:schedule>`` declared; immutable, a named utility."""

    name = TextLine(title="Name", readonly=True)
    worker = TextLine(title="Worker type", readonly=True)
    cron = TextLine(title="Cron expression", required=False, readonly=True)
    every = Float(title="Every", required=False, readonly=True,
                  description="Seconds from tick to tick")
    timezone = TextLine(title="Time zone of the cron expression",
                        readonly=True)
    input = Attribute("A callable without arguments that gives the input, or "
                      "None")
    context = Attribute("A callable without arguments that gives the object "
                        "that the run is about, or None")
    unique = Choice(title="Unique", values=UNIQUE, required=False,
                    readonly=True, description="None: as the type says")
    priority = Int(title="Priority", required=False, readonly=True,
                   description="None: as the type says")
    description = TextLine(title="Description", readonly=True)
    misfire = Float(
        title="Misfire", required=False, readonly=True,
        description="Seconds that a tick may be late and still start a run; "
                    "None: however late, once")
    expression = TextLine(title="When, for people", readonly=True)

    def isMissed(due_at, now):
        """Return whether the ticks from *due_at* to *now* are all too late.
        """

    def nextTick(after):
        """Return the first tick after the time *after* (both as times)."""


class IScheduleStatus(Interface):
    """A schedule in a registry, a snapshot."""

    name = TextLine(title="Schedule")
    worker = TextLine(title="Worker type")
    expression = TextLine(title="When")
    description = TextLine(title="Description")
    next_at = Float(title="Next", required=False,
                    description="None before a runtime has seen it")
    last_at = Float(title="Last", required=False)
    last_run = TextLine(title="Last run", required=False,
                        description="Its id; None if it is gone")
    is_paused = Bool(title="Paused")
    paused_by = TextLine(title="Paused by", required=False)
    paused_at = Float(title="Paused at", required=False)
    pause_reason = TextLine(title="Reason", required=False)
    is_late = Bool(title="Late",
                   description="Its tick is over for more than "
                               "`IThresholds.late_after`, and it is not "
                               "paused")


class IWorkerRegistry(Interface):
    """The runs of a site: a persistent local utility.

    Add one with `installation.addRegistry`.  Of a worker type that the
    principal of the interaction may not see (`IWorkerType.view_permission`),
    nothing is listed, counted or found by its id; without an interaction all
    is.
    """

    def start(name, context=None, **input):
        """Store a run of worker type *name* and return it (`IWorkerRun`).

        Joins the transaction of the registry's connection and never commits:
        an abort or a savepoint rollback takes the run back, a commit lets a
        runtime carry it out.  The id of the run is known at once.  The
        starter is the principal of the current interaction, if there is one.

        *context* is a persistent object of the same database, stored or about
        to be stored by this transaction; it is referred to weakly.  *input*
        is checked against the schema of the type and copied.

        For trusted code: no permission is asked.  Raise `UnknownWorkerType`,
        `InvalidInput` or `InvalidContext`, each with nothing stored.
        """

    def submit(name, context=None, input=None, delay=0.0, unique=None,
               priority=None):
        """`start` with options; *input* is a dict or None.

        *delay*: seconds that the run waits at least, up to ten years.
        *unique* (one of `UNIQUE`) and *priority* (an int from -1000 to 1000)
        take the place of what the type says.  Raise ``ValueError`` for
        anything else, with nothing stored.  Where it is unique and such a run
        is pending, return that one.
        """

    def startByPrincipal(name, context=None, **input):
        """`start` for untrusted callers: the browser, proxied code.

        Raise ``Unauthorized`` unless the principal of the interaction has the
        permission of the worker type on *context* (the site without one), and
        ``NoInteraction`` without an interaction.  The permission is asked
        again when the run begins.

        Raise `TooManyOfStarter` where about `waiting_per_starter` runs of the
        principal wait already.  No other method that starts a run, but for
        `startOnce`, raises that.
        """

    def mayStart(name, context=None):
        """Return whether the principal may start that worker type.

        As `startByPrincipal` asks: by the permission of the type on *context*
        or the site.
        """

    def startOnce(since, name, context=None, input=None):
        """`startByPrincipal` for a form: a second click starts nothing.

        Where the principal has started the same in this way, the same type,
        context and input, at the time *since* or later, return that run.
        *since*: when the form was shown.
        """

    def get(run_id, default=None):
        """Return the run of that id, *default* for anything else."""

    def getStatus(run_id):
        """Return the `IRunStatus` of a run; raise `RunNotFound`."""

    def getDetails(run_id):
        """Return the `IRunDetails` of a run; raise `RunNotFound`.

        While the run is live, its log so far; the end of it, as far as that
        told, if another process carries it out.
        """

    def getContext(run_id):
        """Return the object a run is about; None if it has none, or is gone.

        Raise `RunNotFound`.
        """

    def listRuns(states=(), types=(), contexts=(), starters=(), text=None,
                 since=None, until=None, order=NEWEST, limit=50, before=None,
                 unresolved=False):
        """Return one `IRunPage` of statuses.

        *states*, *types*, *starters* and *contexts* (objects) restrict the
        list where they are not empty.  *starters* are ids of principals; what
        is the id of none that the authentication knows is sought in their
        titles as well.  *text* (a text) has to stand in the title, the
        message, the error or the id of the worker type, in whatever case.
        Texts are compared as Unicode says: composed or not is the same.

        *unresolved* restricts it to runs that failed or were interrupted and
        were not retried, and whose type has not succeeded with the same
        context and input since.  Those of which that could not be found out
        within `resolving.TIME_LIMIT` are listed.

        *since* and *until* (times) bound what the list is ordered by: from
        the one on, before the other.

        *order*: ``newest`` or ``oldest`` first, by the finish where *states*
        are finished states only, by the creation else; or ``slowest``, of
        finished runs, the `paging.SCAN_LIMIT` that finished last within
        *since* and *until*.

        *before* is the key that the page before gave as `IRunPage.older`;
        raise ``ValueError`` for any other, as for an unknown *order*.  Never
        scans the registry: what is looked at is bounded
        (`paging.SCAN_LIMIT`, and a time for what has to be loaded), and
        `IRunPage.is_cut` tells where the bound was met.
        """

    def getCounts():
        """Return {type name: {state: number of runs}}; zeros are left out."""

    def getWorkerTypes():
        """Return {name: `IWorkerType`} of the declared worker types."""

    def listProcesses():
        """Return an `IProcessStatus` for each process known, oldest first."""

    def listEndedProcesses():
        """Return an `IEndedProcess` for each that ended within a day.

        The last one first; some 200 at most.
        """

    def listTypes():
        """Return an `ITypeStatus` for each type declared or with runs kept.

        And for each that is paused.  By name.  Costs nothing that grows with
        the number of runs.
        """

    def getHours():
        """Return an `IHour` for each of the last 24 hours, oldest first.

        The last one is the hour that goes on; hours in which nothing was
        finished are there, too.  Empty for whoever may not see every worker
        type: an hour does not tell them apart.
        """

    def listProblems():
        """Return an `IProblem` for each thing that is wrong, worst first.

        Costs nothing that grows with the number of runs.
        """

    def getThresholds():
        """Return the `IThresholds`: from when on something is a problem."""

    def changeThresholds(values, reason=None):
        """Change some of the `IThresholds`: *values* is {name: value}.

        Joins the caller's transaction and is kept in the journal.  Raise
        `InvalidThreshold`, with nothing changed.
        """

    def listActions(limit=50, before=None):
        """Return (actions, key): what administrators did, newest first.

        *key* is *before* of the next page, or None.  Removals and drains are
        kept for 90 days at least, of the others the last 1,000; of these, the
        act that one person did most often goes first.  What was done to
        processes is in the journal of every registry.
        """

    def getStack(run_id):
        """Return where the thread of a running run stands, or None.

        A text like a traceback, innermost call last, without any values.
        For a run of another process what that told last, which it does when
        a stop has been asked for.  Raise `RunNotFound`.
        """

    # What administrators do.  Each joins the caller's transaction, keeps who
    # did it, when and why (`listActions`), and never commits.

    def retry(run_id, reason=None):
        """Do a finished run again, as a new run; return that one.

        For trusted code: no permission is asked.  If somebody else than the
        starter asks for it, the work may do what both may do
        (`IWorkerRun.asker`).

        It has the type, context, input, starter, permission and priority of
        the old one, and goes on behind its last checkpoint, unless it had
        succeeded.  The old one is kept as it is, and knows its retry: a
        second retry returns the same run as long as that is kept.  Where the
        type is unique and such a run is pending, that one is returned, and
        takes the place of the old one.  Raise `RunNotFound`,
        `RunNotRetryable`.
        """

    def retryByPrincipal(run_id, reason=None):
        """`retry` for untrusted callers, as `startByPrincipal` is `start`.

        Raise ``Unauthorized`` unless the principal of the interaction has the
        permission of the worker type on the context of the run, or on the
        site where that is gone or there is none.
        """

    def mayRetry(run_id):
        """Return whether `retryByPrincipal` would be permitted.

        Raise `RunNotFound`.
        """

    def actOnRuns(verb, run_ids, reason=None, filter=None):
        """Stop, retry or remove many runs; return the ids of those it did.

        The list has an attribute `failed`, {run id: (type, text)} of the
        errors of subscribers: such a run stays as it was, the others go on.

        *verb* is ``stop``, ``retry`` or ``remove``.  Left out is what is not
        there or cannot change, what was asked to stop or retried before, and
        on ``retry`` what `retryByPrincipal` would refuse.  The journal has
        one row for all; *filter* is a text for it that says how they were
        found.
        """

    def remove(run_id, reason=None):
        """Forget a finished run.  Raise `RunNotFound`, `RunNotRemovable`."""

    def pauseType(name, is_paused=True, reason=None):
        """Let no run of a worker type begin from now on; or again.

        What runs goes on, what is started waits.  A second pause changes
        nothing.  Raise `UnknownWorkerType` for a type that is not declared
        and has no runs.
        """

    def quietProcess(process_id, is_quiet=True, reason=None):
        """Let a process begin nothing new; or again.

        What it carries out goes on; what waits in it is taken by others.
        Where it is quiet because its database is a copy, the end of that is
        an `adoptDatabase`.  Raise `ProcessNotFound`.
        """

    def adoptDatabase(process_id, reason=None, keep_back=False):
        """Let a process begin that takes its database for a copy.

        The database belongs to the deployment of that process, and to the
        place where its file is, from the commit on: all processes of that
        deployment begin, those of another one begin nothing new.  With
        *keep_back* what waits in any registry is kept back, as after a copy
        of the registry.  Return whether there was anything to do.  Raise
        `ProcessNotFound`.
        """

    def beginKept(reason=None):
        """Let begin what came with a copy of the registry and is kept back.

        What was running in the original begins anew, or is ``interrupted``
        where its type says ``on_interrupt="fail"``; so is the run of a
        service, of which there is another one by now.  Only of types that the
        caller may see.  Return how many runs it were.
        """

    def removeKept(reason=None, limit=1000):
        """Stop and remove what came with a copy and is kept back.

        At most *limit* runs, of types that the caller may see.  Return how
        many it were.
        """

    def drainProcess(process_id, reason=None):
        """Let a process end its runtime as at a shutdown.

        The process itself goes on; only its restart makes it carry out runs
        again.  Raise `ProcessNotFound`.
        """

    keep_days = Attribute(
        "Days that finished runs are kept whose type does not say otherwise")
    keep = Attribute(
        "How many finished runs of a type are kept at the most, likewise")
    waiting_per_starter = Attribute(
        "A principal of whom so many runs wait is refused another start by "
        "`startByPrincipal` and `startOnce`; approximate.  Default: 1,000")

    def listSchedules():
        """Return an `IScheduleStatus` for each declared schedule, by name."""

    def pauseSchedule(name, is_paused=True, reason=None):
        """Let a schedule start nothing from now on; or again.

        Raise `ScheduleNotFound`.
        """

    def runSchedule(name):
        """Start the run of a schedule now and return it.

        None when it cannot be started, for want of its input perhaps, which
        is then kept as a failed run.  Raise `ScheduleNotFound`.
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

        A run that waits is ``stopped`` with the caller's commit.  For a run
        that runs, the request is stored and its worker told after the commit;
        who asked is the principal of the interaction.  A second request
        changes nothing.  Never commits.  Raise `RunNotFound`,
        `RunNotStoppable`.
        """

    def beginNow(run_id, reason=None):
        """Let a run be due now that waits for its time.

        Whatever put it off: its start, an error, its worker, a clock that was
        wrong.  It begins after the commit, as soon as a thread is free.  Never
        commits.  Raise `RunNotFound`, and `RunNotBeginnable` for a run that
        waits for something else.
        """

    def getSite():
        """Return the site that holds the registry."""

    secret = Attribute(
        "32 random bytes, made with the registry; what tokens against forged "
        "requests are made from.  For trusted code only.")


class IVerbs(Interface):
    """What the principal of the interaction may do to a registry.

    An adapter of the registry (`verbs.of`).  Each verb asks for its permission
    and raises ``Unauthorized`` without it, ``NoInteraction`` if nobody asks;
    what it does is said by the method of that name of `IWorkerRegistry`.
    Nothing depends on security proxies.  What it returns is plain data or
    bare, but for objects of the application: these have a security proxy.
    """

    def may(name):
        """Return whether the principal has the permission of the verb *name*.

        For the verbs that ask on the registry or the root of the application.
        """

    # Need the permission to see runs.

    def get(run_id, default=None):
        """See `IWorkerRegistry.get`."""

    def getStatus(run_id):
        """See `IWorkerRegistry.getStatus`."""

    def getContext(run_id):
        """See `IWorkerRegistry.getContext`; with a security proxy."""

    def listRuns(states=(), types=(), contexts=(), starters=(), text=None,
                 since=None, until=None, order=NEWEST, limit=50,
                 before=None, unresolved=False):
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

    def getHours():
        """See `IWorkerRegistry.getHours`."""

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

    def getSite():
        """Return the site that holds the registry, with a security proxy."""

    # Need the permission to start workers and that of the worker type.

    def queryWorkerType(name):
        """Return the declared `IWorkerType`, None without one.

        One that the principal may not see counts as none.  The permission of
        the type is not asked.
        """

    def mayStart(name, context=None):
        """Return whether `startByPrincipal` would be permitted."""

    def startByPrincipal(name, context=None, **input):
        """See `IWorkerRegistry.startByPrincipal`.

        Raise `UnknownWorkerType` for one that the principal may not see, and
        `TooManyWaiting` for one of which too many runs wait, or if too many
        runs of the principal do (`TooManyOfStarter`).
        """

    def startOnce(since, name, context=None, input=None):
        """See `IWorkerRegistry.startOnce`; raise as `startByPrincipal`."""

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
    """Adapter of a site: lets the principal give it a registry, or take it.
    """

    def mayInstall():
        """Return whether the principal has the permission to manage there."""

    def install():
        """Add a registry to the site and return it; return the one it has.

        Joins the caller's transaction.  Raise ``Unauthorized`` without the
        permission to manage on the site, and `InvalidSite` when the site is
        in no database yet, or has no site manager.  Trusted code calls
        `installation.addRegistry`.
        """

    def queryRegistry():
        """Return the registry that the site itself has, or None."""

    def countUnfinished():
        """Return (runs in work, runs that wait) of the site's registry."""

    def mayUninstall():
        """Return whether the principal may remove the site's registry.

        False where there is none, and where the principal may not see each
        worker type: what is hidden is not removed.
        """

    def uninstall(unfinished, reason=None):
        """Call `installation.removeRegistry`, and return what that does.

        Raise ``Unauthorized`` where the principal may not; runs that are not
        finished need the permission to stop as well.
        """


class IWorkerEnvironment(Interface):
    """How a thread enters the host's world; a replaceable utility."""

    def participations(user_name, run):
        """Return a sequence of IParticipation for the thread's interaction.

        *run* is the `IWorkerRun` or None for a bare thread.  Called with the
        site set.  Raise `StarterGone` when the principal of the run does not
        exist any more, or lost the permission it was checked for.
        """


class IExecutor(Interface):
    """A strategy that carries runs out."""

    def start():
        """Begin to take runs."""

    takes = Attribute("Whether to take runs whose home is another process")

    def stop():
        """Take no more runs; return at once."""

    def join(timeout):
        """After `stop`: wait up to *timeout* seconds for what is in work."""

    def isUnderway(ticket, run):
        """Return whether the pending *run* may still be begun elsewhere.

        Asked of what was given to another process, by a message or whatever
        it may be.
        """

    def returned(ticket, run):
        """*run* (or None) is not in work elsewhere any more."""


def _is_printable(text):
    return text.isprintable()


def _is_duration(seconds):
    # Neither "not a number" nor more than a wait can take.
    return 0 <= seconds <= 366 * 86400


class IRuntimeSettings(Interface):
    """What ``<background:runtime>`` says; a global utility."""

    threads = Int(
        title="Threads", min=0, default=4,
        description="How many jobs this process works on at once.  A loop "
                    "has a thread of its own and does not count.  Default: 4.")
    drain = Float(
        title="Drain", min=0.0, default=15.0,
        constraint=_is_duration,
        description="Seconds that work may still take when the process is "
                    "asked to end; what remains is interrupted, with 0 at "
                    "once.  Default: 15.")
    poll = Float(
        title="Poll", min=0.05, default=1.0,
        constraint=_is_duration,
        description="Seconds until this process sees what another process "
                    "started or asked to stop.  Default: 1.")
    lease = Float(
        title="Lease", min=3.0, default=90.0,
        constraint=_is_duration,
        description="Seconds a process may be silent before its runs are "
                    "rescued by another.  Default: 90.")
    grace = Float(
        title="Grace", min=0.0, default=86400.0,
        constraint=_is_duration,
        description="Seconds that a run waits whose worker type no process "
                    "declares; then it fails.  Default: 86400.")
    executor = Choice(
        title="Executor", values=EXECUTORS, default=THREADS,
        description="Who carries jobs out: 'threads' of this process, or "
                    "'celery', processes of Celery that are told by "
                    "messages.  Default: threads.")
    deployment = TextLine(
        title="Deployment", required=False, default=None,
        min_length=1, max_length=100, constraint=_is_printable,
        description="The id of this deployment, as production or staging, "
                    "for the variable CIPHER_BACKGROUND_DEPLOYMENT of the "
                    "environment where that is not set.  In a database that "
                    "belongs to another one the runtime begins quiet.  "
                    "Default: none, nothing is compared.")


class IWebSettings(Interface):
    """What ``<background:web>`` says; a global utility.

    How browsers reach this process.  It matters to every process that serves
    the pages, whether it carries out runs or not.
    """

    base_url = TextLine(
        title="Base URL", required=False, default=None,
        description="How the application is reached from outside: scheme, "
                    "host and port, as in https://example.org.  A form that "
                    "comes from anywhere else is refused.  Default: the "
                    "scheme of the request and its header Host.")
    proxy_sets_scheme = Bool(
        title="Proxy sets the scheme", default=False,
        description="Whether a proxy sets X-Forwarded-Proto in each request, "
                    "so that it may be believed.  Default: no.")
    trusts_virtual_hosts = Bool(
        title="Trusts virtual hosts", default=False,
        description="Whether only a proxy can put ++vh++ into a path, so that "
                    "the address in it is that of the application.  Default: "
                    "no.")


class IRuntime(Interface):
    """The one owner, per process and database, of live workers."""

    id = TextLine(title="Process id", description="HOST:PID:RANDOM")

    def wake(places=()):
        """Tell that there is something to look at; never blocks, never fails.

        *places* names lanes that have new runs: (registry oid, number).
        """

    def countWaiting(registry_oid, starter):
        """Return (number, time): how many runs of *starter* wait here.

        Those whose lane has its home in this process, as it knew at that
        time.  Runs in work count as well; what waits for a time does not,
        unless it comes soon.
        """

    def quiet(is_quiet=True):
        """Begin nothing new; or again.  Returns at once.

        In a signal handler it happens a moment later.
        What runs goes on; what waits is begun by other processes, where
        there are any.  As `IWorkerRegistry.quietProcess`, for the process
        itself: what is asked last counts.
        """

    def shutdown(timeout=None):
        """Take nothing new, let work end, wait up to *timeout* seconds.

        None: the drain of the settings; what is to be written in the end may
        take some seconds more.
        Loops are asked to stop at once, jobs when five seconds are left, or
        half of the time.  What still works in the end is interrupted, and its
        transaction will not commit.  The database may be closed afterwards.
        May be called twice: then it waits for the end of the first.

        In a signal handler it only begins that and returns at once: what the
        handler interrupted may hold a lock.  Call it again before the
        database is closed.
        """


class IRunEvent(IObjectEvent):
    """Something happened to a run (`object`), in the transaction of that.

    So what a subscriber changes is committed together with it, and an error
    of a subscriber fails it.  Where a worker or a runtime sends the event, the
    site of the registry is set.

    What a runtime itself does to a run, as a rescue or the stop of a run that
    waits, happens in spite of an error of a subscriber: what the subscribers
    changed is taken back, and the error is a problem that pages show.  There
    is no interaction then.
    """

    registry = Attribute("The registry of the run")


class IRunCreatedEvent(IRunEvent):
    """A run was stored, in the caller's transaction."""


class IRunStartedEvent(IRunEvent):
    """The work begins.

    In the transaction of the work where there is no commit of its own for
    the begin, so once for each try.
    """


class IRunFinishedEvent(IRunEvent):
    """Nothing more will happen to the run."""


class IRunSucceededEvent(IRunFinishedEvent):
    """The work is done; in the transaction of the work."""


class IRunFailedEvent(IRunFinishedEvent):
    """The work failed; `object.error` says why."""


class IRunStoppedEvent(IRunFinishedEvent):
    """Somebody stopped the run."""


class IRunInterruptedEvent(IRunFinishedEvent):
    """The process of the run ended and the run must not be rerun."""


class IRunRequeuedEvent(IRunEvent):
    """The run waits again: after an error, a snooze or the end of its process.
    """
