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
"""Sentences about numbers of runs, in the plural forms of each language."""
from cipher.background.browser.page import getParameter
from cipher.background.i18n import _
from cipher.background.i18n import plural


#: {verb: function of a number that returns a message about what was done}
OUTCOMES = {
    'begin': lambda number: plural(
        '${number} run is due now.', '${number} runs are due now.', number),
    'stop': lambda number: plural(
        '${number} run was stopped or asked to stop.',
        '${number} runs were stopped or asked to stop.', number),
    'retry': lambda number: plural(
        '${number} run was retried.', '${number} runs were retried.', number),
    'remove': lambda number: plural(
        '${number} run was removed.', '${number} runs were removed.', number),
}
#: {verb: function of a number that returns a message about what can be done}
POSSIBLE = {
    'begin': lambda number: plural(
        '${number} run can run now.', '${number} runs can run now.',
        number),
    'stop': lambda number: plural(
        '${number} run can be stopped.', '${number} runs can be stopped.',
        number),
    'retry': lambda number: plural(
        '${number} run can be retried.', '${number} runs can be retried.',
        number),
    'remove': lambda number: plural(
        '${number} run can be removed.', '${number} runs can be removed.',
        number),
}


def readOutcome(request, presenter):
    """Return the outcome of an act on many runs from the URL, or None."""
    make = OUTCOMES.get(getParameter(request, 'did'))
    numbers = [getParameter(request, name) for name in ('done', 'skipped')]
    if make is None or not all(
            number.isascii() and number.isdigit() and len(number) < 6
            for number in numbers):
        return None
    done, skipped = map(int, numbers)
    said = presenter.say(make(done))
    if skipped:
        said += '  ' + presenter.say(plural(
            '${number} run was skipped: it could not be changed.',
            '${number} runs were skipped: they could not be changed.',
            skipped))
    return said


def sayPossible(presenter, verb, number):
    """Return the sentence on the number of runs that *verb* can change."""
    return presenter.say(POSSIBLE[verb](number))


def saySkipped(presenter, number):
    """Return the sentence on the runs that are left out; '' for none."""
    if not number:
        return ''
    return presenter.say(plural(
        '${number} run will be skipped: it cannot be changed.',
        '${number} runs will be skipped: they cannot be changed.', number))


def sayFailed(presenter, number):
    """Return how many runs were left unchanged because of an error."""
    return presenter.say(plural(
        '${number} run was left unchanged because of an error.',
        '${number} runs were left unchanged because of an error.', number))


def sayMatching(presenter, number):
    """Return the words for all runs of a filter; *number* may be None."""
    if number is None:
        return presenter.say(_('All matching runs'))
    return presenter.say(plural(
        '${number} matching run', 'All ${number} matching runs',
        number))


def sayLookedAt(presenter, number):
    """Return the sentence on a search that ended at its limit."""
    return presenter.say(plural(
        'This search stopped after ${number} run.  “Older” continues it.',
        'This search stopped after ${number} runs.  “Older” continues it.',
        number))


def sayRows(presenter, number):
    """Return the sentence on the number of rows of a download."""
    return presenter.say(plural(
        'at most ${number} row', 'at most ${number} rows', number))
