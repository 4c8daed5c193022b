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
import time
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


def waitForRun(run, timeout=10.0):
    """Wait until *run* is finished; return its state.

    Begins transactions of the run's connection: what is not committed there
    is lost.  Raise ``AssertionError`` after *timeout* seconds.
    """
    manager = run._p_jar.transaction_manager
    deadline = time.monotonic() + timeout
    while True:
        manager.begin()
        if run.isFinished():
            return run.state
        if time.monotonic() > deadline:
            raise AssertionError(
                'run %r: expected it to be finished within %s s, got one that '
                'is %r' % (run.id, timeout, run.state))
        time.sleep(0.005)
