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
"""Install and uninstall the add-on in a site."""
import transaction
from Acquisition import aq_base
from plone.base.interfaces import INonInstallable
from Products.statusmessages.interfaces import IStatusMessage
from zope.component.hooks import getSite
from zope.globalrequest import getRequest
from zope.interface import implementer

from cipher.background.i18n import _
from cipher.background.interfaces import RegistryInUse
from cipher.background.interfaces import RegistryNotFound
from cipher.background.registry.installation import addRegistry
from cipher.background.registry.installation import removeRegistry


def install(tool):
    """Add the registry of the site."""
    site = getSite()
    if aq_base(site)._p_jar is None:
        # The site was made in this transaction.
        transaction.savepoint(optimistic=True)
    addRegistry(site)


def uninstall(tool):
    """Remove the registry of the site, unless it has unfinished runs."""
    try:
        removeRegistry(getSite())
    except RegistryNotFound:
        pass   # removed by its own page
    except RegistryInUse:
        # Plone shows no more than that an error has come up.
        request = getRequest()
        if request is not None:
            IStatusMessage(request).addStatusMessage(
                _('The registry of background runs is in use, so it stays.  '
                  'Stop its runs first, or remove it at the address '
                  '@@removeBackground.html of the site.'), 'error')
        raise


@implementer(INonInstallable)
class HiddenProfiles:
    """Keeps the profile that uninstalls out of the list of add-ons."""

    def getNonInstallableProducts(self):
        return []

    def getNonInstallableProfiles(self):
        return ['cipher.background.hosts.plone:uninstall']
