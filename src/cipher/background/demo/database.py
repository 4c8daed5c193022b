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
"""The demo's database: open a zodburi, or raise one clear error."""
import re
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

from zc.lockfile import LockError
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zodburi import NoResolverForScheme
from zodburi import resolve_uri


#: Path of the database below the home; ``--db`` overrides it.
DEFAULT_PATH = Path('var', 'demo.fs')

_FILE = 'file://'
#: The first bytes of every FileStorage.
_MAGIC = b'FS'


class DemoError(Exception):
    """The demo cannot start; the text says why and what to do."""


def open_database(uri, home, fresh, connections):
    """Return the DB of the zodburi *uri*.

    None is the default file below *home*.  *fresh* empties the database first;
    it must be a file.  *connections* is the size of the pool.  Raise
    `DemoError` with nothing changed.
    """
    if uri is None:
        path = Path(home).absolute() / DEFAULT_PATH
        shown = str(path)
        factory, settings = partial(FileStorage, str(path)), {}
    else:
        # zodburi does not know the common name of this scheme.
        uri = re.sub('^postgresql://', 'postgres://', uri)
        shown = hide_password(uri)
        factory, settings = _resolve(uri, shown)
        path = _get_path(uri)
    _check_file(path, shown)
    if fresh:
        if path is None:
            raise DemoError(
                '--fresh: expected a database that is one plain file, got '
                '%s; leave out --fresh' % shown)
        factory = partial(FileStorage, str(path), create=True)
    if uri is None:
        _make_folder(path)
    storage = _open_storage(factory, path, shown)
    settings['pool_size'] = max(settings.get('pool_size', 0), connections)
    try:
        return DB(storage, **settings)
    except Exception as error:
        storage.close()
        raise DemoError(
            '--db: expected a database that opens, got %s: %s at %s; give '
            'another' % (type(error).__name__, error, shown)) from None


def hide_password(uri):
    """Return *uri* with its passwords masked, to print it."""
    # To the last "@": a password may contain any character.
    uri = re.sub(r'(//[^/:@?#]*:).*@', r'\1***@', uri, flags=re.DOTALL)
    return re.sub(r'([?& ]password=)[^&# ]*', r'\1***', uri) or "''"


def _resolve(uri, shown):
    try:
        return resolve_uri(uri)
    except NoResolverForScheme:
        scheme, colon, _rest = uri.partition(':')
        if scheme == 'postgres':
            raise DemoError(
                '--db: expected RelStorage to be installed for %s, got none; '
                'run: pip install "RelStorage[postgresql]"' % shown) from None
        raise DemoError(
            '--db: expected a zodburi such as file:///tmp/demo.fs or '
            'zeo://localhost:8100, got %s; %s' % (shown, (
                'there is no scheme %r' % scheme) if colon else
                'put file:// before a path')) from None
    except Exception as error:
        raise DemoError(
            '--db: expected a zodburi such as file:///tmp/demo.fs or '
            'zeo://localhost:8100, got %s (%s: %s); correct it' % (
                shown, type(error).__name__, error)) from None


def _get_path(uri):
    """Return the path of a plain file, None for anything else."""
    if not uri.startswith(_FILE):
        return None
    path, _mark, query = uri[len(_FILE):].partition('?')
    # With blobs or with a demo storage, the database is more than one file.
    if set(dict(parse_qsl(query))) & {
            'blobstorage_dir', 'demostorage', 'read_only'}:
        return None
    return Path(path)


def _check_file(path, shown):
    """Raise `DemoError` if the file is not a database.

    A storage would empty it, or create files beside it.
    """
    if path is None:
        return
    try:
        with path.open('rb') as file:
            start = file.read(len(_MAGIC))
    except OSError:
        return  # it does not exist yet, or opening it raises a clear error
    if start and start != _MAGIC:
        raise DemoError(
            '--db: expected the file of a FileStorage, got something else at '
            '%s; give another' % shown)


def _make_folder(path):
    """Make the folder of *path*; make it and the database in it private."""
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        # The database, and the files of the storage beside it.
        for file in folder.glob(path.name + '*'):
            if file.is_file() and not file.is_symlink():
                file.chmod(0o600)
    except OSError as error:
        raise DemoError(
            '--db: expected to make the folder %s, got "%s"; give another '
            'place with --db' % (folder, error.strerror or error)) from None


def _open_storage(factory, path, shown):
    try:
        return factory()
    except LockError:
        raise DemoError(
            '--db: expected the database %s to be free, got one locked by %s; '
            'end that one first, or give another --db'
            % (shown, _get_lock_holder(path))) from None
    except ImportError as error:
        raise DemoError(
            '--db: expected the library that opens %s to be installed, got '
            '"%s"; install it' % (shown, error)) from None
    except OSError as error:
        raise DemoError(
            '--db: expected to open %s, got "%s"; its folder has to exist, '
            'and the file has to be writable' % (
                shown, error.strerror or error)) from None
    except Exception as error:
        raise DemoError(
            '--db: expected a database that opens at %s, got %s: %s; give '
            'another' % (shown, type(error).__name__, error)) from None


def _get_lock_holder(path):
    try:
        pid = int(Path('%s.lock' % path).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 'another process'
    return 'the process %d' % pid
