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
"""Messages of libraries, for languages that their catalogs lack."""
from cipher.background.i18n import DOMAIN
from cipher.background.i18n import _


# Messages of zope.schema and z3c.form.  A host's catalogs take precedence.
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
    """Return the *message* of any domain, translated by *say*.

    *say* is the method of a `Formatter`, `Presenter` or `Page`.
    """
    text = say(message)
    if getattr(message, 'domain', DOMAIN) != DOMAIN and text == message:
        text = say(_(str(message)))
    return text
