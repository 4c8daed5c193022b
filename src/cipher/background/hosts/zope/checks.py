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
"""Name what the pages lack in Zope, when a process starts."""
from AccessControl.PermissionRole import rolesForPermissionOn
from Acquisition import aq_base
from zope.component import getUtility
from zope.interface import implementer
from zope.security.interfaces import IPermission

from cipher.background.interfaces import MANAGE_WORKERS
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import IStartCheck
from cipher.background.util.host import getHost


@implementer(IStartCheck)
class PagesCheck:
    """The check of the pages: some role must have each permission."""

    def __call__(self, registries):
        for registry in registries:
            site = getHost().siteOf(registry)
            placed = aq_base(registry).__of__(site)
            for permission in VIEW_WORKERS, MANAGE_WORKERS:
                title = getUtility(IPermission, permission).title
                roles = rolesForPermissionOn(title, placed)
                if not roles:
                    yield (
                        'expected a role with the permission %r in %s, got '
                        'none; give it to one in the Security tab'
                        % (title, getHost().pathOf(site)))
                elif 'Anonymous' in roles and permission == MANAGE_WORKERS:
                    yield (
                        'expected that visitors without a login may not '
                        'manage background work in %s, got the role '
                        'Anonymous with the permission %r; take it away in '
                        'the Security tab' % (getHost().pathOf(site), title))
