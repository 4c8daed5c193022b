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
"""What the libraries tell people, for languages that they lack."""
from cipher.background.i18n import DOMAIN
from cipher.background.i18n import _


# Of zope.schema and z3c.form.  A host that has their catalogs comes first.
MESSAGES = (
    _('Required input is missing.'),
    _('Object is of wrong type.'),
    _('Value is too big'),
    _('Value is too small'),
    _('Value is too long'),
    _('Value is too short'),
    _('Invalid value'),
    _('Constraint not satisfied'),
    _('Wrong contained type'),
    _('One or more entries of sequence are not unique.'),
    _('The specified URI is not valid.'),
    _('The entered value is not a valid integer literal.'),
    _('The entered value is not a valid decimal literal.'),
    _('The system could not process the given value.'),
)


def sayForeign(say, message):
    """Return *message* of any domain in the language of *say*."""
    text = say(message)
    if getattr(message, 'domain', DOMAIN) != DOMAIN and text == message:
        text = say(_(str(message)))
    return text
