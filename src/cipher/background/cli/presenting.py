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
"""What commands show, in the words of the pages, as plain data and as texts.
"""
from zope.i18n.interfaces import IUserPreferredLanguages
from zope.interface import implementer
from zope.security.interfaces import Forbidden
from zope.security.interfaces import Unauthorized
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser.formatting import plainValue
from cipher.background.browser.presentation import Presenter
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import cleanText
from cipher.background.browser.timeline import describeAttempts
from cipher.background.i18n import _
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import RunNotFound
from cipher.background.util.host import getHost


# Keys of the pages' data that make sense on a page only.
_FOR_PAGES = frozenset([
    'url', 'label', 'chips', 'has_bar', 'has_progress', 'is_here',
    'can_adopt', 'can_decide'])

#: Headers of a table of runs; the texts of `tellRun`.
RUN_HEADERS = ('Id', 'State', 'Type', 'Title', 'Started by', 'Created',
               'Took', 'Note')
#: The ones that a narrow terminal does not show.
RUN_OPTIONAL = ('Title', 'Started by', 'Created', 'Took')


@implementer(IUserPreferredLanguages)
class Terminal:
    """Stands for a request: English, international forms, the local zone."""

    locale = None

    def getPreferredLanguages(self):
        """Return no language: the texts are those of the source."""
        return []


def makePresenter():
    """Return the `Presenter` of a command."""
    return Presenter('', Terminal())


def makePlain(data):
    """Return the *data* of a page without addresses and texts for people."""
    if isinstance(data, dict):
        return {
            key: makePlain(value) for key, value in data.items()
            if key not in _FOR_PAGES and not key.endswith('_url')
            and not (key == 'text' and isinstance(value, dict))}
    if isinstance(data, (list, tuple)):
        return [makePlain(value) for value in data]
    return data


def describeRun(presenter, checked, run_id, status):
    """Return the data of a run: that of the pages, and its context."""
    data = presenter.describeRun(status)
    data['context'] = _describe_context(presenter, checked, run_id)
    return data


def _describe_context(presenter, checked, run_id):
    try:
        ob = checked.getContext(run_id)
    except RunNotFound:
        return None
    if ob is None:
        return None
    try:
        # A principal who may see neither sees no path.
        title = getattr(ob, 'title', None) or ob.__name__
        return {'title': cleanLine(title, 200),
                'path': cleanLine(getHost().pathOf(removeSecurityProxy(ob)))}
    except (AttributeError, Unauthorized, Forbidden):
        return {'path': None, 'title': presenter.say(
            _('An object that has no address or that you may not see'))}


def describeDetails(presenter, checked, data):
    """Return the details of a run; *data* is that of `describeRun`."""
    details = checked.getDetails(data['id'])
    return {
        'input': {cleanLine(name): cleanText(plainValue(value), 10000)
                  for name, value in details.input.items()},
        'traceback': cleanText(details.traceback) or None,
        'attempts': describeAttempts(presenter, details),
        'attempts_left_out': details.left_out,
        'stack': None if data['state'] in FINISHED_STATES else (
            cleanText(checked.getStack(data['id'])) or None),
    }


def tellRun(data):
    """Return the cells of a row for the run of *data*; see `RUN_HEADERS`."""
    text = data['text']
    note = [text['note'] or text['wait']]
    if data['state'] == RUNNING:
        note.insert(0, text['progress'])
    return (data['id'], data['state'], data['type'],
            '' if data['title'] == data['type'] else data['title'],
            text['starter'], cutZone(text['created']), text['took'],
            '; '.join(filter(None, note)))


def cutZone(moment):
    """Return the text of a time without its zone, which is the local one."""
    return moment.rpartition(' ')[0]
