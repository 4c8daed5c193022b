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
"""The origin of the application, and addresses within it.

Our links are paths on this server, without a host.  So a ``++vh++`` in a
foreign link can change the path of our links but never their server.
"""
from typing import Any
from urllib.parse import unquote
from urllib.parse import urlsplit

from zope.component import queryUtility

from cipher.background.interfaces import IWebSettings
from cipher.background.util.host import getHost


_DEFAULT_PORTS = {'http': ':80', 'https': ':443'}


def getURL(ob: Any, request: Any) -> str:
    """Return the path of *ob* on this server, quoted; '' for the root."""
    return getPath(getHost().getURL(ob, request))


def getPath(url: str) -> str:
    """Return the path of a URL, with one slash before it; '' for the root."""
    # Two slashes, or a slash and a backslash, would begin a host name.
    path = urlsplit(url).path.lstrip('/\\').rstrip('/')
    return '/' + path if path else ''


def isWithin(url, base):
    """Return whether *url* is at or below the URL *base* on one server."""
    inner, outer = urlsplit(url), urlsplit(base)
    folder = outer.path.rstrip('/') + '/'
    return ((inner.scheme, inner.netloc) == (outer.scheme, outer.netloc)
            and (inner.path.rstrip('/') + '/').startswith(folder))


def getRelativePath(url, base):
    """Return the unquoted path from *base* to *url*; None if it is outside.
    """
    if not isWithin(url, base):
        return None
    return unquote(urlsplit(url).path[len(urlsplit(base).path):].strip('/'))


def getOrigins(request):
    """Return the origins of the application in the form that browsers send.

    That is the base URL of `IWebSettings`.  Without one it is the scheme of
    the request with the Host header, which browsers set.
    """
    base_url = getSetting('base_url')
    if base_url:
        return {base_url}
    scheme = getScheme(request)
    host = (request.getHeader('Host') or '').strip().lower()
    origins = {_make_origin(scheme, host)} if host else set()
    path = request.environment.get('PATH_INFO', '')
    if (getSetting('trusts_virtual_hosts') and path.startswith('/++vh++')
            and path.count('++vh++') == 1):
        # The ++vh++ of the proxy comes first, before one of the client.
        parts = urlsplit(getHost().getRootURL(request))
        origins.add(_make_origin(parts.scheme, parts.netloc.lower()))
    return origins


def getScheme(request):
    """Return the scheme that browsers use: 'http' or 'https'."""
    base_url = getSetting('base_url')
    if base_url:
        return urlsplit(base_url).scheme
    # Keys of the environment other than HTTP_… are set by the server.
    environ = request.environment
    scheme = environ.get('wsgi.url_scheme', 'http')
    if (environ.get('HTTPS', '').lower() in ('on', '1')
            or environ.get('SERVER_PORT_SECURE') == '1'):
        scheme = 'https'
    if getSetting('proxy_sets_scheme'):
        told = request.getHeader('X-Forwarded-Proto', '').strip().lower()
        if told in _DEFAULT_PORTS:
            scheme = told
    return scheme


def getSetting(name: str) -> Any:
    """Return a setting of `IWebSettings`, or its default."""
    settings = queryUtility(IWebSettings)
    return (IWebSettings[name].default if settings is None
            else getattr(settings, name))


def _make_origin(scheme, host):
    return '%s://%s' % (scheme, host.removesuffix(
        _DEFAULT_PORTS.get(scheme, '')))
