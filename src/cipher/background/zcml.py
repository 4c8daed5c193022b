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
"""The ZCML directives: the schema and the handler of each side by side."""
import logging

from zope.component import getGlobalSiteManager
from zope.component import provideHandler
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

from cipher.background.alerts.job import Alerts
from cipher.background.alerts.sending import PLAIN
from cipher.background.alerts.sending import SECURITIES
from cipher.background.alerts.sending import Mail
from cipher.background.alerts.sending import Webhook
from cipher.background.alerts.sending import checkURL
from cipher.background.declarations.settings import MonitoringSettings
from cipher.background.declarations.settings import RuntimeSettings
from cipher.background.declarations.settings import WebSettings
from cipher.background.declarations.settings import readVariable
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.declaring import LONGEST
from cipher.background.declaring import checkStart
from cipher.background.declaring import makeSchedule
from cipher.background.declaring import makeTrigger
from cipher.background.declaring import makeWorkerType
from cipher.background.i18n import _
from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import AS_SYSTEM
from cipher.background.interfaces import BY_TYPE
from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import NOT_UNIQUE
from cipher.background.interfaces import ON_INTERRUPT
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import THREADS
from cipher.background.interfaces import UNIQUE
from cipher.background.interfaces import IMonitoringSettings
from cipher.background.interfaces import InvalidDeclaration
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import IWebSettings
from cipher.background.interfaces import IWorkerType
from cipher.background.registry.triggers import Trigger
from cipher.background.runtime.executors.choice import checkExecutor


log = logging.getLogger(__name__)


class IWorkerDirective(Interface):
    """Declare a worker type, which can be started by its name."""

    name = TextLine(
        title="Name",
        description="The unique name by which the worker type is started.",
        min_length=1)

    class_ = GlobalObject(
        title="Class",
        description="A subclass of BackgroundJob (one piece of work) or of "
                    "BackgroundWorkerThread (a loop).  Give this or "
                    "'handler'.",
        required=False)

    handler = GlobalObject(
        title="Handler",
        description="A function that does the work, called with the worker "
                    "and the input as keywords.  Give this or 'class'.",
        required=False)

    title = MessageID(
        title="Title",
        description="The name that administrators see.  Default: the name.",
        required=False)

    description = MessageID(
        title="Description",
        description="A text for administrators about the work.",
        required=False)

    schema = GlobalInterface(
        title="Schema",
        description="The fields of the input.  Default: no input.",
        required=False)

    permission = Permission(
        title="Permission",
        description="The permission to start it in the browser; never "
                    "zope.Public.  Default: cipher.background.StartWorkers.",
        required=False)

    view_permission = Permission(
        title="View permission",
        description="The permission on the registry to see the type and its "
                    "runs, beside cipher.background.ViewWorkers; never "
                    "zope.Public.  Default: none.",
        required=False)

    on_interrupt = Choice(
        title="On interrupt",
        description="The fate of a run whose process dies while it runs: "
                    "'rerun', or 'fail' for work with effects outside the "
                    "database that must not happen twice.  Default: rerun.",
        values=ON_INTERRUPT, required=False, default=RERUN)

    max_attempts = Int(
        title="Attempts",
        description="The number of times that the work is tried before an "
                    "error fails the run; conflicts do not count.  Default: "
                    "1.",
        min=1, required=False, default=1)

    retry_delay = Float(
        title="Retry delay",
        description="Seconds before the second attempt; doubled at each "
                    "further one, up to an hour.  A random part of up to a "
                    "half is taken off.  Default: 10.",
        min=0.0, required=False, default=10.0)

    max_running = Int(
        title="At a time",
        description="The number of runs of the type that run at a time in "
                    "the whole database, at most.  Default: as many as there "
                    "are threads.",
        min=1, required=False)

    unique = Choice(
        title="Unique",
        description="A second start returns the pending run of the same "
                    "'type', of the same type and 'context', or of the same "
                    "type, context and 'input'; 'no' makes a new run.  If the "
                    "work runs as the starter, only a run of the same starter "
                    "counts.  Default: no.",
        values=UNIQUE, required=False, default=NOT_UNIQUE)

    priority = Int(
        title="Priority",
        description="Pending runs with a greater priority begin first.  "
                    "Default: 0.",
        min=-1000, max=1000, required=False, default=0)

    run_as = TextLine(
        title="Run as",
        description="The principal whose rights the work has: 'starter', "
                    "'system', or a principal id.  All but 'starter' need a "
                    "'permission' of their own.  Default: starter.",
        required=False, default=AS_STARTER)

    stop_timeout = Float(
        title="Stop timeout",
        description="Seconds that a run may take to stop on request; then "
                    "pages show that it does not respond.  Nothing is "
                    "killed.  Default: 60.",
        min=0.0, required=False, default=60.0)

    autostart = Bool(
        title="Service",
        description="Keep a loop running while a runtime lives: one in the "
                    "whole database, or max_running of them.  Default: no.",
        required=False, default=False)

    keep_days = Float(
        title="Keep for",
        description="Days that a finished run is kept; 'inf' for ever.  "
                    "Default: the setting of the registry, 14.",
        min=0.0, required=False)

    keep = Int(
        title="Keep at most",
        description="Number of finished runs that are kept.  Default: the "
                    "setting of the registry, 10000.",
        min=0, required=False)

    share = Bool(
        title="Share commits",
        description="Let short runs share commits with others.  If one of "
                    "them fails, the others are done again, so choose it for "
                    "effects in the ZODB only.  Not for loops, "
                    "on_interrupt=\"fail\" or max_running.  Default: as "
                    "'share' of the runtime.",
        required=False)

    former = Tokens(
        title="Former names",
        description="Earlier names of the worker type.  It carries out runs "
                    "that were started under them; a start under one of them "
                    "uses the new name.  Default: none.",
        value_type=TextLine(), required=False)


