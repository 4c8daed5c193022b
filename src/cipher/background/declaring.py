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
"""Make worker types, triggers and schedules from checked declarations.

ZCML calls these functions, and other code that declares something may call
them.  They raise `InvalidDeclaration` for a declaration that cannot work.
They register nothing.
"""
import inspect
import logging
from dataclasses import replace

from zope.interface import Interface
from zope.interface.interface import Method
from zope.interface.interfaces import IInterface
from zope.interface.interfaces import IObjectEvent
from zope.location.interfaces import ILocation
from zope.schema import getFieldNamesInOrder
from zope.schema import getFieldsInOrder

from cipher.background.declarations.schedule import Schedule
from cipher.background.declarations.schedule import checkCron
from cipher.background.declarations.schedule import getZone
from cipher.background.declarations.workertype import WorkerType
from cipher.background.interfaces import AS_STARTER
from cipher.background.interfaces import NOT_UNIQUE
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import STOP_WORKERS
from cipher.background.interfaces import VIEW_DETAILS
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import InvalidDeclaration
from cipher.background.job import ItemsJob
from cipher.background.registry.triggers import Trigger
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util.calling import ASYNC_GENERATOR
from cipher.background.util.calling import COROUTINE
from cipher.background.util.calling import GENERATOR
from cipher.background.util.calling import kindOf
from cipher.background.util.text import safeRepr
from cipher.background.work.shared import listObstacles


log = logging.getLogger(__name__)

#: Seconds: a hundred years.  A longer delay or interval is a mistake, and its
#: times may be out of the range of `datetime`.
LONGEST = 100 * 366 * 86400.0

# Permissions that do not suffice to start work with the rights of another.
_GENERAL = (VIEW_WORKERS, VIEW_DETAILS, START_WORKERS, STOP_WORKERS)

# Methods that must have done their work when they return.
_PLAIN = ('scheduleNextWork', 'doCleanup', 'getSite', 'getTransactionNote',
          'getCleanupNote', 'retryDelay')
_PLAIN_OF_ITEMS = ('processItem', 'countItems', 'getResult')


# Worker types

def makeWorkerType(name, class_=None, handler=None, former=(), **values):
    """Return the worker types of a declaration, a list.

    The first is called *name*.  The others have the names in *former*: runs
    that were started under one of them are carried out by this type.
    *values* are other attributes of `WorkerType`.
    """
    who = 'worker %r' % name
    if (class_ is None) == (handler is None):
        _refuse(who, 'exactly one of class and handler, got %s; give the one '
                'that does the work' % (
                    'neither' if class_ is None else 'both'))
    for attribute in 'permission', 'view_permission':
        if values.get(attribute) == 'zope.Public':
            _refuse(who, 'a %s that some people lack, got \'zope.Public\'; '
                    'leave it out for %s' % (attribute, (
                        repr(START_WORKERS) if attribute == 'permission'
                        else 'no restriction')))
    if class_ is not None:
        _check_class(who, class_)
    elif not callable(handler):
        raise InvalidDeclaration(
            '%s: handler must be callable, got %r' % (who, handler))
    else:
        _check_kind(who, 'handler', handler, GENERATOR, ASYNC_GENERATOR)
    values['permission'] = values.get('permission') or START_WORKERS
    worker_type = WorkerType(
        name, factory=class_, handler=handler,
        is_loop=class_ is not None and not issubclass(class_, BackgroundJob),
        **values)
    _check_keywords(who, class_, handler, worker_type.schema)
    _check_values(who, worker_type)
    _check_use(who, worker_type, former)
    return [worker_type, *(
        replace(worker_type, name=old, current=name) for old in former)]


def _check_class(who, class_):
    if not (isinstance(class_, type)
            and issubclass(class_, BackgroundWorkerThread)):
        raise InvalidDeclaration(
            '%s: class must be a subclass of BackgroundWorkerThread, got %r'
            % (who, class_))
    _check_method(who, class_, 'doWork', GENERATOR, ASYNC_GENERATOR)
    names = _PLAIN
    if issubclass(class_, ItemsJob):
        if class_.processItem is ItemsJob.processItem:
            _refuse(who, '%s to override processItem, got the method of '
                    'ItemsJob; write one' % class_.__name__)
        for name in 'items', 'getCollection':
            _check_method(who, class_, name, COROUTINE, ASYNC_GENERATOR)
        names += _PLAIN_OF_ITEMS
    for name in names:
        _check_method(who, class_, name, *_ALL_KINDS)


