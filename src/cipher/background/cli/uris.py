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
"""URIs of databases: which storage to open, and how.

zodburi reads them if it is installed.  Without it, files and ZEO servers can
still be named, with fewer options.
"""
import re
from functools import partial
from pathlib import Path
from typing import Any
from typing import NamedTuple
from urllib.parse import parse_qsl
from urllib.parse import urlencode
from urllib.parse import urlsplit
from urllib.parse import urlunsplit

import ZConfig
import ZODB.config
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

from cipher.background.cli.command import Unusable


#: Seconds that a ZEO server may take to answer.
SERVER_LIMIT = 6
#: Characters of a URI that messages show.
SHOWN = 300

_SCHEME = re.compile('([a-z][a-z0-9+.-]*):', re.IGNORECASE)

# Options that are understood without zodburi.
_ZEO_TEXTS = ('storage', 'client', 'var', 'blob_dir', 'client_label')
_ZEO_NUMBERS = ('wait_timeout', 'cache_size', 'shared_blob_dir', 'read_only')
# The first bytes of every FileStorage.
_MAGIC = b'FS'


class Place(NamedTuple):
    """Where a database is, and how to open it."""

    shown: str   # the URI without its passwords
    open: Any    # a function that returns the storage
    settings: dict   # arguments of DB
    path: Path = None   # of the file, if it is one
    #: Whether an open database never shows what other processes commit.
    is_frozen: bool = False


def findPlace(uri, is_writing):
    """Return the `Place` of *uri*; raise `Unusable`.

    Unless *is_writing*, nothing can be written there, as far as the storage
    has such a mode.  A file can then be read while a process has it open.
    """
    shown = hidePassword(uri)[:SHOWN]
    scheme = _SCHEME.match(uri)
    scheme = scheme[1].lower() if scheme else ''
    if not scheme or scheme == 'file':
        return _find_file(uri, shown, is_writing)
    if scheme == 'zconfig':
        return _find_configured(uri, shown, is_writing)
    mode = {} if is_writing else {'read_only': 1}
    if scheme == 'zeo':
        uri = _add_options(uri, wait_timeout=SERVER_LIMIT, **mode)
    elif scheme in ('postgresql', 'postgres'):
        uri = _add_options(_name_postgres(uri[len(scheme):], shown),
                           connect_timeout=SERVER_LIMIT, **mode)
    return Place(shown, *_resolve(uri, scheme, shown))


def _name_postgres(rest, shown):
    """Return the URI for zodburi; *rest* is what follows the scheme.

    zodburi knows only this scheme, and its resolver needs a port.
    """
    try:
        parts = urlsplit('http' + rest)
    except ValueError as error:
        raise _refuse(shown, error, 'http' + rest) from None
    if not parts.hostname:
        raise _refuse(shown, 'it names no host')
    address = parts.netloc.rpartition('@')[2]
    if not re.search(r':[^]:]*$', address):
        parts = parts._replace(netloc=parts.netloc + ':5432')
    return 'postgres' + urlunsplit(parts).removeprefix('http')


def hidePassword(uri):
    """Return *uri* with its passwords masked, to print it."""
    # To the last "@": a password may contain any character.
    uri = re.sub(r'(//[^/:@?#]*:).*@', r'\1***@', uri, flags=re.DOTALL)
    return re.sub(r'([?& ]password=)[^&# ]*', r'\1***', uri) or "''"


def _find_file(uri, shown, is_writing):
    address = uri if _SCHEME.match(uri) else 'file://' + uri
    if not address.lower().startswith('file://') or not uri:
        raise Unusable(
            '--db: expected file:// and a path, got %s; correct it' % shown)
    address = 'file://' + address[len('file://'):]
    path = Path(address[len('file://'):].partition('?')[0])
    _check_file(path, shown)
    factory, settings = _resolve(address, 'file', shown)
    if not is_writing:
        # Without the lock.  Blobs are not read.
        factory = partial(FileStorage, str(path), read_only=True)
    return Place(shown, factory, settings, path, not is_writing)


def _check_file(path, shown):
    """Raise `Unusable` unless the file is a database.

    A storage would make the file, or empty it.
    """
    try:
        with path.open('rb') as file:
            start = file.read(len(_MAGIC))
    except (OSError, ValueError) as error:
        raise Unusable(
            '--db: expected the file of a database at %s, got "%s"; give '
            'another' % (shown, getattr(error, 'strerror', None) or error)
        ) from None
    if start != _MAGIC:
        raise Unusable(
            '--db: expected the file of a FileStorage at %s, got %s; give '
            'another' % (shown, 'something else' if start
                         else 'an empty file'))


