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
"""Open a database for a command, and find its registry.

A command with ``reads=True`` works in a `Session`::

    with Session(options) as session:
        session.verbs.getCounts()

A command that changes something opens it with ``is_writing=True`` and calls
`Session.write`.
"""
import getpass
import logging
import os
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import transaction
from zc.lockfile import LockError
from ZODB.POSException import ConflictError
from ZODB.POSException import StorageError
from zope.authentication.interfaces import PrincipalLookupError
from zope.component import hooks
from zope.configuration import xmlconfig
from zope.interface.interfaces import ComponentLookupError

from cipher.background.cli.command import CommandError
from cipher.background.cli.command import Unusable
from cipher.background.cli.uris import findPlace
from cipher.background.contextmanagers import ZopeInteraction
from cipher.background.contextmanagers import ZopeSite
from cipher.background.registry import verbs
from cipher.background.store import structure
from cipher.background.store.process import getDirectory
from cipher.background.util.host import Participation
from cipher.background.util.host import getHost
from cipher.background.util.opening import makeDB
from cipher.background.util.principal import actingAs


#: Seconds that the opening of a database may take.  A wrong address is then
#: reported within ten seconds, the start of Python included.
OPEN_LIMIT = 8

#: Tries of a change that conflicts with those of other processes.
TRIES = 10


class Session:
    """A context manager: the database and the registry of the *options*.

    With ``--user``, `verbs` is the `IVerbs` of the registry, and that
    principal has an interaction.  Else it is the registry itself: trusted
    code has no interaction, so everything is shown and permitted.  The site
    of the registry is set.  With ``needs_registry`` false, there is only the
    `connection`.

    Raise `Unusable`, at the latest ten seconds after the start.
    """

    db = connection = registry = verbs = None

    def __init__(self, options, is_writing=False, needs_registry=True):
        self.options = options
        self._is_writing = is_writing
        self._needs_registry = needs_registry

    def __enter__(self):
        # A library may log a warning; without a handler it goes to stderr.
        if not logging.getLogger().handlers:
            logging.getLogger().addHandler(logging.NullHandler())
        if self.options.user is not None and self.options.zcml is None:
            raise Unusable(
                '--user: expected --zcml with the principals and the security '
                'policy of the site, got none; give it')
        hooks.setHooks()
        if self.options.zcml is not None:
            loadZCML(self.options.zcml)
        self._place = findPlace(self.options.db, self._is_writing)
        self._open()
        return self

    def __exit__(self, *error):
        self._stack.close()

    def _open(self):
        self.db = openDatabase(self._place)
        with ExitStack() as stack:
            stack.callback(self.db.close)
            self._enter(stack)
            self._stack = stack.pop_all()

    def _enter(self, stack):
        """Enter the world of the database; *stack* leaves it again."""
        transaction.begin()
        self.connection = self.db.open()
        stack.callback(self.connection.close)
        stack.callback(transaction.abort)
        if not self._needs_registry:
            return
        self.registry = chooseRegistry(self.connection, self.options.site)
        stack.enter_context(ZopeSite(self.registry.getSite()))
        if self.options.user is None:
            stack.enter_context(actingAs(describeCaller()))
            self.verbs = self.registry
        else:
            stack.enter_context(ZopeInteraction(
                Participation(findPrincipal(self.options.user))))
            self.verbs = verbs.of(self.registry)

    def may(self, name):
        """Return whether the caller has the permission of the verb *name*."""
        return self.options.user is None or self.verbs.may(name)

    def refresh(self):
        """Look at the present state of the database.

        All objects that were loaded before are invalid afterwards.
        """
        if self._place.is_frozen:
            self._stack.close()
            self._open()
        else:
            transaction.begin()

    def write(self, act, note=None):
        """Commit what *act*, a function without arguments, does; return its
        result.

        It is called again after a conflict.  *note* is added to the notes of
        the transaction.
        """
        for left in reversed(range(TRIES)):
            txn = transaction.begin()
            if self.options.user is None:
                txn.setUser(describeCaller())
            else:
                txn.setUser(self.options.user)
            if note:
                txn.note(note)
            try:
                result = act()
                transaction.commit()
                return result
            except ConflictError as error:
                transaction.abort()
                if not left:
                    raise CommandError(
                        'expected a database with few changes, got %s %d '
                        'times; try again' % (type(error).__name__, TRIES)
                    ) from None
            except BaseException:
                transaction.abort()
                raise