def worker(_context, name, class_=None, handler=None, title=None,
           description=None, schema=None, permission=None,
           view_permission=None, on_interrupt=RERUN, max_attempts=1,
           retry_delay=10.0, max_running=None, unique=NOT_UNIQUE, priority=0,
           run_as=AS_STARTER, stop_timeout=60.0, autostart=False,
           keep_days=None, keep=None, share=None, former=None):
    """Register a worker type as a named utility."""
    try:
        worker_types = makeWorkerType(
            name, class_, handler, tuple(former or ()), title=title,
            description=description or '', schema=schema,
            permission=permission, view_permission=view_permission,
            on_interrupt=on_interrupt, max_attempts=max_attempts,
            retry_delay=retry_delay, max_running=max_running, unique=unique,
            priority=priority, run_as=run_as, stop_timeout=stop_timeout,
            autostart=autostart, keep_days=keep_days, keep=keep, share=share)
    except InvalidDeclaration as error:
        raise ConfigurationError(str(error)) from None
    for worker_type in worker_types:
        # A discriminator of our own, so that a conflict names the worker.
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
    executor = TextLine(
        title="Executor",
        description=IRuntimeSettings['executor'].description,
        min_length=1, max_length=100, required=False, default=THREADS)
    deployment = TextLine(
        title="Deployment",
        description=IRuntimeSettings['deployment'].description,
        min_length=1, max_length=100, required=False)
    types = Tokens(
        title="Types",
        description=IRuntimeSettings['types'].description,
        value_type=TextLine(), min_length=1, required=False)
    share = Bool(
        title="Share commits",
        description=IRuntimeSettings['share'].description,
        required=False, default=False)


def runtime(_context, threads=4, drain=15.0, poll=1.0, lease=90.0,
            grace=86400.0, executor=THREADS, deployment=None, types=None,
            share=False):
    """Register the settings; a runtime starts when a database is opened."""
    checkExecutor(executor)
    settings = RuntimeSettings(
        threads=threads, drain=drain, poll=poll, lease=lease, grace=grace,
        executor=executor, deployment=deployment,
        types=None if types is None else tuple(types), share=share)
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
    """Register the settings of URLs."""
    try:
        settings = WebSettings(
            base_url, proxy_sets_scheme, trusts_virtual_hosts)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    utility(_context, IWebSettings, component=settings)


class IMonitoringDirective(Interface):
    """Say who may see the health and the metrics."""

    public_health = Bool(
        title="Public health",
        description=IMonitoringSettings['public_health'].description,
        required=False, default=False)
    ignore_problems = Bool(
        title="Ignore problems",
        description=IMonitoringSettings['ignore_problems'].description,
        required=False, default=False)
    token_variable = TextLine(
        title="Token variable",
        description="The environment variable with the token that opens the "
                    "health and the metrics to all who send it, as in "
                    "Authorization: Bearer TOKEN.  Default: none.",
        required=False)
    token = TextLine(
        title="Token",
        description="The token itself.  Prefer 'token_variable': an error in "
                    "ZCML shows the text of the directive.  Default: none.",
        required=False)