def _find_configured(uri, shown, is_writing):
    """Return the `Place` of a database in a file of ZConfig."""
    _scheme, host, path, _query, name = urlsplit(uri)
    try:
        config, _handlers = ZConfig.loadConfig(
            ZODB.config.getDbSchema(), str(Path(host + path).absolute()))
    except (ZConfig.ConfigurationError, OSError, ValueError) as error:
        raise Unusable(
            '--db: expected a ZConfig file with a <zodb> section at %s, got '
            '"%s"; correct it' % (shown, error)) from None
    found = [section for section in config.database
             if not name or section.name == name]
    if not found:
        raise Unusable(
            '--db: expected the name of a <zodb> section at %s, got none; '
            'the names are %s' % (shown, ', '.join(
                repr(section.name) for section in config.database)))
    storage = found[0].config.storage
    if not is_writing:
        frozen = _forbid_writes(storage)
    return Place(shown, storage.open, {
        'cache_size': found[0].config.cache_size,
        'pool_size': found[0].config.pool_size,
        'database_name': found[0].config.database_name or 'unnamed',
    }, None, not is_writing and frozen)


def _forbid_writes(section):
    """Make the storages of *section* read-only; return if one is a file."""
    config = section.config
    if hasattr(config, 'read_only'):
        config.read_only = True
    inner = [value for value in vars(config).values()
             if isinstance(value, ZODB.config.BaseConfig)]
    return isinstance(section, ZODB.config.FileStorage) or any(
        [_forbid_writes(one) for one in inner])


def _add_options(uri, **options):
    """Return *uri* with those of the *options* that it does not have."""
    address, mark, fragment = uri.partition('#')
    address, _mark, query = address.partition('?')
    given = parse_qsl(query, keep_blank_values=True)
    names = dict(given)
    given += [item for item in options.items() if item[0] not in names]
    return address + ('?' + urlencode(given) if given else '') + (
        mark + fragment)


def _resolve(uri, scheme, shown):
    """Return (function that opens the storage, arguments of DB)."""
    try:
        from cipher.background.cli import zodburis
    except ImportError:
        return _resolve_alone(uri, scheme, shown)
    try:
        return zodburis.resolve_uri(uri)
    except zodburis.NoResolverForScheme:
        raise Unusable(_say_unknown(scheme, shown)) from None
    except Exception as error:
        raise _refuse(shown, error, uri) from None


def _say_unknown(scheme, shown):
    if scheme in ('postgres', 'postgresql'):
        return ('--db: expected RelStorage to be installed for %s, got none; '
                'run: pip install "RelStorage[postgresql]"' % shown)
    return ('--db: expected a path, file://, zeo://, zconfig:// or another '
            'scheme of zodburi, got %s; there is no scheme %r'
            % (shown, scheme))


def _refuse(shown, reason, uri=''):
    """Return an error for a URI.

    *reason* is a text, or an error of a library in *uri*.  Such an error may
    quote a part of a password.
    """
    if isinstance(reason, Exception):
        name = type(reason).__name__
        reason = name if hidePassword(uri) != uri else '%s: %s' % (
            name, reason)
    return Unusable(
        '--db: expected a path or a URI such as file:///srv/data.fs or '
        'zeo://localhost:8100, got %s (%s); correct it' % (shown, reason))


def _resolve_alone(uri, scheme, shown):
    """`_resolve` without zodburi."""
    address, _mark, query = uri.partition('?')
    options = dict(parse_qsl(query))
    if scheme == 'memory':
        return MappingStorage, _read(options, (), (), shown)[1]
    if scheme == 'file':
        known, settings = _read(options, ('blobstorage_dir',), (), shown)
        return partial(
            FileStorage, address[len('file://'):],
            blob_dir=known.get('blobstorage_dir')), settings
    if scheme == 'zeo':
        known, settings = _read(options, _ZEO_TEXTS, _ZEO_NUMBERS, shown)
        return _open_zeo(address, known, shown), settings
    raise Unusable(
        '--db: expected a path, file://, zeo:// or zconfig://, got %s; for '
        'another scheme run: pip install "cipher.background[cli]"' % shown)


def _read(options, texts, numbers, shown):
    """Return (arguments of the storage, arguments of DB) from *options*."""
    known, settings = {}, {}
    for name, value in options.items():
        if name in texts:
            known[name] = value
        elif name == 'database_name':
            settings[name] = value
        elif name in numbers or name in (
                'connection_cache_size', 'connection_pool_size'):
            if not value.isdecimal():
                raise _refuse(shown, '%s is not a number' % name)
            if name in numbers:
                known[name] = int(value)
            else:
                settings[name.removeprefix('connection_')] = int(value)
        else:
            raise Unusable(
                '--db: expected no option %r in %s; all options of zodburi '
                'are understood after: pip install "cipher.background[cli]"'
                % (name, shown))
    return known, settings


def _open_zeo(address, options, shown):
    try:
        from ZEO.ClientStorage import ClientStorage
    except ImportError:
        raise Unusable(
            '--db: expected ZEO to be installed for %s, got none; run: pip '
            'install ZEO' % shown) from None
    parts = urlsplit(address.replace('zeo:', 'http:', 1))
    try:
        server = (parts.hostname, parts.port or 9991) if parts.netloc else (
            parts.path)
    except ValueError as error:
        raise _refuse(shown, error, address) from None
    return partial(ClientStorage, server, **options)
