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
"""Digests of chunks of finished runs, kept in the memory of the process.

A search for words, users or contexts has to look at each run.  A digest has
what is searched for in the runs of one chunk, so a later search passes over
the chunk without loading it.  A digest only excludes: runs of the other
chunks are loaded and compared.

The runs of a digest are finished, and no search depends on what may change
in them later.  Only the undo of a finish is not noticed: if such a run ends
again with other words, searches of this process may miss these.

The works of the successes in chunks of finishes are kept as well, for
`resolving`.
"""
import sys
import threading
import weakref
from array import array
from typing import NamedTuple

from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.util import clock
from cipher.background.util.masking import maskInput
from cipher.background.util.plaindata import readError
from cipher.background.util.plaindata import readInput
from cipher.background.util.plaindata import readNumber
from cipher.background.util.plaindata import readProgress
from cipher.background.util.plaindata import readText
from cipher.background.util.reference import oidOf
from cipher.background.util.text import MASK
from cipher.background.util.text import fold


#: Chunks of births and of finishes that are kept for one database, at most: a
#: few more than one list reads.  A list of finishes of some types passes over
#: as many without such a finish.
MOST = 8000
MOST_PACKED = 12500

#: Chunks of finishes whose works are kept for one database, at most: those of
#: 200,000 runs.  One takes about 800 bytes, all of them 10 MB; twice as much
#: if each run of a chunk is of another type.
MOST_WORKS = 12500

#: Characters in the texts of one digest, at most; a longer one is not kept.
TEXT_LIMIT = 8000

#: Characters of the values of an input that a search looks at.
INPUT_LIMIT = 400

#: Seconds since the last finish after which a chunk gets a digest.  A reader
#: with an older view of the database would still see the run unfinished.
SETTLED = 10.0

#: Levels of lists and dicts in an input that a search looks at.
_DEEPEST = 8
_SEVERAL = (list, tuple, set, frozenset, type({}.values()))

_all = weakref.WeakKeyDictionary()   # DB -> Digests
_lock = threading.Lock()


class Digest(NamedTuple):
    """What is searched for in the runs of a chunk."""

    moments: array         # of creation of each run
    types: tuple           # of each run
    # Each value once.  A tuple takes a fifth of the memory of a frozenset.
    starters: tuple
    oids: tuple            # of the contexts
    untitled: tuple        # types of the runs without a title of their own
    text: str              # folded, one text a line
    inputs: str            # as text, of the inputs


class Digests:
    """What is kept of the chunks of one database.  Thread-safe."""

    def __init__(self):
        self._digests = _Kept(MOST)          # of chunks of births: Digest
        self._packed = _Kept(MOST_PACKED)    # of chunks of finishes: entries
        self._works = _Kept(MOST_WORKS)      # of these: see keepWorks

    def get(self, chunk):
        """Return the `Digest` of *chunk*, or None.  Do not load the chunk."""
        return self._digests.get(chunk._p_oid)

    def add(self, chunk, runs, moment_of):
        """Keep the digest of the *runs* of a *chunk* if it will not change.

        *moment_of* is a function of a run.
        """
        if chunk._p_oid is None or not runs or not _are_settled(runs):
            return
        digest = _digest(runs, moment_of)
        if len(digest.text) + len(digest.inputs) <= TEXT_LIMIT:
            self._digests.keep(chunk._p_oid, digest)

    def hasPacked(self, chunk):
        """Return whether the entries of *chunk* are kept."""
        return chunk._p_oid in self._packed

    def packed(self, chunk):
        """Return the entries of a *chunk* of finishes.

        An entry whose run was removed since may be among them.
        """
        packed = self._packed.get(chunk._p_oid)
        if packed is None:
            packed = chunk.entries
            if _is_stored(chunk):
                self._packed.keep(chunk._p_oid, packed)
        return packed

    def hasWorks(self, chunk):
        """Return whether works of the *chunk* of finishes are kept."""
        return chunk._p_oid in self._works

    def works(self, chunk, stamp):
        """Return what `keepWorks` kept with an equal *stamp*, or None."""
        kept_stamp, moment, works = self._works.get(
            chunk._p_oid, (None, 0, None))
        # The clock may have been far ahead when they were kept.
        return (works if kept_stamp == stamp and _is_stored(chunk)
                and _is_past(moment) else None)

    def keepWorks(self, chunk, stamp, works, moment):
        """Keep *works*, {type name: packed works or None: not known yet}.

        The caller may replace a None later.  *moment* (microseconds) is that
        of the last finish or later.  Nothing is kept of a recent *chunk*, nor
        of one that was changed in the open transaction.
        """
        if _is_stored(chunk) and _is_past(moment):
            self._works.keep(chunk._p_oid, (stamp, moment, works))


def getDigests(jar):
    """Return the `Digests` of the database of the connection *jar*.

    Return new ones if *jar* is None.
    """
    if jar is None:
        return Digests()
    with _lock:
        return _all.setdefault(jar.db(), Digests())


class _Kept(dict):
    """{oid: value} with at most *most* values, those of the greatest oids.

    The newest objects have the greatest oids, and lists read these first.
    """

    _least = b''   # the values of lesser oids were dropped

    def __init__(self, most):
        super().__init__()
        self._most = most

    def keep(self, oid, value):
        """Set the value of *oid* unless it is among the oldest."""
        with _lock:
            if oid >= self._least:
                self[oid] = value
            if len(self) > self._most:
                oids = sorted(self)
                left = self._most - self._most // 8
                for old in oids[:-left]:
                    del self[old]
                self._least = oids[-left]


def _is_stored(chunk):
    return chunk._p_oid is not None and not chunk._p_changed


def _is_past(moment):
    return moment / 1000000 < clock.now() - SETTLED


def _are_settled(runs):
    before = clock.now() - SETTLED
    return all(run.isFinished() and not run._p_changed
               and readNumber(run.finished_at, before) < before
               and type(run.type) is str
               and type(run.starter) in (str, type(None))
               for run in runs)


def _digest(runs, moment_of):
    texts = {}   # as a set in order
    for run in runs:
        texts.update(dict.fromkeys(listTexts(run, run.progress)))
    return Digest(
        array('q', map(moment_of, runs)),
        tuple(sys.intern(run.type) for run in runs),
        tuple({run.starter and sys.intern(run.starter) for run in runs}),
        tuple({oidOf(run.reference) for run in runs}),
        tuple({sys.intern(run.type) for run in runs if not run.title}),
        '\n'.join(texts),
        '\n'.join(dict.fromkeys(map(readShownInput, runs))))


def listTexts(run, progress):
    """Return the folded texts of *run* that a search for words looks at.

    The title of its type is not among them.
    """
    progress = readProgress(progress)
    texts = (run.type, run.title and readText(run.title),
             progress and progress[2], *readError(run.error))
    return [fold(text) for text in texts if text]


def readShownInput(run):
    """Return the folded values of the input of *run*, without masked ones."""
    if not run.input:
        return ''
    worker_type = queryWorkerType(run.type)
    shown = maskInput(worker_type and worker_type.schema,
                      readInput(run.input))
    values = [value for value in shown.values() if value is not MASK]
    return fold(' '.join(_texts(values))[:INPUT_LIMIT])


def _texts(value, depth=0):
    """Yield the texts and numbers in plain data."""
    if type(value) is dict:
        value = value.values()
    if isinstance(value, str):
        yield value
    elif type(value) in (int, float):
        yield str(value)
    elif type(value) in _SEVERAL and depth < _DEEPEST:
        for item in value:
            yield from _texts(item, depth + 1)
