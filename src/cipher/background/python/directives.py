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
"""The directives as functions and decorators of Python.

Each function validates its arguments by the fields of the directive and calls
the handler of the directive, so it makes the very checks that ZCML makes.  It
registers in the global registry of components, as ZCML does.
"""
import sys
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import zope.component.event  # it dispatches the events
from zope.component import getGlobalSiteManager
from zope.component import getSiteManager
from zope.component import getUtilitiesFor
from zope.component import provideUtility
from zope.component import zcml as componentzcml
from zope.configuration.exceptions import ConfigurationError
from zope.configuration.fields import Tokens
from zope.interface import providedBy
from zope.interface.interface import InterfaceClass
from zope.interface.interfaces import IObjectEvent
from zope.processlifetime import IDatabaseOpenedWithRoot
from zope.schema import Float
from zope.schema import Int
from zope.schema import getFieldsInOrder
from zope.schema.interfaces import ValidationError
from zope.schema.interfaces import WrongType
from zope.security.interfaces import IPermission
from zope.security.permission import checkPermission

from cipher.background import zcml
from cipher.background.alerts.sending import PLAIN
from cipher.background.declaring import checkStart
from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import NOT_UNIQUE
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import THREADS
from cipher.background.interfaces import InvalidDeclaration
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import IWorkerType
from cipher.background.subscribers import startRuntimeOfDatabase
from cipher.background.util.text import safeRepr


def declareWorker(
        name: str, class_: type | None = None,
        handler: Callable[..., Any] | None = None, title: str | None = None,
        description: str | None = None, schema: InterfaceClass | None = None,
        permission: str | None = None, view_permission: str | None = None,
        on_interrupt: str = RERUN, max_attempts: int = 1,
        retry_delay: float = 10.0, max_running: int | None = None,
        unique: str = NOT_UNIQUE, priority: int = 0,
        run_as: str = AS_STARTER, stop_timeout: float = 60.0,
        autostart: bool = False, keep_days: float | None = None,
        keep: int | None = None, former: Sequence[str] | None = None,
        share: bool | None = None, *, override: bool = False) -> None:
    """Declare a worker type, as ``<background:worker>`` does.

    Give *class_* or *handler*.  With *override* it takes the place of a type
    of that name; otherwise that is refused.  Raise `InvalidDeclaration` for a
    declaration that cannot work.
    """
    _declare('worker', locals())


def declareTrigger(
        for_: Any, worker: str, condition: Callable[..., Any] | None = None,
        input: Callable[..., dict] | None = None, unique: str | None = None,
        delay: float = 0.0, priority: int | None = None,
        name: str | None = None, enabled: bool = True, *,
        override: bool = False) -> None:
    """Start a worker when something happens: ``<background:trigger>``.

    *for_* is the interface of an event, or a pair of the interface of an
    object and that of an event.  Declare the worker type first.  With
    *override* it takes the place of the trigger of that name.  Raise
    `InvalidDeclaration` for a declaration that cannot work.
    """
    if not isinstance(for_, (tuple, list)):
        for_ = for_,
    _declare('trigger', locals())


def declareSchedule(
        worker: str, cron: str | None = None, every: float | None = None,
        timezone: str = 'UTC', input: Callable[[], dict] | None = None,
        name: str | None = None, context: Callable[[], Any] | None = None,
        unique: str | None = None, priority: int | None = None,
        description: str | None = None, misfire: float | None = None,
        enabled: bool = True, *, override: bool = False) -> None:
    """Start a worker at certain times: ``<background:schedule>``.

    Give *cron* or *every*.  Declare the worker type first.  With *override*
    it takes the place of the schedule of that name.  Raise
    `InvalidDeclaration` for a declaration that cannot work.
    """
    _declare('schedule', locals())


def declareRuntime(
        threads: int = 4, drain: float = 15.0, poll: float = 1.0,
        lease: float = 90.0, grace: float = 86400.0, executor: str = THREADS,
        deployment: str | None = None, types: Sequence[str] | None = None,
        share: bool = False, *, override: bool = False) -> None:
    """Let this process carry out runs, as ``<background:runtime>`` does.

    The runtime starts when the host notifies that it has opened the database.
    A program without such events calls `startRuntime` instead.
    """
    _declare('runtime', locals())
    # Our ZCML may register it as well: the second call has no effect.
    _subscribe(startRuntimeOfDatabase, IDatabaseOpenedWithRoot)


