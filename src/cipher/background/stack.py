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
"""Where a thread stands: a text for people, without any values."""
import os
import sys
import traceback
from threading import __file__ as _THREADING

from cipher.background.text import CUT
from cipher.background.text import clean


#: Characters.  The innermost calls are kept.
STACK_LIMIT = 4096

#: Calls that are looked at, from the innermost on.
_DEPTH = 60

_HERE = os.path.dirname(os.path.abspath(__file__))
_MACHINERY = (_HERE, os.path.join(_HERE, 'executors'))


def getStack(thread_id):
    """Return where the thread of this process stands, None if it is gone.

    As in a traceback, the innermost call last.  What calls the work, which is
    the same for all, is left out.
    """
    frame = sys._current_frames().get(thread_id)
    if frame is None:
        return None
    # The innermost ones, the outermost of them first.
    calls = traceback.extract_stack(frame, limit=_DEPTH)
    del frame
    begin = 0
    while begin < len(calls) and _is_machinery(calls[begin].filename):
        begin += 1
    lines = traceback.format_list(calls[begin:] or calls)
    text = clean(''.join(lines), sys.maxsize).rstrip()
    if len(text) > STACK_LIMIT:
        text = text[-STACK_LIMIT + len(CUT) + 1:]
        text = '%s\n%s' % (CUT, text.partition('\n')[2])
    return text


def _is_machinery(filename):
    return filename == _THREADING or os.path.dirname(filename) in _MACHINERY
