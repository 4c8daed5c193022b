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
"""WSGI middleware that answers requests at which the publisher fails.

zope.publisher raises if it cannot read a request, and if an error occurs while
it handles another error.  Then the server answers with a bare page and logs a
traceback.  `answerErrors` answers with our page and logs one line.
"""
import logging
import re
from collections.abc import Callable
from collections.abc import Iterable
from html import escape
from io import BytesIO
from ipaddress import IPv6Address
from traceback import extract_tb
from typing import Any
from typing import TypeAlias

from zope.component import queryUtility
from zope.i18n.interfaces import IUserPreferredCharsets
from zope.publisher.browser import BrowserRequest
from zope.traversing.interfaces import IEtcNamespace

from cipher.background.browser.errors import NotFoundPage
from cipher.background.browser.formatting import SOURCE
from cipher.background.browser.formatting import Formatter
from cipher.background.browser.frame import POLICY
from cipher.background.browser.jsonview import JSON_TYPE
from cipher.background.browser.jsonview import dumpJSON
from cipher.background.browser.page import FORM
from cipher.background.browser.page import HEADERS
from cipher.background.browser.page import READ
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import encode
from cipher.background.browser.traversing import NAME
from cipher.background.i18n import _
from cipher.background.interfaces import IMonitor
from cipher.background.interfaces import IMonitoringSettings


logger = logging.getLogger('cipher.background.web')

