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
"""The log of a run as lines with a level, for the list on its page."""
import re

from cipher.background.browser.text import cleanText
from cipher.background.i18n import _


#: {level in the log: level of the filters on the page}
LEVELS = {'DEBUG': 'debug', 'INFO': 'info', 'WARNING': 'warning',
          'ERROR': 'error', 'CRITICAL': 'error'}

#: The `level` of a line that begins an attempt.
ATTEMPT = 'attempt'

_RECORD = re.compile(
    r'(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2}) (?P<at>[0-9]{2}:[0-9]{2}:[0-9]{2})'
    r',[0-9]{3} (?P<level>[A-Z]+) (?P<logger>\S+) ?(?P<text>.*)')
_HEAD = re.compile(r'=== Execution (?P<number>[0-9]+)(?:, (?P<at>[^,]*))?'
                   r'(?:, process (?P<process>.*))? ===')


def listLines(log, say, traceback=None):
    """Return the records and attempts of *log* as dicts, the oldest first.

    Each has `at`, `level`, `word`, `logger` and `message`.  *say* translates.
    A *traceback* that the page shows elsewhere is left out.
    """
    found = []
    for line in log.split('\n'):
        match = _RECORD.fullmatch(line)
        if match is not None:
            found.append(_line(
                LEVELS.get(match['level'], 'info'), match['text'],
                match['at'], match['level'].lower(), '%s %s' % (
                    match['day'], match['logger'])))
            continue
        match = _HEAD.fullmatch(line)
        if match is not None:
            found.append(_line(ATTEMPT, ', '.join(filter(None, (
                say(_('Execution ${number}'), number=match['number']),
                match['at'], match['process'])))))
        elif found and found[-1]['level'] != ATTEMPT:
            found[-1]['message'] += '\n' + line
        elif line:
            found.append(_line('info', line))
    for line in found:
        line['message'] = _without(line['message'], traceback, say)
    return found


def _line(level, text, at='', word='', logger=''):
    return {'level': level, 'message': text, 'at': at, 'word': word,
            'logger': logger}


def _without(text, traceback, say):
    head, found, rest = text.partition('\n')
    if not found or not traceback or _bare(traceback) not in _bare(rest):
        return cleanText(text).rstrip()
    return '%s\n%s' % (head, say(_('The traceback is shown below.')))


def _bare(text):
    return ''.join(text.split())
