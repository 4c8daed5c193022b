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
"""Background work in an application of Pyramid.

``config.include('cipher.background.hosts.pyramid')`` does everything: see
docs/howto/pyramid.rst.  `PerProcess` is for servers that fork.
"""
from cipher.background import lazy


# Type checkers do not follow `lazy`; they take this name for true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from cipher.background.hosts.pyramid.including import includeme
    from cipher.background.hosts.pyramid.prefork import PerProcess
else:
    __getattr__, __dir__ = lazy(__name__, {
        'PerProcess': 'cipher.background.hosts.pyramid.prefork',
        'includeme': 'cipher.background.hosts.pyramid.including',
    })

__all__ = ['PerProcess', 'includeme']
