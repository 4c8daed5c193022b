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
"""The stylesheet, the script and the icons.  Only these are public."""
import hashlib
from functools import partial
from pathlib import Path

from zope.browserresource.file import File
from zope.browserresource.file import FileResource

from cipher.background.browser.addresses import getPath
from cipher.background.browser.compression import compress
from cipher.background.util.host import getHost


CSS = 'cipher-background.css'
SCRIPT = 'cipher-background.js'
ICON = 'cipher-background.svg'
ALERT_ICON = 'cipher-background-alert.svg'

_FILES = {
    CSS: 'background.css',
    SCRIPT: 'background.js',
    ICON: 'background.svg',
    ALERT_ICON: 'alert.svg',
}


def _get_path(name):
    return Path(__file__).parent / 'static' / _FILES[name]


def _get_version(name):
    path = _get_path(name)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


# Browsers cache resources for a day, so a new release needs new addresses.
_VERSIONS = {name: _get_version(name) for name in _FILES}


def getURL(name, request):
    """Return the path of a resource for the current site."""
    url = getHost().getResourceURL(name, request)
    return '%s?v=%s' % (getPath(url), _VERSIONS[name]) if url else ''


class StaticFile(FileResource):
    """A file that is compressed for clients that read gzip."""

    def GET(self):
        """Return the file, or nothing if the client has it already."""
        data = super().GET()
        return compress(self.request, data) if data else data


def _make(file, request):
    return StaticFile(file, request)


#: Factories of the resources, each called with a request.
css, script, icon, alert_icon = (
    partial(_make, File(str(_get_path(name)), name)) for name in _FILES)
