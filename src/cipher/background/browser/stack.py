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
"""The stack of a run as frames: those of the application first.

Only the path of a file decides, since the stack may come from another machine.
"""
import re

from cipher.background.i18n import plural


#: The packages below which an application works.  Their frames are folded.
FRAMEWORKS = frozenset((
    'BTrees', 'RelStorage', 'ZConfig', 'ZEO', 'ZODB', 'celery', 'kombu',
    'persistent', 'relstorage', 'transaction', 'waitress', 'z3c',
    'zodburi', 'zope'))

_FRAME = re.compile(r'  File "(?P<file>.*)", line (?P<line>[0-9]+)'
                    r'(?:, in (?P<name>.*))?')
_INSTALLED = re.compile(
    r'.*/(?:(?:site|dist)-packages|[^/]+\.egg)/(?P<path>.+)')
_PYTHON = re.compile(r'.*/python3[^/]*/(?P<path>.+)')
_OWN = re.compile(r'.*/(?P<path>cipher/background/(?!demo/|tests/).+)')

PYTHON = 'Python'


def sortFrames(stack):
    """Return (frames of the application, folded groups) of a stack.

    The innermost frame comes first.  Each frame is a dict with `name`,
    `place` and `code`.  Each group is a dict with `message`, `sources` and
    `code`.  If no frame is the application's, the innermost one counts as
    such.
    """
    frames = _parse(stack or '')[::-1]
    own = [index for index, frame in enumerate(frames)
           if frame['source'] is None] or [0][:len(frames)]
    below = frames[:own[0]] if own else []
    around = [frame for index, frame in enumerate(frames)
              if own and index > own[0] and index not in own]
    groups = [
        _fold(below, plural(
            '${number} frame below, of ${names}',
            '${number} frames below, of ${names}', len(below))),
        _fold(around, plural(
            '${number} frame around, of ${names}',
            '${number} frames around, of ${names}', len(around)))]
    return ([frames[index] for index in own],
            [group for group in groups if group['code']])


def _fold(frames, message):
    return {'message': message,
            'sources': sorted({frame['source'] for frame in frames
                               if frame['source']}),
            'code': '\n'.join('%s, %s' % (frame['place'], frame['name'])
                              for frame in frames)}


def _parse(stack):
    """Return the frames of a stack, the outermost first."""
    found = []
    for line in stack.split('\n'):
        match = _FRAME.fullmatch(line)
        if match is not None:
            path, source = _sort(match['file'].replace('\\', '/'))
            found.append({
                'place': '%s:%s' % (path, match['line']),
                'name': match['name'] or '', 'code': '', 'source': source})
        elif found and line.startswith('    '):
            code = found[-1]['code']
            found[-1]['code'] = code + '\n' * bool(code) + line.strip()
    if not found and stack:
        return [{'place': '', 'name': '', 'code': stack, 'source': None}]
    return found


def _sort(path):
    """Return (short path, source) of a file; source None: the application.
    """
    match = _OWN.fullmatch(path)
    if match is not None:
        return match['path'], 'cipher.background'
    match = _INSTALLED.fullmatch(path)
    if match is not None:
        top = match['path'].partition('/')[0].partition('.')[0]
        return match['path'], top if top in FRAMEWORKS else None
    match = _PYTHON.fullmatch(path)
    if match is not None:
        return match['path'], PYTHON
    if path.startswith('<frozen '):
        return path, PYTHON
    return '/'.join(path.split('/')[-3:]), None