def monitoring(_context, public_health=False, ignore_problems=False,
               token_variable=None, token=None):
    """Register the settings of the monitoring."""
    try:
        settings = MonitoringSettings(
            public_health, ignore_problems,
            readVariable('monitoring', 'token_variable', token_variable)
            if token is None
            else _only_token(token, token_variable))
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    utility(_context, IMonitoringSettings, component=settings)


def _only_token(token, token_variable):
    if token_variable is not None:
        raise ValueError(
            "monitoring: expected 'token' or 'token_variable', got both; "
            "leave out 'token'")
    return token


class IAlertsDirective(Interface):
    """Declare a worker type that reports problems and failed runs.

    It sends a mail or posts to a webhook: give 'mail_to' or a webhook.  A
    schedule runs it.
    """

    name = TextLine(
        title="Name",
        description="The name of the worker type.  Default: alerts.",
        min_length=1, required=False, default='alerts')

    mail_to = Tokens(
        title="Mail to",
        description="The addresses that get a mail.  Default: none.",
        value_type=TextLine(), min_length=1, required=False)

    mail_from = TextLine(
        title="Mail from",
        description="The address of the sender; needed for mails.",
        required=False)

    smtp_host = TextLine(
        title="Mail server",
        description="The host of the mail server.  Default: localhost.",
        required=False, default='localhost')

    smtp_port = Int(
        title="Port of the mail server",
        description="Default: 25, with 'starttls' 587, with 'tls' 465.",
        min=1, max=65535, required=False)

    smtp_security = Choice(
        title="Security",
        description="How the connection to the mail server is encrypted: "
                    "'none', 'starttls' or 'tls'.  Default: none.",
        values=SECURITIES, required=False, default=PLAIN)

    smtp_user = TextLine(
        title="User of the mail server",
        description="The name for the login.  Default: no login.",
        required=False)

    password_variable = TextLine(
        title="Password variable",
        description="The environment variable with the password of "
                    "'smtp_user'.",
        required=False)

    webhook = TextLine(
        title="Webhook",
        description="The URL that gets each message as JSON by POST, with "
                    "http or https.  Default: none.",
        required=False)

    webhook_variable = TextLine(
        title="Webhook variable",
        description="The environment variable with the URL, for a URL that "
                    "must stay secret.  Default: none.",
        required=False)

    token_variable = TextLine(
        title="Token variable",
        description="The environment variable with the token that the "
                    "webhook gets as Authorization: Bearer TOKEN.  Default: "
                    "none.",
        required=False)

    interval = Float(
        title="Interval",
        description="Seconds between two messages, at least; the next one "
                    "has all that happened meanwhile.  Default: 900.",
        min=0.0, max=LONGEST, required=False, default=900.0)

    failures = Bool(
        title="Failures",
        description="Report failed runs as well as problems.  Default: yes.",
        required=False, default=True)

    timeout = Float(
        title="Timeout",
        description="Seconds to wait for each answer of the server.  "
                    "Default: 20.",
        min=1.0, max=300.0, required=False, default=20.0)

    language = TextLine(
        title="Language",
        description="The code of the language of the messages.  Default: en.",
        min_length=1, required=False, default='en')

    url = TextLine(
        title="URL",
        description="The address of the application's root on the web, for "
                    "links.  Default: no links.",
        required=False)

    permission = Permission(
        title="Permission",
        description="The permission to start it by hand.  Default: "
                    "cipher.background.ManageWorkers.",
        required=False)


