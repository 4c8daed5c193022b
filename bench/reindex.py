"""A reindex of many objects in one run, killed again and again.

    bin/python bench/main.py reindex [--objects 100000] [--kills 10] [--seed N]

Processes work on one run, one after the other; each but the last is ended by
SIGKILL at a random moment.  At the end every object must have been indexed
exactly once.  The exit code is the verdict of the audit.
"""
import argparse
import random
import shutil
import tempfile
import time

from zope.component import hooks

from cipher.background.tests.support import reindexprocess


def main(argv=None):
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--objects', type=int, default=100000)
    parser.add_argument('--kills', type=int, default=10)
    parser.add_argument('--batch', type=int, default=100)
    parser.add_argument('--seed', type=int,
                        default=random.SystemRandom().randrange(1000000))
    options = parser.parse_args(argv)
    hooks.setHooks()
    folder = tempfile.mkdtemp()
    try:
        begin = time.monotonic()
        reindexprocess.prepare(folder, options.objects)
        print('seed %d; %d objects made in %.1f s' % (
            options.seed, options.objects, time.monotonic() - begin),
            flush=True)
        figures = reindexprocess.carryOut(
            folder, options.objects, options.kills, options.seed,
            options.batch)
        verdict = reindexprocess.audit(folder)
        commits = reindexprocess.countCommits(folder)
    finally:
        shutil.rmtree(folder)
    report(options, figures, verdict, commits)
    return 0 if isGood(options, figures, verdict) else 1


def report(options, figures, verdict, commits):
    """Print the measured figures."""
    print('%.1f s with the starts of %d processes: %.0f items/s' % (
        figures['seconds'], options.kills + 1,
        options.objects / figures['seconds']))
    print('%.1f s of work alone: %.0f items/s' % (
        figures['work'], figures['processed'] / figures['work']))
    print('commits of the work: %d' % commits)
    print('kills that hit during the work: %d of %d' % (
        figures['hits'], options.kills))
    print('items done again after a kill: %d' % (
        figures['processed'] - options.objects))
    print('resident memory of each process, from the begin of its work to '
          'its end, in MB:')
    for begin, end in figures['lives']:
        print('  %.1f -> %.1f' % (begin / 1024, end / 1024))
    print('run: %s, %s, %d interruptions since its last checkpoint' % (
        verdict['state'], verdict['result'], verdict['interruptions']))
    print('objects not indexed exactly once: %d; index whole: %s' % (
        len(verdict['wrong']), 'yes' if verdict['is_index_whole'] else 'no'))
    print('audit: %s' % (
        'passed' if isGood(options, figures, verdict) else 'FAILED'))


def isGood(options, figures, verdict):
    """Return whether the figures and the verdict are as expected."""
    return (figures['code'] == 0 and figures['hits'] == options.kills
            and verdict['state'] == 'succeeded' and not verdict['wrong']
            and verdict['is_index_whole'])
