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
"""Whether a database is the original, or a copy of it elsewhere.

A copy has all that the original had: what waited there waits here as well.
Two things tell it apart.  A *deployment* has an id that people choose.  A
file of a FileStorage has a *place*: a file beside it names path and machine,
and a token that stands in the database, too.  A copy of the file alone comes
without that one, a copy of the folder with one that names another place.
"""
import hashlib
import json
import os
import tempfile
import uuid
from typing import NamedTuple

from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage
from zope.schema.interfaces import ValidationError

from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import RuntimeRefused
from cipher.background.util.logs import getLogger


log = getLogger(__name__)

#: The variable of the environment that names the deployment.
VARIABLE = 'CIPHER_BACKGROUND_DEPLOYMENT'

#: Added to the name of the file of a FileStorage.
SUFFIX = '.background'

#: Characters that are read of the file beside a FileStorage.
LIMIT = 100000

#: Where the id of a machine stands; the first one that is readable counts.
_MACHINE_IDS = '/etc/machine-id', '/var/lib/dbus/machine-id'

#: Why a database counts as a copy.
BY_DEPLOYMENT = 'deployment'
BY_PLACE = 'place'


class Copied(NamedTuple):
    """Why a runtime takes its database for a copy."""

    kind: str              # BY_DEPLOYMENT or BY_PLACE
    original: str = None   # the deployment that the database belongs to
    here: str = None       # that of this process


def getDeployment(settings):
    """Return the id of the deployment of this process, None without one.

    Raise `RuntimeRefused` where the environment names none that will do.
    """
    given = os.environ.get(VARIABLE, '').strip()
    if not given:
        return settings.deployment
    try:
        IRuntimeSettings['deployment'].validate(given)
    except ValidationError:
        raise RuntimeRefused(
            'runtime: expected %s to be a line of at most 100 printable '
            'characters, got %.200r; set it to the id of this deployment'
            % (VARIABLE, given)) from None
    return given


def isExclusive(db):
    """Return whether no other process can have the database open."""
    storage = db.storage
    return (isinstance(storage, MappingStorage)
            or isinstance(storage, FileStorage) and not storage.isReadOnly())


def getMachine():
    """Return what tells this machine from others; None where nothing does.

    A digest: the id itself is not to be spread.  It outlives a reboot and
    another name of the host.
    """
    for path in _MACHINE_IDS:
        try:
            with open(path, 'rb') as file:
                given = file.read(1000).strip()
        except OSError:
            continue
        if len(given) >= 32:   # else there is none yet
            return hashlib.sha256(
                b'cipher.background ' + given).hexdigest()[:32]
    return None


class PlaceFile:
    """The file beside the file of a FileStorage."""

    def __init__(self, storage_path):
        self._here = {'path': os.path.realpath(storage_path),
                      'machine': getMachine()}
        self.path = self._here['path'] + SUFFIX

    def findDifference(self, token, with_machine=True):
        """Return why the database with *token* is not at home here, or None.
        """
        told = self._read()
        if told is None:
            return 'there is no readable file %s' % self.path
        if told.get('token') != token:
            return 'the file %s is of another database' % self.path
        for name, here in self._here.items():
            there = told.get(name)
            if name == 'machine' and not (with_machine and there and here):
                continue
            if there != here:
                return 'the file %s names another %s' % (self.path, name)
        return None

    def _read(self):
        try:
            with open(self.path, encoding='utf-8') as file:
                told = json.loads(file.read(LIMIT))
        except (OSError, ValueError, RecursionError):
            return None
        return told if isinstance(told, dict) else None

    def write(self, token):
        """Say that the database with *token* is at home here.

        It is on the disk when this returns.  Raise ``OSError``.
        """
        text = json.dumps({
            'about': 'Says where the database beside it is at home: see '
                     'deploying.rst of cipher.background. Do not copy it.',
            'token': token, **self._here}, indent=1)
        folder, name = os.path.split(self.path)
        number, new = tempfile.mkstemp(prefix=name + '.', dir=folder)
        try:
            with open(number, 'w', encoding='utf-8') as file:
                file.write(text + '\n')
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.path)
        except OSError:
            os.remove(new)
            raise
        _syncFolder(folder)


def _syncFolder(path):
    try:
        folder = os.open(path, os.O_RDONLY)
    except OSError:
        return   # not all systems can open one
    try:
        os.fsync(folder)
    except OSError:
        pass
    finally:
        os.close(folder)


class Origin:
    """Compares a database with the process that has it open."""

    def __init__(self, db, deployment):
        self._deployment = deployment
        self._place = None
        self._verified = None   # the token that was found to be right
        if isinstance(db.storage, FileStorage) and isExclusive(db):
            self._place = PlaceFile(db.storage._file_name)

    def look(self, belonging):
        """`judge` for the first time, with a warning if that says little."""
        if belonging is not None and (
                self._deployment is None and belonging.deployment is not None):
            log.warning(
                'Runtime: the database belongs to the deployment %r, this '
                'process names none, so that is not compared; set %s',
                belonging.deployment, VARIABLE)
        return self.judge(belonging)

    def judge(self, belonging):
        """Return (`Copied`, reason) if the database is a copy, else None.

        *belonging* is the `process.Belonging` of the database, or None.
        Writes nothing.
        """
        if belonging is None:
            return None
        mine, original = self._deployment, belonging.deployment
        if mine is not None and original not in (None, mine):
            return (Copied(BY_DEPLOYMENT, original, mine),
                    'it belongs to the deployment %r, this is %r'
                    % (original, mine))
        token = belonging.place
        if self._place is None or token in (None, self._verified):
            return None
        # Where both sides say that they are the same deployment, that may be
        # on another machine by now; a container is, each time.
        reason = self._place.findDifference(
            token, with_machine=mine is None or mine != original)
        if reason is not None:
            return Copied(BY_PLACE, original, mine), reason
        self._verified = token
        return None

    def settle(self, belonging):
        """Let the database, which is no copy, belong to this deployment.

        Joins the open transaction, where there is anything to write.
        """
        if self._deployment is not None and belonging.deployment is None:
            belonging.deployment = self._deployment
        if self._place is not None and belonging.place is None:
            # The file first: a file without the token counts as none.
            token = uuid.uuid4().hex
            try:
                self._place.write(token)
            except OSError as error:
                log.warning(
                    'Runtime: %s cannot be written (%s); a copy of this '
                    'database will not be noticed by its place',
                    self._place.path, error)
                self._place = None
            else:
                belonging.place = token