def alerts(_context, name='alerts', mail_to=None, mail_from=None,
           smtp_host='localhost', smtp_port=None, smtp_security=PLAIN,
           smtp_user=None, password_variable=None, webhook=None,
           webhook_variable=None, token_variable=None, interval=900.0,
           failures=True, timeout=20.0, language='en', url=None,
           permission=None):
    """Register a worker type that sends alerts."""
    try:
        for option, value in ('interval', interval), ('timeout', timeout):
            if not value >= 0:
                raise ValueError('alerts: expected %s to be a number of '
                                 'seconds, got %r; give one' % (option, value))
        _check_channel(mail_to, mail_from, smtp_user, password_variable,
                       webhook, webhook_variable, token_variable)
        if mail_to is not None:
            channel = Mail(
                mail_to, mail_from, smtp_host, smtp_port, smtp_security,
                smtp_user, readVariable('alerts', 'password_variable',
                                        password_variable), timeout)
        else:
            channel = Webhook(
                readVariable('alerts', 'webhook_variable', webhook_variable)
                or webhook, readVariable(
                    'alerts', 'token_variable', token_variable), timeout)
        handler = Alerts(name, channel, interval, failures, language,
                         checkURL(url))
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    # The message leaves the database, so the work has commits of its own.
    worker(_context, name, handler=handler, title=_('Alerts'),
           description=_('Reports problems and failed runs.'),
           permission=permission or MANAGE_WORKERS, run_as=AS_SYSTEM,
           max_attempts=5, retry_delay=30.0, max_running=1, unique=BY_TYPE,
           share=False)


def _check_channel(mail_to, mail_from, smtp_user, password_variable, webhook,
                   webhook_variable, token_variable):
    """Raise ``ValueError`` unless the options are those of one channel."""
    channels = [name for name, value in (
        ('mail_to', mail_to), ('webhook', webhook),
        ('webhook_variable', webhook_variable)) if value is not None]
    if len(channels) != 1:
        raise ValueError(
            "alerts: expected one of 'mail_to', 'webhook' and "
            "'webhook_variable', got %s; write a directive for each, with "
            "another name" % (' and '.join(map(repr, channels)) or 'none'))
    if mail_to is not None and mail_from is None:
        raise ValueError("alerts: expected 'mail_from' beside 'mail_to', got "
                         "none; give the address of the sender")
    for name, value in (
            (('token_variable', token_variable),) if mail_to is not None else
            (('mail_from', mail_from), ('smtp_user', smtp_user),
             ('password_variable', password_variable))):
        if value is not None:
            raise ValueError('alerts: expected no %r beside %r, got one; '
                             'leave it out' % (name, channels[0]))


# The order of an action that runs after all registrations.
_LAST = 1000000


class IStartDirective(Interface):
    """Base of the directives that start a worker."""

    worker = TextLine(
        title="Worker",
        description="The name of the worker type to start.")

    unique = Choice(
        title="Unique",
        description="Overrides 'unique' of the worker type.  Default: as the "
                    "worker type says.",
        values=UNIQUE, required=False)

    priority = Int(
        title="Priority",
        description="Overrides 'priority' of the worker type.  Default: as "
                    "the worker type says.",
        min=-1000, max=1000, required=False)

    enabled = Bool(
        title="Enabled",
        description="Start the worker; an override with 'no' switches this "
                    "directive off.  Default: yes.",
        required=False, default=True)


class ITriggerDirective(IStartDirective):
    """Start a worker when something happens."""

    for_ = Tokens(
        title="For",
        description="An event interface, or the interfaces of an object and "
                    "of the event, as in <subscriber>.",
        # The missing_value allows "*" for None, as in <subscriber>.
        value_type=GlobalObject(missing_value=object()))

    condition = GlobalObject(
        title="Condition",
        description="A function, called with the object and the event, or "
                    "with the event alone; the worker is started only if it "
                    "returns a true value.  Default: always.",
        required=False)

    input = GlobalObject(
        title="Input",
        description="A function, called as 'condition' is; returns the "
                    "input, a dict.  Default: no input.",
        required=False)

    delay = Float(
        title="Delay",
        description="Seconds that the run waits, at least.  Default: 0.",
        min=0.0, max=LONGEST, required=False, default=0.0)

    name = TextLine(
        title="Name",
        description="The unique name of the trigger, for overrides.  "
                    "Default: made of 'worker' and 'for'.",
        required=False)


def trigger(_context, for_, worker, condition=None, input=None, unique=None,
            delay=0.0, priority=None, name=None, enabled=True):
    """Subscribe a `Trigger`."""
    who = 'trigger of %r' % worker
    if name is None:
        # Two triggers for the same then conflict; the name says the remedy.
        name = '%s: %s (give each a name="…" of its own)' % (
            worker, ' '.join(map(_say_interface, for_)))
    made = _checked(makeTrigger, worker, for_, condition, input, unique,
                    delay, priority, name)
    _context.action(
        discriminator=('cipher.background.trigger', name),
        callable=provideTrigger if enabled else withdrawTrigger,
        args=(made, for_))
    _check_at_the_end(_context, 'trigger', name, who, worker, input, enabled)