Application: TypeAlias = Callable[
    [dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: Bytes.  A longer body is not checked before the publisher reads it, because
#: the check keeps the body in memory.
FORM_LIMIT = 1024 * 1024

_FORMS = ('application/x-www-form-urlencoded', 'multipart/')
_HOST = re.compile(r"(?:[A-Za-z0-9._~%!$&'()*+,;=-]*|\[(?P<ip>[^]]*)\])"
                   r'(?::[0-9]{0,5})?', re.ASCII)
_LENGTH = re.compile('[0-9]{0,18}', re.ASCII)
_REASONS = {400: 'Bad Request', 403: 'Forbidden', 404: 'Not Found',
            405: 'Method Not Allowed',
            415: 'Unsupported Media Type', 500: 'Internal Server Error',
            503: 'Service Unavailable'}
# The last steps of the address of the health.
_HEALTH = re.compile(
    r'/\+\+background\+\+/(@@|\+\+view\+\+)?health\.json$')

_PAGE = '''\
<!DOCTYPE html>
<html lang="%(language)s">
<head><meta charset="utf-8"><title>%(title)s</title></head>
<body><h1>%(title)s</h1><p>%(explanation)s</p></body>
</html>
'''


class BadRequest(Exception):
    """A request cannot be read; the text says why, for the log."""

    def __init__(self, message, status=400):
        super().__init__(message)
        self.status = status


def answerErrors(application: Application,
                 browsers_only: bool = False) -> Application:
    """Return a WSGI application that calls *application* and never raises.

    A request that cannot be read is answered with 400, an error that the
    publisher raises with 500.

    URLs below ``++background++`` are for browsers only, and each answer there
    has our security headers.  With *browsers_only*, the whole application is
    for browsers only.

    If a database is away, ``health.json`` says so at once, to those that it
    answers.  The publisher might wait for the database.

    If ``wsgi.handleErrors`` of the environment is False, errors of the
    publisher are raised.
    """
    def answer(environ, start_response):
        is_ours = NAME in environ.get('PATH_INFO', '').split('/')
        if is_ours:
            start_response = _add_headers(start_response)
        try:
            try:
                if is_ours or browsers_only:
                    _check_method(environ)
                _check(environ)
            except Exception as error:
                return _refuse(environ, start_response, error)
            if is_ours and _asks_for_health(environ):
                return _answer_health(application, environ, start_response)
            return application(environ, start_response)
        except Exception as error:
            if environ.get('wsgi.handleErrors') is False:
                raise
            _log(logging.ERROR, environ, error)
            return makePage(
                environ, start_response, 500, _('Something went wrong'),
                _('The server could not do this.  The error is in its log; '
                  'nothing was changed.'))

    return answer


def _asks_for_health(environ):
    """Return whether a reader without a login asks how all is."""
    settings = queryUtility(IMonitoringSettings)
    return (
        _HEALTH.search(environ.get('PATH_INFO', '')) is not None
        and environ.get('REQUEST_METHOD') in READ
        and settings is not None and (
            settings.public_health
            or settings.accepts(environ.get('HTTP_AUTHORIZATION'))))


def _answer_health(application, environ, start_response):
    """Answer as *application* does, or 503 if a database fails it."""
    monitor = queryUtility(IMonitor)
    if monitor is None or not monitor.isReachable():
        return _say_unwell(environ, start_response)
    started = []
    try:
        result = application(environ, lambda *answer: started.append(answer))
        try:
            body = b''.join(result)
        finally:
            getattr(result, 'close', int)()
    except Exception as error:
        if environ.get('wsgi.handleErrors') is False:
            raise
        _log(logging.ERROR, environ, error)
        return _say_unwell(environ, start_response)
    status, headers, *_rest = started[-1]
    # Our view has the word in each answer.  Other errors are of the publisher.
    if status.startswith('5') and b'"ok"' not in body:
        return _say_unwell(environ, start_response)
    start_response(status, headers)
    return [body]


def _say_unwell(environ, start_response):
    return _send(environ, start_response, 503, JSON_TYPE,
                 dumpJSON({'ok': False}))


def makePage(environ: dict[str, Any], start_response: Callable[..., Any],
             status: int, title: str, explanation: str,
             headers: Iterable[tuple[str, str]] = ()) -> list[bytes]:
    """Answer with a page or JSON without the publisher.

    *title* and *explanation* are messages, *headers* is [(name, value)].
    """
    say, language = _get_words(environ)
    if environ.get('PATH_INFO', '').endswith('.json'):
        kind = JSON_TYPE
        body = dumpJSON({'status': status, 'error': say(title)})
    else:
        kind = 'text/html;charset=utf-8'
        body = _PAGE % {
            'language': language,
            'title': escape(say(title)),
            'explanation': escape(say(explanation))}
    return _send(environ, start_response, status, kind, body, headers)


def _send(environ, start_response, status, kind, body, headers=()):
    body = encode(body)
    start_response('%d %s' % (status, _REASONS[status]), [
        ('Content-Type', kind), ('Content-Length', str(len(body))),
        ('Content-Security-Policy', POLICY), *HEADERS, *headers])
    return [b'' if environ.get('REQUEST_METHOD') == 'HEAD' else body]


def _get_words(environ):
    """Return (function that translates a message, language)."""
    # Only the language is read from the request: the rest may be bad.
    try:
        formatter = Formatter(BrowserRequest(BytesIO(), {
            'HTTP_ACCEPT_LANGUAGE': environ.get('HTTP_ACCEPT_LANGUAGE', '')}))
        return formatter.say, formatter.language
    except Exception:
        return str, SOURCE


def _refuse(environ, start_response, error):
    _log(logging.WARNING, environ, error)
    status = getattr(error, 'status', 400)
    title, explanation = _('Bad request'), _(
        'The server does not understand this request.  Nothing was changed.')
    if status == 404:
        title, explanation = NotFoundPage.title, NotFoundPage.explanation
    return makePage(
        environ, start_response, status, title, explanation,
        [('Allow', ', '.join(FORM))] * (status == 405))


def _check_method(environ):
    """Raise `BadRequest` for a method or a body that browsers do not send."""
    if environ.get('REQUEST_METHOD', 'GET').upper() not in FORM:
        raise BadRequest('expected one of the methods of browsers', 405)
    # zope.app.publication regards this as XML-RPC or SOAP.
    kind = environ.get('CONTENT_TYPE', '').partition(';')[0].strip()
    if kind == 'text/xml' and environ.get('REQUEST_METHOD') == 'POST':
        raise BadRequest('expected a form or JSON, got XML', 415)


def _check(environ):
    """Raise an error for a request at which the publisher would fail."""
    host = _HOST.fullmatch(environ.get('HTTP_HOST', ''))
    if host is None:
        raise BadRequest('expected the name of a host')
    if host['ip'] is not None:
        IPv6Address(host['ip'])
    for name in 'CONTENT_LENGTH', 'HTTP_CONTENT_LENGTH':
        if not _LENGTH.fullmatch(environ.get(name) or ''):
            raise BadRequest('expected a number of bytes')
    # This second request object reads the path, the cookies and the form.
    request = BrowserRequest(BytesIO(_read_form(environ)), dict(environ))
    try:
        for charset in IUserPreferredCharsets(request).getPreferredCharsets():
            b'x'.decode(charset if charset != '*' else 'utf-8')
    except LookupError:
        # The header is not needed: our pages are in UTF-8.
        del environ['HTTP_ACCEPT_CHARSET']
        request = BrowserRequest(BytesIO(_read_form(environ)), dict(environ))
    if _is_form(environ):
        request.processInputs()
    # The publisher uses the value of a ":method" field as a step of the path.
    if any(not isinstance(step, str) for step in request._path_suffix or ()):
        raise BadRequest('expected a step of a path')
    for text in request._authUserPW() or ():
        if isinstance(text, bytes):
            text.decode('utf-8')
    # The publication looks for this step first, at any position in the path.
    if ('++etc++process' in request.getTraversalStack()
            and queryUtility(IEtcNamespace, 'process') is None):
        raise BadRequest('expected a step of a path', 404)


def _is_form(environ):
    """Return whether the publisher reads a form from the query or body."""
    if environ.get('REQUEST_METHOD', 'GET').upper() in ('GET', 'HEAD'):
        return True
    length = environ.get('CONTENT_LENGTH')
    return (environ.get('CONTENT_TYPE', '').lower().startswith(_FORMS)
            and bool(length) and int(length) <= FORM_LIMIT)


def _read_form(environ):
    """Return the body of a form; it can be read again afterwards."""
    if environ.get('REQUEST_METHOD', 'GET').upper() in ('GET', 'HEAD') or (
            not _is_form(environ)):
        return b''
    body = environ['wsgi.input'].read(int(environ['CONTENT_LENGTH']))
    environ['wsgi.input'] = BytesIO(body)
    return body


def _add_headers(start_response):
    """Return a *start_response* that adds our headers if they are missing."""
    def start(status, headers, *exc_info):
        given = {name.lower() for name, _value in headers}
        wanted = (('Content-Security-Policy', POLICY), *HEADERS)
        return start_response(status, headers + [
            (name, value) for name, value in wanted
            if name.lower() not in given], *exc_info)

    return start


def _log(level, environ, error):
    """Log one line: the request, the error, and where it was raised.

    The text of a library's error about a form is left out: it may quote the
    form.
    """
    place = extract_tb(error.__traceback__)[-1]
    has_text = level == logging.ERROR or isinstance(error, BadRequest)
    logger.log(level, '%s %s: %s%s (%s, line %d)',
               cleanLine(environ.get('REQUEST_METHOD'), 20),
               cleanLine(environ.get('PATH_INFO'), 200),
               type(error).__name__,
               ': ' + cleanLine(error, 200) if has_text else '',
               place.filename.rpartition('/')[2], place.lineno)