def declareWeb(
        base_url: str | None = None, proxy_sets_scheme: bool = False,
        trusts_virtual_hosts: bool = False, *,
        override: bool = False) -> None:
    """Say how browsers reach this process: ``<background:web>``."""
    _declare('web', locals())


def declareMonitoring(
        public_health: bool = False, ignore_problems: bool = False,
        token_variable: str | None = None, token: str | None = None, *,
        override: bool = False) -> None:
    """Say who may see health and metrics: ``<background:monitoring>``."""
    _declare('monitoring', locals())


def declareAlerts(
        name: str = 'alerts', mail_to: Sequence[str] | None = None,
        mail_from: str | None = None, smtp_host: str = 'localhost',
        smtp_port: int | None = None, smtp_security: str = PLAIN,
        smtp_user: str | None = None, password_variable: str | None = None,
        webhook: str | None = None, webhook_variable: str | None = None,
        token_variable: str | None = None, interval: float = 900.0,
        failures: bool = True, timeout: float = 20.0, language: str = 'en',
        url: str | None = None, permission: str | None = None, *,
        override: bool = False) -> None:
    """Declare a worker type that sends alerts: ``<background:alerts>``.

    A schedule runs it.  Raise `InvalidDeclaration` for a declaration that
    cannot work.
    """
    _declare('alerts', locals())


#: The name of each directive: its fields, its handler and its function.
DIRECTIVES = {
    'worker': (zcml.IWorkerDirective, zcml.worker, declareWorker),
    'trigger': (zcml.ITriggerDirective, zcml.trigger, declareTrigger),
    'schedule': (zcml.IScheduleDirective, zcml.schedule, declareSchedule),
    'runtime': (zcml.IRuntimeDirective, zcml.runtime, declareRuntime),
    'web': (zcml.IWebDirective, zcml.web, declareWeb),
    'monitoring': (zcml.IMonitoringDirective, zcml.monitoring,
                   declareMonitoring),
    'alerts': (zcml.IAlertsDirective, zcml.alerts, declareAlerts),
}


def _declare(directive, values):
    override = values.pop('override')
    frame = sys._getframe(2)
    actions = Actions()
    actions.add(directive, values, 'File "%s", line %d' % (
        frame.f_code.co_filename, frame.f_lineno))
    actions.execute(override)


class Actions:
    """The context of the directives' handlers: it collects their actions."""

    def __init__(self):
        self._actions = []   # of (order, who, discriminator, callable, args)

    def add(self, directive, values, info):
        """Check a declaration and collect its actions.

        *values* are the arguments by name.  *info* says where it stands.
        Raise `InvalidDeclaration`.
        """
        schema, handler, _function = DIRECTIVES[directive]
        self.info = info
        self._who = _who(directive, values)
        _refusing(handler, self, **{
            name: self._validate(name, field, values[name])
            for name, field in getFieldsInOrder(schema) if name in values})

    def action(self, discriminator, callable=None, args=(), kw=None, order=0,
               **_options):
        """See `zope.configuration.interfaces.IConfigurationContext`."""
        self._actions.append((order, self._who, discriminator, callable, args))

    def _validate(self, name, field, value):
        if value is None and not field.required:
            return None
        if isinstance(field, Tokens) and isinstance(value, (tuple, list)):
            value = list(value)
        elif isinstance(field, Float) and type(value) is int:
            value = float(value)
        try:
            if isinstance(field, Int) and isinstance(value, bool):
                raise WrongType(value, int, name)
            field.bind(self).validate(value)
        except ValidationError as error:
            raise InvalidDeclaration(
                '%s: expected %s to fit its description, got %s (%s); it '
                'says: %s' % (self._who, name.rstrip('_'),
                              safeRepr(value, 200), type(error).__name__,
                              field.description)) from None
        return value

    def execute(self, override=False):
        """Register all; register nothing if a declaration is refused."""
        actions = sorted(self._actions, key=lambda action: action[0])
        types = {args[0].name: args[0]
                 for _order, _who, _discriminator, call, args in actions
                 if call is provideUtility and args[1] is IWorkerType}
        seen = set()
        for _order, who, discriminator, call, args in actions:
            if call is checkPermission:
                _check_permission(who, *args)
            elif call is zcml.checkWorker and args[1] in types:
                checkStart(who, types[args[1]], args[2])
            elif call is zcml.checkWorker:
                _refusing(call, *args)
            elif discriminator is not None:
                if discriminator in seen or (
                        not override and _find(discriminator)):
                    _refuse_twin(who)
                seen.add(discriminator)
        for worker_type in types.values():
            _check_starts(worker_type)
        for _order, _who, discriminator, call, args in actions:
            if discriminator is not None and call not in _CHECKS:
                _register(discriminator, call, args)