def listTriggers():
    """Return the triggers that are subscribed."""
    return [registration.handler for registration
            in getGlobalSiteManager().registeredHandlers()
            if isinstance(registration.handler, Trigger)]


def provideTrigger(made, interfaces):
    """Subscribe a trigger in place of the one of its name."""
    withdrawTrigger(made, interfaces)
    provideHandler(made, interfaces)


def withdrawTrigger(made, interfaces):
    """Take away the trigger with the name of *made*, if there is one.

    Python may have declared it, where ZCML sees no conflict.
    """
    manager = getGlobalSiteManager()
    for registration in list(manager.registeredHandlers()):
        found = registration.handler
        if isinstance(found, Trigger) and found.name == made.name:
            manager.unregisterHandler(found, registration.required)


def _say_interface(interface):
    return getattr(interface, '__identifier__', None) or (
        '*' if interface is None else '%s.%s' % (
            interface.__module__, interface.__qualname__))


class IScheduleDirective(IStartDirective):
    """Start a worker at certain times."""

    cron = TextLine(
        title="Cron expression",
        description="Minute, hour, day of the month, month, day of the week; "
                    "or @hourly, @daily, @weekly, @monthly, @yearly.  Give "
                    "this or 'every'.",
        required=False)

    every = Float(
        title="Every",
        description="Seconds from one start to the next.  Give this or "
                    "'cron'.",
        required=False)

    timezone = TextLine(
        title="Time zone",
        description="The time zone of the cron expression, such as "
                    "Europe/Vilnius.  Default: UTC.",
        required=False, default='UTC')

    input = GlobalObject(
        title="Input",
        description="A function without arguments; returns the input, a "
                    "dict.  Default: no input.",
        required=False)

    name = TextLine(
        title="Name",
        description="The unique name of the schedule.  Default: the name of "
                    "the worker.",
        required=False)

    context = GlobalObject(
        title="Context",
        description="A function without arguments, called in the site; "
                    "returns the object that the run is about.  Default: "
                    "none.",
        required=False)

    description = MessageID(
        title="Description",
        description="A text for administrators about the purpose.",
        required=False)

    misfire = Float(
        title="Misfire",
        description="Seconds that a start may be late, after a time without "
                    "any process; a later one is skipped.  Default: it starts "
                    "once, however late.",
        required=False)


def schedule(_context, worker, cron=None, every=None, timezone='UTC',
             input=None, name=None, context=None, unique=None, priority=None,
             description=None, misfire=None, enabled=True):
    """Register a `Schedule` as a named utility."""
    name = name or worker
    made = _checked(
        makeSchedule, name, worker, cron, every, timezone, input, context,
        unique=unique, priority=priority, description=description or '',
        misfire=misfire)
    _context.action(
        discriminator=('cipher.background.schedule', name),
        callable=provideUtility if enabled else withdrawSchedule,
        args=(made, ISchedule, name))
    _check_at_the_end(_context, 'schedule', name, 'schedule %r' % name,
                      worker, input, enabled)


def withdrawSchedule(made, provided, name):
    """Take away the schedule *name*, if there is one."""
    getGlobalSiteManager().unregisterUtility(provided=provided, name=name)


def _checked(make, *args, **kwargs):
    try:
        return make(*args, **kwargs)
    except InvalidDeclaration as error:
        raise ConfigurationError(str(error)) from None


def _check_at_the_end(_context, kind, name, who, worker, input, enabled):
    # The discriminator has the name of the trigger or schedule, so that an
    # override of that overrides the check as well.
    _context.action(
        discriminator=('cipher.background.check', kind, name),
        callable=checkWorker if enabled else None, order=_LAST,
        args=(who, worker, input, _context.info))


def checkWorker(who, worker, input, info):
    """Check that *worker* is declared, and has the input that it needs."""
    worker_type = queryWorkerType(worker)
    if worker_type is None:
        log.warning('%s: expected the name of a declared worker type, got %r; '
                    'declare it with <background:worker />: until then each '
                    'start fails (%s)', who, worker, info)
    else:
        _checked(checkStart, who, worker_type, input)
