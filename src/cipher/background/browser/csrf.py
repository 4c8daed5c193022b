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
"""Refuse forged requests, by a token in the form and by the request's origin.

The token is a keyed hash of the principal and the hour.  Its secret is stored
with the registry.  So the token is valid in each process behind a balancer,
needs no session, and is useless to any other principal.

A site without a registry has no secret yet.  There the token is a random
cookie that the form repeats.  Another site cannot read the cookie, and
``SameSite=Strict`` keeps the browser from sending it along.

In both cases the origin that the browser reports is checked as well.  The
token is needed even if the browser reports no origin.
"""
import hashlib
import hmac
import secrets
import time

from zope.security.proxy import removeSecurityProxy

from cipher.background.browser import addresses
from cipher.background.i18n import _
from cipher.background.util.host import getHost


FIELD = 'csrf_token'
COOKIE = 'cipher.background.csrf'
VALID_HOURS = 24
_HOUR = 3600


class Forged(Exception):
    """The request did not come from our form; the argument says why."""


def makeToken(secret, principal_id, now=None):
    """Return a token for the principal, valid for a day.

    *now* is the time, by default the current one.
    """
    hour = int((time.time() if now is None else now) // _HOUR)
    return '%d.%s' % (hour, _sign(secret, principal_id, hour))


def checkToken(token, secret, principal_id, now=None):
    """Raise `Forged` unless `makeToken` made *token* within the last day."""
    hour, _dot, signature = token.partition('.')
    if not (hour.isascii() and hour.isdigit() and len(hour) < 12):
        raise Forged(_('The form has no valid token.  Open it again and '
                       'retry.'))
    hour = int(hour)
    if not _same(signature, _sign(secret, principal_id, hour)):
        raise Forged(_('The form has no valid token.  Open it again and '
                       'retry.'))
    age = int((time.time() if now is None else now) // _HOUR) - hour
    if not -1 <= age <= VALID_HOURS:
        raise Forged(_('The form was open for too long.  Reload it and try '
                       'again.'))


def checkOrigin(request):
    """Raise `Forged` if the browser reports that another site sent this."""
    site = request.getHeader('Sec-Fetch-Site')
    if site is not None and site not in ('same-origin', 'none'):
        raise Forged(_('The request came from another site.'))
    origin = request.getHeader('Origin')
    if origin is None or (
            # A proxy may change the host and the scheme, but Sec-Fetch-Site
            # stays correct.
            site is not None and not addresses.getSetting('base_url')):
        return
    if origin not in addresses.getOrigins(request):
        raise Forged(_('The request came from another site.'))


class RegistryTokens:
    """Tokens made with the secret of a registry."""

    def __init__(self, registry, request):
        self.secret = removeSecurityProxy(registry).secret
        self.request = request

    def make(self):
        """Return a token for a form."""
        return makeToken(self.secret, getHost().principalOf(self.request).id)

    def check(self, token):
        """Raise `Forged` unless *token* is valid."""
        checkToken(token, self.secret, getHost().principalOf(self.request).id)


class CookieTokens:
    """Tokens of a site without a registry: the form repeats a cookie."""

    def __init__(self, request):
        self.request = request

    def make(self):
        """Return a token for a form; set the cookie."""
        token = self.request.getCookies().get(COOKIE)
        if not token or len(token) != 64:
            token = secrets.token_hex(32)
            self.request.response.setCookie(
                COOKIE, token, path='/', httponly=True, samesite='Strict',
                secure=addresses.getScheme(self.request) == 'https')
        return token

    def check(self, token):
        """Raise `Forged` unless the cookie equals *token*."""
        cookie = self.request.getCookies().get(COOKIE) or ''
        if len(cookie) != 64 or not _same(token, cookie):
            raise Forged(_('The form has no valid token.  Open it again '
                           'and retry.'))


def _sign(secret, principal_id, hour):
    text = 'cipher.background form\0%d\0%s' % (hour, principal_id)
    return hmac.new(secret, text.encode('utf-8', 'surrogatepass'),
                    hashlib.sha256).hexdigest()


def _same(one, other):
    return hmac.compare_digest(one.encode('utf-8', 'replace'),
                               other.encode('utf-8', 'replace'))
