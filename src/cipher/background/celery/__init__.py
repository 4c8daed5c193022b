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
"""Runs that processes of Celery carry out.

`sender`
    The executor that sends a message for each job.
`receiver`
    The Celery task that carries out the run of a message.

Only these two import Celery, so the names in ``__all__`` are loaded at their
first use.  A message contains the ids of a registry and of a run, nothing
else.  A "process of Celery" is one of its workers.
"""
from cipher.background import lazy


# As in `cipher.background`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from cipher.background.celery.receiver import register
    from cipher.background.celery.sender import makeMessage
else:
    __getattr__, __dir__ = lazy(__name__, {
        'makeMessage': 'cipher.background.celery.sender',
        'register': 'cipher.background.celery.receiver',
    })

__all__ = [
    'makeMessage',
    'register',
]
