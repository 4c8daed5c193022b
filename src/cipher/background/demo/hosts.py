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
"""The demo answers only requests for its own host names.

Its passwords are public.  Another site could point one of its names at this
machine (DNS rebinding); its pages would then have the same origin as the demo.
"""
import logging
from ipaddress import ip_address

from cipher.background.browser import cleanLine
from cipher.background.browser import makePage
from cipher.background.demo.i18n import _


logger = logging.getLogger(__name__)


def refuseForeignHosts(application, names):
    """Return an application that calls *application* for *names* only.

    IP addresses and localhost are always accepted: no other site can point
    them elsewhere.
    """
    allowed = {_clean(name) for name in names} | {'localhost', ''}

    def answer(environ, start_response):
        name = _get_name(environ.get('HTTP_HOST', ''))
        if (name in allowed or name.endswith('.localhost')
                or _is_address(name)):
            return application(environ, start_response)
        logger.warning(
            'refused a request for the host %s: if that is this machine, '
            'start the demo with --allow-host', cleanLine(name, 80))
        return makePage(
            environ, start_response, 403, _('Unknown host name'),
            _('The demo does not answer to this host name: another site '
              'could have made it up.  Use the address of the demo, or '
              'start the demo with --allow-host and this name.'))

    return answer


def _get_name(host):
    """Return the name or the address in a Host header."""
    host = host.strip()
    if host.startswith('['):
        return host[1:].partition(']')[0]
    return _clean(host.partition(':')[0])


def _clean(name):
    return name.strip().lower().rstrip('.')


def _is_address(name):
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