def describeCaller():
    """Return who calls the command, for the journal."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = os.getuid()   # it has no name
    return 'command line, OS user %s' % name


def loadZCML(path):
    """Carry out the ZCML of the site; raise `Unusable`."""
    if not os.path.isfile(path):
        raise Unusable('--zcml: expected a ZCML file, got none at %.200s; '
                       'give the path of site.zcml' % path)
    path = Path(path).absolute()
    # Modules beside the file are found, as by "python serve.py".
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        with ZopeInteraction(Participation(getHost().getPrincipal(None))):
            xmlconfig.file(str(path))
    except Exception as error:
        raise Unusable(
            '--zcml: expected ZCML that loads, got %s: %s; correct it'
            % (type(error).__name__, error)) from error


def findPrincipal(principal_id):
    """Return the principal; raise `Unusable`."""
    try:
        return getHost().getPrincipal(principal_id)
    except ComponentLookupError:
        raise Unusable(
            '--user: expected --zcml with principals, got one without any '
            'authentication; include that of the site') from None
    except PrincipalLookupError:
        raise Unusable(
            '--user: expected the id of a principal of the site, got %.100r; '
            'give another' % principal_id) from None


def openDatabase(place):
    """Return the open DB of a `uris.Place`; raise `Unusable`."""
    try:
        return _within(OPEN_LIMIT, lambda: _open(place))
    except TimeoutError:
        raise Unusable(
            '--db: expected an answer from %s within %d seconds, got none; '
            'check the address, and that the server runs'
            % (place.shown, OPEN_LIMIT)) from None
    except LockError:
        raise Unusable(
            '--db: expected the database %s to be free, got one locked by %s; '
            'act on its pages or by its JSON, or use ZEO or RelStorage'
            % (place.shown, _get_lock_holder(place.path))) from None
    except ImportError as error:
        raise Unusable(
            '--db: expected the library that opens %s to be installed, got '
            '"%s"; install it' % (place.shown, error)) from None
    except Exception as error:
        raise Unusable(
            '--db: expected a database that opens at %s, got %s; check the '
            'address, and that a server runs there' % (
                place.shown, _describe(error))) from error


def _open(place):
    storage = place.open()
    try:
        return makeDB(storage, **place.settings)
    except BaseException:
        storage.close()
        raise


def _within(limit, function):
    """Return the result of *function*; raise ``TimeoutError``.

    It is called in a thread, because a library may wait for ever.
    """
    results, errors = [], []

    def call():
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(limit)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]


def _describe(error):
    return ': '.join(filter(None, (type(error).__name__, str(error))))


def _get_lock_holder(path):
    """Return the name of the process that has the FileStorage open."""
    try:
        pid = int(Path('%s.lock' % path).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 'another process'
    return 'the process %d' % pid


def chooseRegistry(connection, path=None):
    """Return the registry of the site at *path*, or above it.

    None: the only registry.  Raise `Unusable`.
    """
    try:
        directory = getDirectory(connection)
        if directory is not None:
            structure.checkVersion(directory)
        known = _list_registries(directory)
    except StorageError as error:
        raise Unusable(
            '--db: expected a database that can be read, got %s; check its '
            'server' % _describe(error)) from None
    if path is None:
        if len(known) > 1:
            raise Unusable(
                '--site: expected the path of a site, got none, and there are '
                '%d registries; give one of %s' % (
                    len(known), ', '.join(sorted(known))))
        (registry,) = known.values()
        return registry
    wanted = '/' + path.strip('/')
    registry = known.get(wanted) or known.get(path)
    if registry is None:
        registry = _find_above(wanted, known)
    if registry is None:
        raise Unusable(
            '--site: expected the path of a site with a registry, or below '
            'one, got %.100r; give one of %s' % (
                path, ', '.join(sorted(known))))
    return registry


def _list_registries(directory):
    """Return {path of its site: registry}; not empty."""
    registries = [] if directory is None else directory.listRegistries()
    if not registries:
        for registry in directory.listAllRegistries() if directory else ():
            structure.checkRegistry(registry)   # says what is wrong with it
        raise Unusable(
            '--db: expected a database with a registry of background work, '
            'got one without; add it with addRegistry(site)')
    known = {}
    for registry in registries:
        structure.checkRegistry(registry)
        path = getHost().pathOf(registry.getSite())
        if path in known:
            # Several applications in one database.
            path = '%s (0x%s)' % (path, registry._p_oid.hex().lstrip('0'))
        known[path] = registry
    return known


def _find_above(wanted, known):
    """Return the registry nearest above the path *wanted*, or None.

    There must be an object at the path.
    """
    for path in sorted(known, key=len, reverse=True):
        start = path.rstrip('/') + '/'
        if wanted.startswith(start):
            if walkTo(known[path].getSite(), wanted[len(start):]) is not None:
                return known[path]
    return None


def walkTo(ob, path):
    """Return the object at *path* below *ob*, or None; check no permission.
    """
    try:
        for name in path.strip('/').split('/'):
            ob = getHost().traverse(ob, name, is_trusted=True)
    except (LookupError, TypeError, AttributeError):
        return None
    return ob