_ALL_KINDS = COROUTINE, GENERATOR, ASYNC_GENERATOR


def _check_method(who, class_, name, *refused):
    method = getattr(class_, name)
    if callable(method):
        _check_kind(who, '%s.%s' % (class_.__name__, name), method, *refused)


def _check_kind(who, what, function, *refused):
    kind = kindOf(function)
    if kind in refused:
        _refuse(who, '%s to return when it is done, got %s; make it a plain '
                'function%s' % (what, kind, '' if COROUTINE in refused
                                else ' or a coroutine function'))


def _check_keywords(who, class_, handler, schema):
    """Refuse a schema whose fields the worker cannot take."""
    names = getFieldNamesInOrder(schema) if schema is not None else ()
    if 'context' in names:
        _refuse(who, "a schema without a field 'context', got %s; that name "
                'is for the object that the run is about'
                % schema.__identifier__)
    target, positional = ((handler, 1) if handler is not None
                          else (class_, 4))
    _check_call(who, target, positional, dict.fromkeys(names),
                'the fields of its schema (%s) as keywords'
                % (', '.join(names) or 'none'))


def _check_call(who, target, number, keywords, what):
    """Refuse *target* unless it can be called with these arguments.

    *number* is the number of positional ones.  *what* names them in the
    message.
    """
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*[None] * number, **keywords)
    except TypeError as error:
        title = getattr(target, '__name__', None) or safeRepr(target, 200)
        _refuse(who, '%s to take %s, got %s%s; %s' % (
            title, what, title, signature, error))


def _check_values(who, worker_type):
    for name in 'retry_delay', 'stop_timeout':
        if not getattr(worker_type, name) >= 0:
            _refuse(who, '%s in seconds, got %r; give a number' % (
                name, getattr(worker_type, name)))
    days = worker_type.keep_days
    if days is not None and not days >= 0:
        _refuse(who, 'keep_days to be a number of days, or inf for ever, got '
                '%r; give one of these' % days)


def _check_use(who, worker_type, former):
    """Refuse options that have no effect for this kind of worker."""
    if worker_type.autostart and not worker_type.is_loop:
        raise InvalidDeclaration(
            '%s: autostart must be for a loop, a subclass of '
            'BackgroundWorkerThread but not of BackgroundJob, got %r'
            % (who, worker_type.factory or worker_type.handler))
    if worker_type.autostart:
        _check_needed(who, worker_type, 'a service that needs no input',
                      'give each field a default')
    if worker_type.is_loop:
        for name, default in (('max_attempts', 1), ('retry_delay', 10.0),
                              ('unique', NOT_UNIQUE)):
            if getattr(worker_type, name) != default:
                _refuse(who, 'no %s for a loop, got %r; leave it out%s' % (
                    name, getattr(worker_type, name),
                    ', or give max_running' if name == 'unique' else
                    ': autostart keeps a loop running'))
    if worker_type.share:
        _check_share(who, worker_type)
    if worker_type.run_as != AS_STARTER and (
            worker_type.permission in _GENERAL):
        _refuse(who, 'a permission of its own for run_as="%s", got %r; give '
                'one for people who may do all that the worker does'
                % (worker_type.run_as, worker_type.permission))
    if worker_type.name in former or len(set(former)) != len(former):
        _refuse(who, 'former names other than its own, each once, got %s; '
                'leave the others out' % ', '.join(map(repr, former)))


def _check_share(who, worker_type):
    """Refuse to share commits for a type whose runs need their own."""
    for obstacle in listObstacles(worker_type):
        _refuse(who, 'no share="yes" for %s, got %s; leave out one: %s'
                % obstacle)


# Triggers

def makeTrigger(worker, interfaces, condition=None, input=None, unique=None,
                delay=0.0, priority=None, name=None):
    """Return the `Trigger` of a declaration."""
    who = 'trigger of %r' % worker
    if len(interfaces) not in (1, 2):
        _refuse(who, 'for with an event interface, or with those of an object '
                'and an event, got %d' % len(interfaces))
    _check_hooks(who, len(interfaces), condition=condition, input=input)
    if not 0 <= delay <= LONGEST:
        _refuse(who, 'a delay in seconds from 0 to a hundred years, got %r; '
                'give a number' % delay)
    _check_interfaces(who, interfaces)
    return Trigger(worker, condition, input, unique, delay, priority, name)


