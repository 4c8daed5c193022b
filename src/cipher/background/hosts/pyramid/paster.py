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
"""The application of an ini file, for a worker process."""
import sys
from pathlib import Path

from pyramid.paster import get_app

from cipher.background.hosts.pyramid.host import PyramidHost
from cipher.background.hosts.pyramid.including import withoutRuntime
from cipher.background.util.host import getHost


def openApplication(uri):
    """Create the application of *uri*, a path or ``PATH#NAME``.

    It begins no runtime.  Return its database.  Raise ``ValueError`` for an
    application without background work, and what the application raises.
    """
    folder = str(Path(uri.partition('#')[0]).absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)   # as for ZCML: modules beside the file
    with withoutRuntime():
        get_app(uri)
    host = getHost()
    if not isinstance(host, PyramidHost):
        raise ValueError(
            'an application that has no background work; call '
            "config.include('cipher.background.hosts.pyramid') in it")
    return host.registries[-1]._zodb_databases['']
