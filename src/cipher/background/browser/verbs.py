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
"""The acts on a run, and the permissions for them."""
from cipher.background.i18n import _
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import PENDING
from cipher.background.interfaces import RUNNING


#: {verb: name of the method of `IVerbs`}
METHODS = {
    'stop': 'requestStop',
    'begin': 'beginNow',
    'retry': 'retry',
    'remove': 'remove',
}
#: {verb: attribute of a status that is true if the act is possible}
POSSIBLE_IF = {
    'stop': 'is_stoppable',
    'begin': 'is_beginnable',
    'retry': 'is_retryable',
    'remove': 'is_removable',
}
#: {verb: the states in which the act may be possible}
CHANGEABLE = {
    'stop': (PENDING, RUNNING),
    'begin': (PENDING,),
    'retry': FINISHED_STATES,
    'remove': FINISHED_STATES,
}
TITLES = {
    'stop': _('Stop…'),
    'begin': _('Run now…'),
    'retry': _('Retry…'),
    'remove': _('Remove…'),
}


def mayDo(checked, verb):
    """Return whether the principal has the permission for *verb*.

    *checked* is the `IVerbs` of the registry.
    """
    return checked.may(METHODS[verb])


def listVerbs(checked):
    """Return [(verb, title)] of the acts that the principal may do."""
    return [(verb, title) for verb, title in TITLES.items()
            if mayDo(checked, verb)]
