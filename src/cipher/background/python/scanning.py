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
"""Decorators that declare workers, and the scan that finds them.

A decorator only makes a note on the function or class.  `scan` imports the
modules of a package and declares what it finds there, all or nothing.  So a
module that is imported by a test or another program declares nothing.
"""
import inspect
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any
from typing import TypeVar

from cipher.background.interfaces import InvalidDeclaration
from cipher.background.python.directives import DIRECTIVES
from cipher.background.python.directives import Actions
from cipher.background.util.text import safeRepr


_Target = TypeVar('_Target', bound=Callable[..., Any])

_NOTES = '__background_declarations__'   # an attribute: [(directive, values)]


def worker(name: str, **options: Any) -> Callable[[_Target], _Target]:
    """Declare the function or class below as the worker type *name*.

    *options* are those of `declareWorker`, without ``class_`` and
    ``handler``.  `scan` finds it.
    """
    return _decorator('worker', {'name': name, **options},
                      ('class_', 'handler', 'override'))


def triggeredBy(*interfaces: Any, **options: Any
                ) -> Callable[[_Target], _Target]:
    """Start the worker below when something happens.

    *interfaces* are that of an event, or that of an object and that of an
    event.  *options* are those of `declareTrigger`.  `scan` finds it.
    """
    return _decorator('trigger', {'for_': interfaces, **options},
                      ('worker', 'override'))


def scheduled(**options: Any) -> Callable[[_Target], _Target]:
    """Start the worker below at certain times.

    *options* are those of `declareSchedule`.  `scan` finds it.
    """
    return _decorator('schedule', options, ('worker', 'override'))


def scan(*packages: ModuleType | str) -> None:
    """Declare what decorators in the modules of *packages* ask for.

    Each is a package or a module, or the dotted name of one.  All modules
    within are imported, but for ``__main__`` and those for tests (``tests``,
    ``test_…``, ``conftest``).  Raise `InvalidDeclaration`, and declare
    nothing, if one of the declarations cannot work.
    """
    actions = Actions()
    found = [each for package in packages for each in _find(package)]
    for kind in 'worker', 'trigger', 'schedule':
        for target, directive, values in found:
            if directive == kind:
                actions.add(directive, values, '%s.%s' % (
                    target.__module__, target.__qualname__))
    actions.execute()


def _decorator(directive, values, reserved):
    function = DIRECTIVES[directive][2]
    parameters = inspect.signature(function).parameters
    known = sorted(set(parameters) - set(reserved))
    for name in values:
        if name not in known:
            raise InvalidDeclaration(
                '%s: expected options to be some of %s, got %r; leave it out'
                % (directive, ', '.join(known), name))

    def decorate(target):
        if not inspect.isfunction(target) and not inspect.isclass(target) or (
                target.__qualname__ != target.__name__):
            raise InvalidDeclaration(
                '%s: expected a function or class of a module, got %s; move '
                'it there, where scan finds it, or call %s' % (
                    directive, getattr(target, '__qualname__', None)
                    or safeRepr(target, 100), function.__name__))
        # Not those of a base class.
        notes = vars(target).get(_NOTES, ())
        setattr(target, _NOTES, (*notes, (directive, values)))
        return target

    return decorate


def _find(package):
    """Yield (target, directive, its arguments) of the decorators."""
    if isinstance(package, str):
        package = import_module(package)
    seen = set()
    for module in _modules(package):
        for target in list(vars(module).values()):
            if getattr(target, '__module__', None) == module.__name__ and (
                    id(target) not in seen) and hasattr(target, '__dict__'):
                seen.add(id(target))
                yield from _declarations(target)


def _modules(package):
    yield package
    if hasattr(package, '__path__'):
        for info in _walk(package):
            yield import_module(info)


def _walk(package):
    """Return the names of the modules within, those of tests left out."""
    names = []
    for info in iter_modules(package.__path__, package.__name__ + '.'):
        last = info.name.rpartition('.')[2]
        if last in ('__main__', 'tests', 'conftest') or (
                last.startswith('test_')):
            continue
        names.append(info.name)
        if info.ispkg:
            names += _walk(import_module(info.name))
    return names


def _declarations(target):
    notes = vars(target).get(_NOTES, ())
    names = [values['name'] for directive, values in notes
             if directive == 'worker']
    if notes and len(names) != 1:
        raise InvalidDeclaration(
            '%s.%s: expected one decorator worker, got %d; give one, beside '
            'those of its triggers and schedules'
            % (target.__module__, target.__qualname__, len(names)))
    for directive, values in notes:
        if directive == 'worker':
            own = {'class_' if inspect.isclass(target) else 'handler': target}
        else:
            own = {'worker': names[0]}
        yield target, directive, {
            **_defaults(directive), **values, **own}


def _defaults(directive):
    signature = inspect.signature(DIRECTIVES[directive][2])
    return {name: parameter.default
            for name, parameter in signature.parameters.items()
            if name != 'override' and parameter.default is not parameter.empty}
