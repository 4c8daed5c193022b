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
"""The ZCML directives: schema and handler side by side."""
from zope.component import provideUtility
from zope.component.zcml import utility
from zope.configuration.exceptions import ConfigurationError
from zope.configuration.fields import Bool
from zope.configuration.fields import GlobalInterface
from zope.configuration.fields import GlobalObject
from zope.configuration.fields import MessageID
from zope.configuration.fields import Tokens
from zope.interface import Interface
from zope.schema import Choice
from zope.schema import Float
from zope.schema import Int
from zope.schema import TextLine
from zope.security.zcml import Permission

from cipher.background.declaring import makeWorkerType
from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import EXECUTORS
from cipher.background.interfaces import NOT_UNIQUE
from cipher.background.interfaces import ON_INTERRUPT
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import THREADS
from cipher.background.interfaces import UNIQUE
from cipher.background.interfaces import InvalidDeclaration
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IWebSettings
from cipher.background.interfaces import IWorkerType
from cipher.background.settings import RuntimeSettings
from cipher.background.settings import WebSettings


class IWorkerDirective(Interface):
    """Declare a worker type: something that can be started."""

    name = TextLine(
        title="Name",
        description="What the worker type is started by; unique.",
        min_length=1)

    class_ = GlobalObject(
        title="Class",
        description="A subclass of BackgroundJob (one piece of work) or of "
                    "BackgroundWorkerThread (a loop).  Either this or "
                    "'handler'.",
        required=False)

    handler = GlobalObject(
        title="Handler",
        description="A function that does the work, called with the worker "
                    "and the input as keywords.  Either this or 'class'.",
        required=False)

    title = MessageID(
        title="Title",
        description="What administrators see.  Default: the name.",
        required=False)

    description = MessageID(
        title="Description",
        description="What the worker does, for administrators.",
        required=False)

    schema = GlobalInterface(
        title="Schema",
        description="The fields of the input.  Default: no input.",
        required=False)

    permission = Permission(
        title="Permission",
        description="Needed to start it in the browser; never zope.Public.  "
                    "Default: cipher.background.StartWorkers.",
        required=False)

    view_permission = Permission(
        title="View permission",
        description="Needed on the registry to see the type and its runs, "
                    "beside cipher.background.ViewWorkers; never zope.Public."
                    "  Default: none.",
        required=False)

    on_interrupt = Choice(
        title="On interrupt",
        description="What becomes of a run whose process dies while it runs: "
                    "'rerun', or 'fail' for what touches the world outside "
                    "the database and must not happen twice.  Default: "
                    "rerun.",
        values=ON_INTERRUPT, required=False, default=RERUN)

    max_attempts = Int(
        title="Attempts",
        description="How many times the work is begun before an error fails "
                    "the run; conflicts do not count.  Default: 1.",
        min=1, required=False, default=1)

    retry_delay = Float(
        title="Retry delay",
        description="Seconds before the second attempt; doubled, up to an "
                    "hour, at each further one, less up to a half by chance."
                    "  Default: 10.",
        min=0.0, required=False, default=10.0)

    max_running = Int(
        title="At a time",
        description="How many runs of the type run at a time in the whole "
                    "database.  Default: as many as there are threads.",
        min=1, required=False)

    unique = Choice(
        title="Unique",
        description="While such a run is pending a second start gives that "
                    "one: of the same 'type', type and 'context', or type, "
                    "context and 'input'; or 'no'.  Where the work runs as "
                    "the starter, only a run of the same starter counts.  "
                    "Default: no.",
        values=UNIQUE, required=False, default=NOT_UNIQUE)

    priority = Int(
        title="Priority",
        description="Of those that wait the greater goes first.  Default: 0.",
        min=-1000, max=1000, required=False, default=0)

    run_as = TextLine(
        title="Run as",
        description="Whose permissions the work has: 'starter', 'system', or "
                    "a principal id.  All but 'starter' need a permission of "
                    "their own to start it.  Default: starter.",
        required=False, default=AS_STARTER)

    stop_timeout = Float(
        title="Stop timeout",
        description="Seconds that a run may take to obey a stop request; "
                    "then pages say that it does not respond.  Nothing is "
                    "killed.  Default: 60.",
        min=0.0, required=False, default=60.0)

    autostart = Bool(
        title="Service",
        description="Whether a loop is kept running while a runtime lives: "
                    "one in the database, or as many as max_running says.  "
                    "Default: no.",
        required=False, default=False)

    keep_days = Float(
        title="Keep for",
        description="Days that a finished run is kept; 'inf' for ever.  "
                    "Default: as the registry says, 14.",
        min=0.0, required=False)

    keep = Int(
        title="Keep at the most",
        description="Finished runs that are kept.  Default: as the registry "
                    "says, 10000.",
        min=0, required=False)

    former = Tokens(
        title="Former names",
        description="Names that it had before: runs that were started under "
                    "one of them go on as this type says, and what is "
                    "started under it is started under the new name.  "
                    "Default: none.",
        value_type=TextLine(), required=False)