def _check_interfaces(who, interfaces):
    """Refuse interfaces that no event can match."""
    event = interfaces[-1]
    if len(interfaces) == 2:
        subject = interfaces[0]
        if _is_event(subject) and not _is_event(event):
            _refuse(who, 'for with the interface of an object and that of an '
                    'event, got %s before %s; swap them' % (
                        _name(subject), _name(event)))
    if _is_thing(event):
        _refuse(who, 'for with %s, got %s, which no event provides; add one, '
                'as zope.lifecycleevent.interfaces.IObjectModifiedEvent' % (
                    'an event interface' if len(interfaces) == 1
                    else 'an event interface as the second', _name(event)))
    if _is_bare(event):
        log.warning('%s: expected an event interface, got %s, which has no '
                    'attributes; it starts nothing unless an event provides '
                    'that', who, _name(event))


def _is_event(interface):
    return IInterface.providedBy(interface) and (
        interface.isOrExtends(IObjectEvent)
        or interface.__name__.endswith('Event'))


def _is_thing(interface):
    """Return whether *interface* is clearly one of objects, not of events.

    An interface of objects has fields, or says where they are located.  One
    of events has attributes.  Other interfaces may be of either kind.
    """
    if not IInterface.providedBy(interface) or interface is Interface or (
            _is_event(interface)):
        return False
    return interface.isOrExtends(ILocation) or bool(
        getFieldsInOrder(interface))


def _is_bare(interface):
    """Return whether *interface* has no attributes, so hardly is of events.
    """
    return (IInterface.providedBy(interface) and interface is not Interface
            and not _is_event(interface)
            and all(isinstance(interface[name], Method)
                    for name in interface.names(all=True)))


def _name(interface):
    return getattr(interface, '__identifier__', None) or safeRepr(
        interface, 100)


# Schedules

def makeSchedule(name, worker, cron=None, every=None, timezone='UTC',
                 input=None, context=None, **values):
    """Return the `Schedule` of a declaration."""
    who = 'schedule %r' % name
    if (cron is None) == (every is None):
        _refuse(who, 'exactly one of cron and every, got %s'
                % ('neither' if cron is None else 'both'))
    _check_hooks(who, 0, input=input, context=context)
    misfire = values.get('misfire')
    try:
        getZone(timezone)
        if cron is not None:
            checkCron(cron)
        elif not 0 < every <= LONGEST:
            raise ValueError(
                'every: expected seconds greater than 0, at most a hundred '
                'years, got %r' % every)
        if misfire is not None and not 0 < misfire <= LONGEST:
            raise ValueError(
                'misfire: expected seconds greater than 0, at most a hundred '
                'years, got %r; leave it out to start however late'
                % misfire)
    except ValueError as error:
        raise InvalidDeclaration('%s: %s' % (who, error)) from None
    return Schedule(name, worker, cron, every, timezone, input,
                    context=context, **values)


# Checks that need the worker type, which may be declared last

def checkStart(who, worker_type, input):
    """Refuse a start of *worker_type* without the input that it needs.

    *who* names the trigger or schedule.  *input* is the function that makes
    the input, or None.
    """
    if input is None:
        _check_needed(who, worker_type, 'input= for the worker type %r'
                      % worker_type.name, 'give a function that returns a '
                      'dict')


def _check_needed(who, worker_type, expected, advice):
    needed = [name for name, field in getFieldsInOrder(worker_type.schema)
              if field.required and field.defaultFactory is None
              and field.default is None] if worker_type.schema else ()
    if needed:
        _refuse(who, '%s, got none for %s, which it needs; %s' % (
            expected, ', '.join(map(repr, needed)), advice))


def _check_hooks(who, number, **functions):
    for name, function in functions.items():
        if function is None:
            continue
        if not callable(function):
            raise InvalidDeclaration(
                '%s: %s must be callable, got %r' % (who, name, function))
        _check_kind(who, name, function, *_ALL_KINDS)
        _check_call(who, function, number, {}, (
            'no argument', 'the event', 'the object and the event')[number])


def _refuse(who, expected):
    raise InvalidDeclaration('%s: expected %s' % (who, expected))
