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
"""Send the message of an alert: by mail, or to a webhook.

`Mail` and `Webhook` check their settings when they are made and raise
``ValueError``.  Their `send` raises an error unless the message was accepted.
"""
import json
import re
import smtplib
import ssl
import urllib.request
from email.message import EmailMessage
from email.utils import formatdate
from urllib.parse import urlsplit

from cipher.background.util.text import safeRepr


#: How the connection to a mail server is made safe.
PLAIN, STARTTLS, TLS = SECURITIES = 'none', 'starttls', 'tls'
_PORTS = {PLAIN: 25, STARTTLS: 587, TLS: 465}

_ADDRESS = re.compile(r'[^\s@<>(),;:"\\\[\]]+@[A-Za-z0-9]([A-Za-z0-9.-]*'
                      r'[A-Za-z0-9])?', re.ASCII)
_HOST = re.compile(r'[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-fA-F:]+')
_LOOPBACK = re.compile(r'localhost|127(\.[0-9]{1,3}){3}|::1', re.IGNORECASE)


class Mail:
    """Sends a message by SMTP."""

    def __init__(self, to, sender, host='localhost', port=None,
                 security=PLAIN, user=None, password=None, timeout=20.0):
        for name, addresses in ('mail_to', to), ('mail_from', (sender,)):
            for address in addresses:
                if not (isinstance(address, str) and address.isascii()
                        and address.isprintable()
                        and _ADDRESS.fullmatch(address)):
                    _refuse(name, 'addresses such as admin@example.org',
                            address, 'write the address alone')
        if not (host.isascii() and _HOST.fullmatch(host)):
            _refuse('smtp_host', 'the name or the address of a host', host,
                    'give the port as smtp_port')
        if (user is None) != (password is None):
            raise ValueError(
                'alerts: expected smtp_user and password_variable, got one '
                'of them; give both or none')
        if user is not None and security == PLAIN and (
                not _LOOPBACK.fullmatch(host)):
            _refuse('smtp_security', "'starttls' or 'tls' for a password",
                    security, 'choose one')
        self._to = tuple(to)
        self._sender = sender
        self._host = host
        self._port = port or _PORTS[security]
        self._security = security
        self._login = user and (user, password)
        self._timeout = timeout

    def send(self, message):
        """Send *message*; return {refused address: reply of the server}.

        Raise an error if the server accepted it for none.
        """
        mail = EmailMessage()
        mail['Subject'] = message['subject']
        mail['From'] = self._sender
        mail['To'] = ', '.join(self._to)
        mail['Date'] = formatdate(message['at'])
        mail['Message-ID'] = '<%s@%s>' % (
            message['id'], self._sender.rpartition('@')[2])
        mail['Auto-Submitted'] = 'auto-generated'
        mail.set_content(message['text'])
        with self._connect() as server:
            if self._login:
                server.login(*self._login)
            return server.send_message(mail, self._sender, self._to)

    def _connect(self):
        if self._security == TLS:
            return smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout,
                context=ssl.create_default_context())
        server = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
        if self._security == STARTTLS:
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server


class Webhook:
    """Posts a message as JSON."""

    def __init__(self, url, token=None, timeout=20.0):
        # The message never quotes it: such an address is often the secret.
        if not _is_url(url):
            raise ValueError(
                'alerts: expected webhook to be the URL of a host with http '
                'or https, such as https://example.org/hook, got another '
                'text; encode what is not ASCII, and give a password as '
                'token_variable')
        if token is not None and not (token.isascii() and token.isprintable()):
            raise ValueError(
                'alerts: expected the token to be a line of printable ASCII, '
                'got another text; make one with: python -c "import secrets; '
                'print(secrets.token_urlsafe())"')
        self._url = url
        self._token = token
        self._timeout = timeout

    def send(self, message):
        """Post *message*; return an empty dict.

        Raise an error unless the answer is 200 to 299.  A redirect is an
        error: it may lead to another host.
        """
        headers = {'Content-Type': 'application/json',
                   'Idempotency-Key': message['id']}
        if self._token:
            headers['Authorization'] = 'Bearer ' + self._token
        request = urllib.request.Request(
            self._url, json.dumps(message).encode('ascii'), headers)
        with _opener().open(request, timeout=self._timeout):
            return {}


def checkURL(url):
    """Return *url* if links may begin with it; raise ``ValueError``."""
    if url is not None and not (
            _is_url(url) and '?' not in url and '#' not in url):
        _refuse('url', 'the address of a root, such as https://example.org',
                url, 'leave out the rest')
    return url


def _is_url(url):
    try:
        parts = urlsplit(url)
        return (url.isascii() and url.isprintable() and ' ' not in url
                and parts.scheme in ('http', 'https')
                and _HOST.fullmatch(parts.hostname or '') is not None
                and '@' not in parts.netloc and parts.port != 0)
    except ValueError:
        return False


def _opener():
    opener = urllib.request.OpenerDirector()
    for handler in (
            urllib.request.ProxyHandler(), urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(), urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler()):
        opener.add_handler(handler)
    return opener


def _refuse(name, expected, got, advice):
    raise ValueError('alerts: expected %s to be %s, got %s; %s' % (
        name, expected, safeRepr(got, 100), advice))