def worker(_context, name, class_=None, handler=None, title=None,
           description=None, schema=None, permission=None,
           view_permission=None, on_interrupt=RERUN, max_attempts=1,
           retry_delay=10.0, max_running=None, unique=NOT_UNIQUE, priority=0,
           run_as=AS_STARTER, stop_timeout=60.0, autostart=False,
           keep_days=None, keep=None, former=None):
    """Register a worker type as a named utility."""
    try:
        worker_types = makeWorkerType(
            name, class_, handler, tuple(former or ()), title=title,
            description=description or '', schema=schema,
            permission=permission, view_permission=view_permission,
            on_interrupt=on_interrupt, max_attempts=max_attempts,
            retry_delay=retry_delay, max_running=max_running, unique=unique,
            priority=priority, run_as=run_as, stop_timeout=stop_timeout,
            autostart=autostart, keep_days=keep_days, keep=keep)
    except InvalidDeclaration as error:
        raise ConfigurationError(str(error)) from None
    for worker_type in worker_types:
        # Our own discriminator, so that a conflict names the worker.
        _context.action(
            discriminator=('cipher.background.worker', worker_type.name),
            callable=provideUtility,
            args=(worker_type, IWorkerType, worker_type.name))


class IRuntimeDirective(Interface):
    """Let this process carry out runs."""

    threads = Int(
        title="Threads",
        description=IRuntimeSettings['threads'].description,
        min=0, required=False, default=4)
    drain = Float(
        title="Drain",
        description=IRuntimeSettings['drain'].description,
        min=0.0, required=False, default=15.0)
    poll = Float(
        title="Poll",
        description=IRuntimeSettings['poll'].description,
        min=0.05, required=False, default=1.0)
    lease = Float(
        title="Lease",
        description=IRuntimeSettings['lease'].description,
        min=3.0, required=False, default=90.0)
    grace = Float(
        title="Grace",
        description=IRuntimeSettings['grace'].description,
        min=0.0, required=False, default=86400.0)
    executor = Choice(
        title="Executor",
        description=IRuntimeSettings['executor'].description,
        values=EXECUTORS, required=False, default=THREADS)
    deployment = TextLine(
        title="Deployment",
        description=IRuntimeSettings['deployment'].description,
        min_length=1, max_length=100, required=False)


def runtime(_context, threads=4, drain=15.0, poll=1.0, lease=90.0,
            grace=86400.0, executor=THREADS, deployment=None):
    """Register the settings; the runtime begins when a database opens."""
    settings = RuntimeSettings(
        threads=threads, drain=drain, poll=poll, lease=lease, grace=grace,
        executor=executor, deployment=deployment)
    utility(_context, IRuntimeSettings, component=settings)


class IWebDirective(Interface):
    """Say how browsers reach this process."""

    base_url = TextLine(
        title="Base URL",
        description=IWebSettings['base_url'].description,
        required=False)
    proxy_sets_scheme = Bool(
        title="Proxy sets the scheme",
        description=IWebSettings['proxy_sets_scheme'].description,
        required=False, default=False)
    trusts_virtual_hosts = Bool(
        title="Trusts virtual hosts",
        description=IWebSettings['trusts_virtual_hosts'].description,
        required=False, default=False)


def web(_context, base_url=None, proxy_sets_scheme=False,
        trusts_virtual_hosts=False):
    """Register the settings."""
    try:
        settings = WebSettings(
            base_url, proxy_sets_scheme, trusts_virtual_hosts)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    utility(_context, IWebSettings, component=settings)
