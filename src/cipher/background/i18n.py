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
"""The i18n domain of the package: ``_('Text')`` and ``plural(...)``.

``bin/i18n`` collects what is said with these two names.
"""
from zope.i18nmessageid import MessageFactory


DOMAIN = 'cipher.background'

_ = MessageFactory(DOMAIN)


def plural(one, many, number, **mapping):
    """Return the message *one* or *many*, as the language has it for *number*.

    Both are literal texts; ``${number}`` in them is the number, *mapping*
    fills in the rest.  A translation has as many forms as its language.
    """
    return _(one, msgid_plural=many, number=number,
             mapping=dict(mapping, number=number))
