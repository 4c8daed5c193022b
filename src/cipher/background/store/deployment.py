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
"""Recognise a copy of a database, so that its runs do not run twice.

A copy has all pending runs of the original.  Two facts distinguish it:

- A *deployment* has an id that people choose.
- The file of a FileStorage has a *place*.  A file beside it names its path,
  its machine, and a token that is also in the database.  A copy of the
  database file alone has no such file.  A copy of the folder has one that
  names another place.
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

#: The environment variable with the id of the deployment.
VARIABLE = 'CIPHER_BACKGROUND_DEPLOYMENT'

#: The suffix that makes the name of the place file.
SUFFIX = '.background'

#: Characters that are read of a place file, so that a wrong file of any size
#: does no harm.
LIMIT = 100000

#: Files with the id of the machine; the first readable one counts.
_MACHINE_IDS = '/etc/machine-id', '/var/lib/dbus/machine-id'

#: Why a database counts as a copy.
BY_DEPLOYMENT = 'deployment'
BY_PLACE = 'place'


class Copied(NamedTuple):
    """The reason why a runtime takes its database for a copy."""

    kind: str              # BY_DEPLOYMENT or BY_PLACE
    original: str = None   # the deployment that the database belongs to
    here: str = None       # the deployment of this process


def getDeployment(settings):
    """Return the id of the deployment of this process, or None.

    The environment variable wins over *settings*.  Raise `RuntimeRefused` if
    its value is not a valid id.
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
    """Return whether no other process can have *db* open."""
    storage = db.storage
    return (isinstance(storage, MappingStorage)
            or isinstance(storage, FileStorage) and not storage.isReadOnly())


def getMachine():
    """Return a text that identifies this machine, or None if nothing does.

    It stays the same when the machine is rebooted or renamed.  It is a digest
    of the machine id, which machine-id(5) asks to keep confidential.
    """
    for path in _MACHINE_IDS:
        try:
            with open(path, 'rb') as file:
                given = file.read(1000).strip()
        except OSError:
            continue
        if len(given) >= 32:   # a shorter text says that it is not set yet
            return hashlib.sha256(
                b'cipher.background ' + given).hexdigest()[:32]
    return None


class PlaceFile:
    """The file beside a FileStorage that names its place."""

    def __init__(self, storage_path):
        self._here = {'path': os.path.realpath(storage_path),
                      'machine': getMachine()}
        self.path = self._here['path'] + SUFFIX

    def findDifference(self, token, with_machine=True):
        """Return why this is not the place of the database with *token*.

        Return None if it is.  Compare the machine only if *with_machine*.
        """
        place = self._read()
        if place is None:
            return 'there is no readable file %s' % self.path
        if place.get('token') != token:
            return 'the file %s is of another database' % self.path
        for name, here in self._here.items():
            there = place.get(name)
            if name == 'machine' and not (with_machine and there and here):
                continue
            if there != here:
                return 'the file %s names another %s' % (self.path, name)
        return None

    def _read(self):
        try:
            with open(self.path, encoding='utf-8') as file:
                place = json.loads(file.read(LIMIT))
        except (OSError, ValueError, RecursionError):
            return None
        return place if isinstance(place, dict) else None

    def write(self, token):
        """Write that this is the place of the database with *token*.

        The file is on the disk when this returns.  Raise ``OSError``.
        """
        text = json.dumps({
            'about': 'Says where the database beside it is at home: see '
                     'staging.rst of cipher.background. Do not copy it.',
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
        _sync_folder(folder)


def _sync_folder(path):
    try:
        folder = os.open(path, os.O_RDONLY)
    except OSError:
        return   # some systems cannot open a folder
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
        self._verified = None   # the token that was found to be correct
        if isinstance(db.storage, FileStorage) and isExclusive(db):
            self._place = PlaceFile(db.storage._file_name)

    def look(self, belonging):
        """Return `judge` of *belonging*; warn if it cannot compare ids."""
        if belonging is not None and (
                self._deployment is None and belonging.deployment is not None):
            log.warning(
                'Runtime: the database belongs to the deployment %r, this '
                'process names none, so they are not compared; set %s',
                belonging.deployment, VARIABLE)
        return self.judge(belonging)

    def judge(self, belonging):
        """Return (`Copied`, reason) if the database is a copy, else None.

        *belonging* is the `process.Belonging` of the database, or None.
        Write nothing.
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
        # A deployment that both sides name may have moved to another machine:
        # each new container counts as one.
        reason = self._place.findDifference(
            token, with_machine=mine is None or mine != original)
        if reason is not None:
            return Copied(BY_PLACE, original, mine), reason
        self._verified = token
        return None

    def settle(self, belonging):
        """Let the database, which is not a copy, belong to this deployment.

        Change *belonging* only if it does not name a deployment or a place
        yet.
        """
        if self._deployment is not None and belonging.deployment is None:
            belonging.deployment = self._deployment
        if self._place is not None and belonging.place is None:
            # Write the file first.  If the transaction fails, the database
            # has no token, so the file is not compared.
            token = uuid.uuid4().hex
            try:
                self._place.write(token)
            except OSError as error:
                log.warning(
                    'Runtime: %s cannot be written (%s); a copy of this '
                    'database cannot be recognised by its place',
                    self._place.path, error)
                self._place = None
            else:
                belonging.place = token
