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
"""The texts of alerts, in the words of the pages."""
from urllib.parse import quote
from urllib.parse import urlencode

from zope.i18n.interfaces import IUserPreferredLanguages
from zope.interface import implementer

from cipher.background.browser.descriptions import describeProblem
from cipher.background.browser.descriptions import sayReason
from cipher.background.browser.presentation import Presenter
from cipher.background.browser.text import cleanLine
from cipher.background.i18n import _
from cipher.background.i18n import plural
from cipher.background.interfaces import IAlertTexts
from cipher.background.util.clock import isoOf


#: Groups of failed runs in a message; a bound for its size.
GROUPS_LIMIT = 50


@implementer(IUserPreferredLanguages)
class _Reader:
    """Stands for a request: one language, international forms of numbers."""

    locale = None

    def __init__(self, language):
        self._language = language

    def getPreferredLanguages(self):
        return [self._language]


@implementer(IAlertTexts)
class AlertTexts:
    """See `~cipher.background.interfaces.IAlertTexts`."""

    def compose(self, news, at, language, url):
        presenter = Presenter('', _Reader(language))
        message = {
            'problems': [_describe_problem(presenter, one, url)
                         for one in news.problems],
            'gone': [_describe_gone(key, said)
                     for key, said in news.gone.items()],
            'failures': [_describe_group(presenter, group, url)
                         for group in news.groups[:GROUPS_LIMIT]],
            'more': news.more + sum(
                group.number for group in news.groups[GROUPS_LIMIT:]),
        }
        message['subject'] = _say_subject(presenter, message)
        message['text'] = _write(presenter, message, at)
        return message, {
            one.key: described['text'] for one, described
            in zip(news.problems, message['problems'])}


def _describe_problem(presenter, one, url):
    data = describeProblem(presenter, one.problem)
    return {'kind': data['kind'], 'subject': data['subject'],
            'process': data['process'], 'site': one.site,
            'since': data['since'], 'text': data['text'],
            'url': _make_url(url, one.site, data['url'].lstrip('/'))}


def _describe_gone(key, said):
    kind, subject, process, site = key
    return {'kind': kind, 'subject': subject and cleanLine(subject),
            'process': process and cleanLine(process), 'site': site,
            'text': said}


def _describe_group(presenter, group, url):
    name, message = sayReason(presenter, group)
    return {
        'error_type': name, 'message': message, 'number': group.number,
        'types': {cleanLine(kind): number
                  for kind, number in sorted(group.types.items())},
        'last_run': group.last_run, 'last_at': isoOf(group.last_at),
        'site': group.site,
        'url': _make_url(url, group.site, 'runs.html?' + urlencode(
            {'error': group.key})),
    }


def _make_url(url, site, page):
    """Return the URL of a page of the registry in *site*; None without one.
    """
    if url is None:
        return None
    return '%s%s/++background++/%s' % (
        url.rstrip('/'), quote((site or '/').rstrip('/')), page)


def _say_subject(presenter, message):
    said = []
    if message['problems']:
        said.append(plural('${number} problem', '${number} problems',
                           len(message['problems'])))
    failed = message['more'] + sum(
        group['number'] for group in message['failures'])
    if failed:
        said.append(plural('${number} failed run', '${number} failed runs',
                           failed))
    if message['gone']:
        said.append(plural('${number} problem gone', '${number} problems gone',
                           len(message['gone'])))
    return presenter.say(_('Background work: ${news}'),
                         news=', '.join(map(presenter.say, said)))


def _write(presenter, message, at):
    lines = [presenter.format.dateTime(at)]
    for title, name, write in (
            (_('Problems'), 'problems', _write_problem),
            (_('Failed runs'), 'failures', _write_group),
            (_('Problems that are gone'), 'gone', _write_problem)):
        if message[name]:
            lines += ['', presenter.say(title), '']
            for one in message[name]:
                lines += write(presenter, one)
    if message['more']:
        lines += ['', presenter.say(plural(
            '${number} more failed run is not listed here.',
            '${number} more failed runs are not listed here.',
            message['more']))]
    return '\n'.join(lines) + '\n'


def _write_problem(presenter, one):
    yield '- ' + one['text'] + _say_site(presenter, one)
    if one.get('url'):
        yield '  ' + one['url']


def _write_group(presenter, one):
    yield '- %s × %s%s%s' % (
        presenter.format.number(one['number']), one['error_type'],
        ': ' + one['message'] if one['message'] else '',
        _say_site(presenter, one))
    yield '  ' + ', '.join('%s (%s)' % (
        name, presenter.format.number(number))
        for name, number in one['types'].items())
    yield '  ' + presenter.say(_('Last: run ${id}, ${when}'),
                               id=one['last_run'], when=one['last_at'])
    if one['url']:
        yield '  ' + one['url']


def _say_site(presenter, one):
    if one['site'] in (None, '/'):
        return ''
    return ' ' + presenter.say(_('(site ${path})'),
                               path=cleanLine(one['site']))
