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
"""Raw commits, and a bare loop that writes the same records as the package.

    bin/python bench/main.py floor [--storages file,zeo,postgresql,memory]
        [--jobs 2000] [--together 50] [--rounds 3] [--json FILE]

The *floor* is the number of commits a second, of one changed object each, in
one thread.  The *ceiling* is a loop in one thread that takes runs, adds 1 to
a counter for each and writes the records of their end, and does nothing else:
one run in each commit, or ``--together`` runs.  No job can be carried out
faster with the same records.
"""
from bench.places import STORAGES
from bench.places import listPossible
from bench.places import newPlace
from bench.rounds import carryOut
from bench.rounds import listOf
from bench.rounds import newParser
from bench.rounds import positive
from bench.rounds import report
from bench.throughput import TYPE
from bench.throughput import addOne
from bench.throughput import declare
from bench.throughput import measureCeiling
from bench.throughput import measureFloor
from zope.component import hooks


#: Part of the jobs for storages that are slower than a file.
PART = {'postgresql': 0.25}


def measure(kind, jobs, together):
    """Return {name: figure} of the storage *kind*."""
    jobs = max(2, int(jobs * PART.get(kind, 1)))
    figures = {}
    with newPlace(kind) as place:
        bench = place.open()
        floor = figures[kind + ', floor/s'] = measureFloor(bench, jobs)
        bench.close()
    for number in (1, together):
        with newPlace(kind) as place:
            bench = place.open()
            name = '%s, ceiling, %d a commit' % (kind, number)
            rate, used = measureCeiling(bench, jobs, number)
            bench.close()
        figures[name + ', jobs/s'] = rate
        figures[name + ', x floor'] = rate / floor
        figures[name + ', cpu us'] = used
    return figures


def main(argv=None):
    """Print a table."""
    parser = newParser(__doc__)
    parser.add_argument('--storages', type=listOf(str, STORAGES),
                        default=STORAGES)
    parser.add_argument('--jobs', type=positive, default=2000)
    parser.add_argument('--together', type=positive, default=50)
    options = parser.parse_args(argv)
    hooks.setHooks()
    declare(TYPE, addOne)
    report('floor', options, carryOut(
        [lambda kind=kind: measure(kind, options.jobs, options.together)
         for kind in listPossible(options.storages)], options.rounds))
