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
"""Test support for applications and for this package."""
import logging
from io import StringIO


def setUpLogging(logger, level=logging.DEBUG):
    """Divert what *logger* logs from *level* on; return where it goes to.

    That is a text buffer; nothing is propagated until `tearDownLogging`.
    """
    buffer = StringIO()
    handler = logging.StreamHandler(buffer)
    handler._before = logger.propagate, logger.level
    logger.propagate = False
    logger.addHandler(handler)
    logger.setLevel(level)
    return buffer


def tearDownLogging(logger):
    """Undo `setUpLogging`; do nothing where there is nothing to undo."""
    for handler in logger.handlers:
        if hasattr(handler, '_before'):
            logger.removeHandler(handler)
            logger.propagate, level = handler._before
            logger.setLevel(level)
            break
