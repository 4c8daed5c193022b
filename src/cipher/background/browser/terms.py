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
"""Texts of z3c.form's own widgets in the languages of our catalogs."""
from z3c.form.interfaces import ISelectWidget
from z3c.form.term import BoolTerms
from z3c.form.widget import StaticWidgetAttribute

from cipher.background.browser.interfaces import IBackgroundLayer
from cipher.background.i18n import _


class YesOrNo(BoolTerms):
    """The two terms of a field for yes or no."""

    trueLabel = _('yes')
    falseLabel = _('no')


noValue = StaticWidgetAttribute(
    _('No value'), request=IBackgroundLayer, widget=ISelectWidget)