_CHECKS = checkPermission, zcml.checkWorker, None

#: Each of them takes the place of what has its name.
_FOR_ZCML = (
    zcml.provideTrigger, zcml.withdrawTrigger, zcml.withdrawSchedule)


def _who(directive, values):
    if directive == 'worker':
        return 'worker %s' % safeRepr(values['name'], 100)
    if directive == 'trigger':
        return 'trigger of %s' % safeRepr(values['worker'], 100)
    if directive == 'schedule':
        return 'schedule %s' % safeRepr(
            values['name'] or values['worker'], 100)
    return directive


def _refusing(call, *args, **kw):
    try:
        return call(*args, **kw)
    except InvalidDeclaration:
        raise
    except (ConfigurationError, ValueError) as error:
        raise InvalidDeclaration(str(error)) from None


def _check_permission(who, context, permission):
    try:
        checkPermission(context, permission)
    except ValueError:
        # A host without any has its own idea of permissions.
        if any(getUtilitiesFor(IPermission)):
            raise InvalidDeclaration(
                '%s: expected a permission that is defined, got %r; define '
                'it first, with <permission id=… /> for example'
                % (who, permission)) from None


def _check_starts(worker_type):
    """Refuse *worker_type* if what starts it gives no input and it needs it.
    """
    manager = getGlobalSiteManager()
    for name, schedule in manager.getUtilitiesFor(ISchedule):
        if schedule.worker == worker_type.name:
            checkStart('schedule %r' % name, worker_type, schedule.input)
    for trigger in zcml.listTriggers():
        if trigger.worker == worker_type.name:
            checkStart('trigger of %r' % trigger.worker, worker_type,
                       trigger.input)


# What is registered

def _find(discriminator):
    """Return what is registered under a discriminator of ours, or None."""
    kind, name = discriminator[0], discriminator[-1]
    manager = getGlobalSiteManager()
    if kind == 'cipher.background.trigger':
        return next((
            one for one in zcml.listTriggers() if one.name == name), None)
    return manager.queryUtility(_provided(discriminator), name)


def _provided(discriminator):
    return {'cipher.background.worker': IWorkerType,
            'cipher.background.schedule': ISchedule,
            }.get(discriminator[0], discriminator[1])


def _register(discriminator, call, args):
    """Register something instead of what has that discriminator."""
    manager = getGlobalSiteManager()
    if call in _FOR_ZCML:
        call(*args)
        if call is zcml.provideTrigger and len(args[1]) == 2:
            _subscribe(notifyOfObject, IObjectEvent)
        return
    found = _find(discriminator)
    if found is not None:
        manager.unregisterUtility(
            found, _provided(discriminator), discriminator[-1])
    manager.registerUtility(*(
        args[1:4] if call is componentzcml.handler else args))


def _refuse_twin(who):
    raise InvalidDeclaration(
        '%s: expected one declaration of that name, got a second; give it '
        'another name, or override=True to let it take the place of the '
        'first' % who)


def _subscribe(handler, interface):
    manager = getGlobalSiteManager()
    if not any(registration.handler is handler
               for registration in manager.registeredHandlers()):
        manager.registerHandler(handler, (interface,))


def notifyOfObject(event):
    """Dispatch an event to subscribers for its object and itself.

    Do nothing if the ZCML of zope.component does it already.
    """
    handler = zope.component.event.objectEventNotify
    if handler not in getSiteManager().adapters.subscriptions(
            [providedBy(event)], None):
        handler(event)
