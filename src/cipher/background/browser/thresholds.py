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
"""The form for the thresholds of problems."""
import re

from zope.browserpage import ViewPageTemplateFile
from zope.schema import Int
from zope.schema import getFieldsInOrder

from cipher.background.browser.administration import REASON_LIMIT
from cipher.background.browser.administration import getReason
from cipher.background.browser.page import FORM
from cipher.background.browser.page import Page
from cipher.background.browser.page import getParameter
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _
from cipher.background.interfaces import InvalidThreshold
from cipher.background.interfaces import IThresholds


# The values of <input type="number"> for whole numbers.
_WHOLE = re.compile('[0-9]{1,10}', re.ASCII)
_NUMBER = re.compile(r'[0-9]{1,10}(\.[0-9]{1,6})?', re.ASCII)


class ThresholdsPage(Page):
    """Shows the thresholds; a POST changes them."""

    template = ViewPageTemplateFile('templates/thresholds.pt')
    title = _('Problem thresholds')
    tab = 'index.html'
    methods = FORM
    reason_limit = REASON_LIMIT

    def update(self):
        self.errors = {}
        thresholds = self.checked.getThresholds()
        self.typed = {
            name: _write(getattr(thresholds, name))
            for name, field in getFieldsInOrder(IThresholds)}
        if self.request.method == 'POST':
            self._change()

    def _change(self):
        values = {}
        for name, field in getFieldsInOrder(IThresholds):
            if name not in self.request.form:
                continue   # not sent: unchanged
            text = getParameter(self.request, name).strip()
            self.typed[name] = cleanLine(text, 40)
            try:
                values[name] = _read(field, text)
            except ValueError:
                self.errors[name] = self._say_expected(field)
        if not self.errors:
            try:
                self.checked.changeThresholds(
                    values, getReason(self.request))
            except InvalidThreshold as error:
                field = IThresholds[error.name]
                self.errors[error.name] = self._say_expected(field)
        if self.errors:
            self.request.response.setStatus(400)
        else:
            self.request.response.redirect(
                self.registry_url + '/index.html', status=303)

    def _say_expected(self, field):
        number = self.presenter.format.number
        message = (
            _('Write a number from ${least} to ${most}.') if field.required
            else _('Write a number from ${least} to ${most}, or leave the '
                   'field empty.'))
        return self.say(message, least=number(field.min),
                        most=number(field.max))

    @property
    def fields(self):
        """The data of the fields of the form."""
        return [{
            'name': name, 'id': 'cb-' + name, 'hint_id': 'cb-hint-' + name,
            'error_id': 'cb-error-' + name,
            'described_by': 'cb-hint-%s%s' % (
                name, ' cb-error-' + name if name in self.errors else ''),
            'title': self.say(field.title),
            'hint': self.say(field.description),
            'value': self.typed[name], 'error': self.errors.get(name),
            'required': field.required, 'min': _write(field.min),
            'max': _write(field.max),
            'step': '1' if isinstance(field, Int) else 'any',
        } for name, field in getFieldsInOrder(IThresholds)]


def _read(field, text):
    """Return the number in *text* for *field*; raise ``ValueError``."""
    if not text and not field.required:
        return None
    if isinstance(field, Int):
        if _WHOLE.fullmatch(text):
            return int(text)
    elif _NUMBER.fullmatch(text):
        return float(text)
    raise ValueError(text)


def _write(number):
    return '' if number is None else '%.15g' % number
