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
import inspect

from zope.component import provideUtility
from zope.component.zcml import utility
from zope.configuration.exceptions import ConfigurationError
from zope.configuration.fields import GlobalInterface
from zope.configuration.fields import GlobalObject
from zope.configuration.fields import MessageID
from zope.interface import Interface
from zope.schema import Choice
from zope.schema import Float
from zope.schema import Int
from zope.schema import TextLine
from zope.schema import getFieldNamesInOrder
from zope.security.zcml import Permission

from cipher.background.interfaces import ON_INTERRUPT
from cipher.background.interfaces import RERUN
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IWorkerType
from cipher.background.runtime import RuntimeSettings
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.workertype import WorkerType


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

    on_interrupt = Choice(
        title="On interrupt",
        description="What becomes of a run whose process dies while it runs: "
                    "'rerun', or 'fail' for what touches the world outside "
                    "the database and must not happen twice.  Default: "
                    "rerun.",
        values=ON_INTERRUPT, required=False, default=RERUN)


def worker(_context, name, class_=None, handler=None, title=None,
           description=None, schema=None, permission=None,
           on_interrupt=RERUN):
    """Register a worker type as a named utility."""
    who = 'worker %r' % name
    if (class_ is None) == (handler is None):
        raise ConfigurationError(
            '%s: expected exactly one of class and handler, got %s; give the '
            'one that does the work'
            % (who, 'neither' if class_ is None else 'both'))
    if permission == 'zope.Public':
        raise ConfigurationError(
            '%s: expected a permission that not everybody has, got '
            "'zope.Public'; leave it out for %r" % (who, START_WORKERS))
    if class_ is not None:
        _check_class(who, class_)
    elif not callable(handler):
        raise ConfigurationError(
            '%s: handler must be callable, got %r' % (who, handler))
    _check_keywords(who, class_, handler, schema)
    worker_type = WorkerType(
        name, factory=class_, handler=handler, title=title,
        description=description or '', schema=schema,
        permission=permission or START_WORKERS,
        on_interrupt=on_interrupt,
        is_loop=class_ is not None and not issubclass(class_, BackgroundJob))
    # Our own discriminator, so that a conflict names the worker.
    _context.action(
        discriminator=('cipher.background.worker', name),
        callable=provideUtility, args=(worker_type, IWorkerType, name))


def _check_class(who, class_):
    if not (isinstance(class_, type)
            and issubclass(class_, BackgroundWorkerThread)):
        raise ConfigurationError(
            '%s: class must be a subclass of BackgroundWorkerThread, got %r'
            % (who, class_))


def _check_keywords(who, class_, handler, schema):
    """Refuse a schema whose fields the worker cannot take."""
    names = getFieldNamesInOrder(schema) if schema is not None else ()
    if 'context' in names:
        raise ConfigurationError(
            "%s: expected a schema without a field 'context', got %s; that "
            'is what the run is about' % (who, schema.__identifier__))
    keywords = dict.fromkeys(names)
    if handler is not None:
        target, positional = handler, (None,)
    else:
        target, positional = class_, (None,) * 4
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*positional, **keywords)
    except TypeError as error:
        title = getattr(target, '__name__', repr(target))
        raise ConfigurationError(
            '%s: expected %s to take the fields of its schema (%s) as '
            'keywords, got %s%s; %s'
            % (who, title, ', '.join(names) or 'none', title, signature,
               error))


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


def runtime(_context, threads=4, drain=15.0, poll=1.0, lease=90.0):
    """Register the settings; the runtime begins when a database opens."""
    settings = RuntimeSettings(
        threads=threads, drain=drain, poll=poll, lease=lease)
    utility(_context, IRuntimeSettings, component=settings)
