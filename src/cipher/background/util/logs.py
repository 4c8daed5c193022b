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
"""Keep secrets and control characters out of the server's log.

A record of this package that has neither is logged unchanged.
`RecordFormatter` prevents text in any record from looking like a record.

Records of a run have its id, type and attempt as attributes; see `LABELS`.
"""
import logging
from contextvars import ContextVar

from cipher.background.util.text import CUT
from cipher.background.util.text import SHOWS_ALL
from cipher.background.util.text import clean
from cipher.background.util.text import formatTraceback
from cipher.background.util.text import indent
from cipher.background.util.transient import isTransient


#: Characters of one record of a run whose input has secrets.  Masking takes
#: time in proportion to the text; 256 Ki is what is kept of a run's log, too.
RECORD_LIMIT = 262144

_PLAIN = logging.Formatter()


#: The attributes by which a record names the run that logged it, and their
#: values outside a run.
LABELS = {
    'background_run': None,       # id of the run
    'background_type': None,      # name of its worker type
    'background_attempt': None,   # number of the attempt, from 1 on
}

# A function that returns the labels of the run in work, or None.
_get_labels = ContextVar('cipher.background.util.logs', default=None)


def labelRecords(get_labels):
    """Label the records that the context of the calling thread logs.

    *get_labels* returns values for `LABELS`; None: label nothing any more.
    """
    _get_labels.set(get_labels)


class RunFilter(logging.Filter):
    """Gives each record the labels of the run that logs it.

    Add it to a handler, so that the records of all loggers have them.  Drops
    no record.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the labels that *record* lacks; return True."""
        get_labels = _get_labels.get()
        labels = LABELS if get_labels is None else get_labels()
        vars(record).update(
            {name: value for name, value in labels.items()
             if getattr(record, name, None) is None})
        return True


class RecordFormatter(logging.Formatter):
    """Formats a record so that no text in it can forge another record.

    All lines but the first are indented; control characters are replaced.
    """

    def format(self, record: logging.LogRecord) -> str:
        return fit(indent(super().format(record)))


class _OwnRecords(RunFilter):
    """Labels records and replaces control characters in them."""

    def filter(self, record):
        super().filter(record)
        text = changed(record, SHOWS_ALL)
        if text is not None:
            record.msg, record.args = text, ()
            record.exc_info = record.exc_text = None
        return True


_own_records = _OwnRecords()


def getLogger(name: str) -> logging.Logger:
    """Return the logger *name* with its records cleaned."""
    logger = logging.getLogger(name)
    logger.addFilter(_own_records)
    return logger


def logError(logger, error, masker, msg, *args, level=logging.ERROR):
    """Log *error* with its traceback, masked by *masker*."""
    if masker.hides_all:
        logger.log(level, msg + '\n%s', *args,
                   formatTraceback(error, masker).rstrip('\n'))
        return
    text = changed(logger.makeRecord(
        logger.name, level, '', 0, msg, args,
        (type(error), error, error.__traceback__)), masker)
    if text is None:
        logger.log(level, msg, *args, exc_info=error)
    else:
        logger.log(level, '%s', text)


class MaskedError(Exception):
    """Replaces an error that shows secrets; has its masked traceback."""


class ErrorsMasked:
    """Raise `MaskedError` instead of an error that shows secrets.

    For a block whose caller logs the error.  *get_masker* is called after an
    error and returns the masker.  A transient error of *db* is raised
    unchanged: only the type of such an error is logged.
    """

    def __init__(self, db, get_masker):
        self._db = db
        self._get_masker = get_masker

    def __enter__(self):
        pass

    def __exit__(self, type, error, traceback):
        if error is None or isTransient(error, self._db):
            return
        masker = self._get_masker()
        shown = formatTraceback(error, masker)
        if masker is not SHOWS_ALL and shown != formatTraceback(error):
            raise MaskedError('\n' + shown) from None


def changed(record, masker):
    """Return the text to log instead of *record* and its traceback.

    Return None if *record* may be logged unchanged.
    """
    try:
        text = record.getMessage()
    except Exception:
        if masker is SHOWS_ALL:
            return None   # logging reports the error and the arguments
        return 'a record that cannot be formatted: %s' % fit(
            str(record.msg), masker)
    trace = record.exc_text
    if record.exc_info and not trace:
        trace = _PLAIN.formatException(record.exc_info)
    if trace:
        text = '%s\n%s' % (text, trace)
    shown = fit(text, masker)
    return None if shown == text else shown


def fit(text, masker=SHOWS_ALL):
    """Return *text* without secrets and control characters."""
    limit = len(text)
    if masker is not SHOWS_ALL:
        limit = min(limit, RECORD_LIMIT)
    return clean(text, max(limit, len(CUT)), masker)
