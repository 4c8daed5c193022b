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
"""Settings of a process: its runtime, the URLs of its pages, monitoring."""
import hashlib
import hmac
import os
import re
from typing import Any

from zope.interface import implementer
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Float
from zope.schema import Int
from zope.schema import TextLine
from zope.schema import Tuple
from zope.schema import getFields
from zope.schema.interfaces import ValidationError

from cipher.background.interfaces import IMonitoringSettings
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IWebSettings


_KINDS = {Int: 'number', Float: 'number of seconds'}


@implementer(IRuntimeSettings)
class RuntimeSettings:
    """Settings of a runtime; the fields of `IRuntimeSettings` as keywords.

    Raise ``ValueError`` for a value that does not fit its field, and
    ``TypeError`` for an unknown keyword.
    """

    threads: int
    drain: float
    poll: float
    lease: float
    grace: float
    executor: str
    deployment: str | None
    types: tuple[str, ...] | None
    share: bool

    def __init__(self, **settings: Any) -> None:
        for name, field in getFields(IRuntimeSettings).items():
            value = settings.pop(name, field.default)
            _check(field, value)
            setattr(self, name, value)
        if settings:
            raise TypeError('runtime: expected the settings of '
                            'IRuntimeSettings, got %s' % sorted(settings))


@implementer(IWebSettings)
class WebSettings:
    """Settings for the URLs of pages; the fields of `IWebSettings`.

    Raise ``ValueError`` unless *base_url* is an origin.
    """

    base_url: str | None

    def __init__(self, base_url: str | None = None,
                 proxy_sets_scheme: bool = False,
                 trusts_virtual_hosts: bool = False) -> None:
        self.base_url = base_url and _make_origin(base_url)
        self.proxy_sets_scheme = bool(proxy_sets_scheme)
        self.trusts_virtual_hosts = bool(trusts_virtual_hosts)


# The signs of a token: see RFC 6750, section 2.1.
_TOKEN = re.compile(r'[A-Za-z0-9._~+/-]+=*')
_BEARER = re.compile(r'\s*bearer(?:\s+(.*))?', re.IGNORECASE | re.DOTALL)


@implementer(IMonitoringSettings)
class MonitoringSettings:
    """Settings of the monitoring; the fields of `IMonitoringSettings`.

    *token* opens the health and the metrics to all who send it.  Raise
    ``ValueError`` for one that cannot be sent; the message does not quote it.
    """

    def __init__(self, public_health: bool = False,
                 ignore_problems: bool = False,
                 token: str | None = None) -> None:
        self.public_health = bool(public_health)
        self.ignore_problems = bool(ignore_problems)
        # Only its digest is kept, so that nothing can show the token.
        self._digest = None if token is None else _digest(checkToken(token))

    @property
    def has_token(self) -> bool:
        return self._digest is not None

    def accepts(self, authorization: str | None) -> bool:
        given = _bearer(authorization)
        return (self._digest is not None and given is not None
                and hmac.compare_digest(_digest(given), self._digest))

    def refuses(self, authorization: str | None) -> bool:
        return (self._digest is not None
                and _bearer(authorization) is not None
                and not self.accepts(authorization))


def checkToken(token):
    """Return *token* if it can be sent as a token; raise ``ValueError``."""
    if isinstance(token, str) and _TOKEN.fullmatch(token):
        return token
    raise ValueError(
        'monitoring: expected a token of letters, digits and the signs '
        '- . _ ~ + / with = at its end alone, got %s; make one with: '
        'python -c "import secrets; print(secrets.token_urlsafe())"' % (
            'an empty one' if token == '' else 'another text'
            if isinstance(token, str) else 'a %s' % type(token).__name__))


def readVariable(who, option, name):
    """Return the text of the environment variable *name*; None for None.

    Raise ``ValueError`` if it is not set or empty.  *who* is the directive
    and *option* its attribute.
    """
    if name is None:
        return None
    text = os.environ.get(name)
    if not text:
        raise ValueError(
            '%s: expected the environment variable %r to have a %s, got %s; '
            'set it, or leave out %s' % (
                who, name, {'password_variable': 'password',
                            'webhook_variable': 'URL'}.get(option, 'token'),
                'none' if text is None else 'an empty text', option))
    return text


def _bearer(authorization):
    """Return the token in the value of a header, or None."""
    match = _BEARER.fullmatch(authorization or '')
    return match and (match[1] or '').strip()


def _digest(token):
    return hashlib.sha256(token.encode('utf-8', 'replace')).digest()


_ORIGIN = re.compile(
    r'(?P<scheme>https?)://'
    r'(?P<host>\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9_.-]*[a-z0-9])?)'
    r'(:(?P<port>[0-9]{1,5}))?/?')
_DEFAULT_PORTS = {'http': 80, 'https': 443}


def _make_origin(url):
    """Return *url* as browsers write an origin.

    Raise ``ValueError`` unless it is a scheme, a host and maybe a port.
    """
    try:
        # Browsers encode a host name that is not ASCII by IDNA.
        given = url.strip().lower()
        ascii = given if given.isascii() else '://'.join(
            part.encode('idna').decode('ascii')
            for part in given.rstrip('/').split('://'))
    except ValueError:
        ascii = ''
    match = _ORIGIN.fullmatch(ascii)
    port = int(match['port'] or 0) if match else 0
    if match is None or port > 65535:
        raise ValueError(
            'web: expected base_url to be a scheme, a host and maybe a port, '
            'such as https://example.org:8443, got %r; leave out the rest'
            % url)
    origin = '%s://%s' % (match['scheme'], match['host'])
    if port in (0, _DEFAULT_PORTS[match['scheme']]):
        return origin
    return '%s:%d' % (origin, port)


def _check(field, value):
    try:
        field.validate(value)
    except ValidationError as error:
        raise ValueError(
            'runtime: expected %s to be %s, got %r (%s); it says: %s' % (
                field.__name__, _expected(field), value,
                type(error).__name__, field.description)) from None


def _expected(field):
    if isinstance(field, Bool):
        return 'True or False'
    if isinstance(field, Tuple):
        return 'a tuple of at least one name'
    if isinstance(field, TextLine):
        return 'a line of at most %d printable characters' % field.max_length
    if isinstance(field, Choice):
        return 'one of %s' % ', '.join(
            repr(term.value) for term in field.vocabulary)
    return 'a %s from %s on' % (_KINDS[type(field)], field.min)
