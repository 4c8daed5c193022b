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
"""Where a database is: its URI without passwords, its file, its lock."""
import re
from pathlib import Path


# The first bytes of every FileStorage.
_MAGIC = b'FS'


def hidePassword(uri):
    """Return *uri* with its passwords masked, to print it."""
    # To the last "@": a password may contain any character.
    uri = re.sub(r'(//[^/:@?#]*:).*@', r'\1***@', uri, flags=re.DOTALL)
    return re.sub(r'([?& ]password=)[^&# ]*', r'\1***', uri) or "''"


def isFileStorage(path):
    """Return whether the file at *path* is a FileStorage.

    None if it is empty: a storage would use it.  Raise ``OSError``.
    """
    with Path(path).open('rb') as file:
        start = file.read(len(_MAGIC))
    return start == _MAGIC if start else None


def getLockHolder(path):
    """Return the name of the process that has the FileStorage open."""
    try:
        pid = int(Path('%s.lock' % path).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 'another process'
    return 'the process %d' % pid
