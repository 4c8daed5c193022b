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
"""The metrics, in the text format of Prometheus.

Nothing is counted here: each request reads what is stored anyway.  So every
process that serves the metrics of a database gives the same ones, except for
the conflicts, which each process counts for itself.
"""
from importlib.metadata import version
from operator import add

from prometheus_client import CollectorRegistry
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import HistogramMetricFamily

from cipher.background.interfaces import PROBLEMS
from cipher.background.monitoring.health import checkHealth
from cipher.background.monitoring.health import findRegistries
from cipher.background.queries import summary
from cipher.background.queries import visibility
from cipher.background.queries.oldest import oldestWait
from cipher.background.queries.snapshot import Snapshot
from cipher.background.store.histogram import BOUNDS
from cipher.background.store.stats import Spans
from cipher.background.util import clock
from cipher.background.util import switchboard
from cipher.background.util.host import getHost
from cipher.background.util.text import cleanLine


CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

#: The begin of the names of all metrics.
PREFIX = 'cipher_background_'

#: The numbers of pairs of site and worker type, of sites, and of processes
#: that have time series of their own.  A pair has about 65 of them.
PAIRS = 200
SITES = 100
PROCESSES = 200
#: The value of the labels of all others together.
OTHERS = '(others)'
#: Characters of the value of a label.
LABEL_LIMIT = 200

_UPPER_BOUNDS = (*(str(float(bound)) for bound in BOUNDS), '+Inf')


def makeText(source):
    """Return the metrics of *source* as text, as the reader may see them.

    *source* is a registry or a connection of ZODB; see `checkHealth`.  Raise
    the errors of a database that fails.
    """
    collector = CollectorRegistry()
    collector.register(_Collector(source))
    return generate_latest(collector).decode('utf-8')


class _Collector:
    """The metrics of *source* at this time."""

    def __init__(self, source):
        registries = findRegistries(source)
        connection = registries[0]._p_jar
        sites = [_Site(registry) for registry in registries
                 if registry._p_oid is not None]
        health = checkHealth(source)
        self._families = [
            _gauge('info', 'The release; always 1.', ['version'],
                   {(version('cipher.background'),): 1}),
            _gauge('health', '0: well; 1: a problem is listed; 2: no process '
                   'with threads lives.', [], {(): health.code}),
            _problems(sites, health),
            *_runs(sites),
            *_processes(Snapshot(registries[0]), health),
            *_conflicts(switchboard.queryRuntime(connection.db())),
        ]

    def describe(self):
        """Return no names: each collector has a registry of its own."""
        return []

    def collect(self):
        """Return the metrics, for `CollectorRegistry`."""
        return self._families


class _Site:
    """A registry: all that is read of it."""

    def __init__(self, registry):
        snapshot = Snapshot(registry)
        hidden = visibility.hiddenTypes(registry)
        self.path = getHost().pathOf(registry.getSite())
        self.counts, self.finished, self.spans = [
            {name: value for name, value in by_type.items()
             if name not in hidden}
            for by_type in (snapshot.counts(),
                            summary.countFinished(registry),
                            summary.getSpans(registry))]
        self.oldest = oldestWait(registry, snapshot)


def _problems(sites, health):
    kinds = {(site.path,): dict.fromkeys(PROBLEMS, 0) for site in sites}
    kinds[('',)] = dict.fromkeys(PROBLEMS, 0)   # of processes: no label
    for problem in health.problems:
        kinds[(problem.site or '',)][problem.kind] += 1
    return _gauge(
        'problems', 'Problems that are listed now.  Those of processes have '
        'no site.', ['site', 'kind'],
        _spread(_bounded(kinds, SITES, _add_dicts)))


def _runs(sites):
    def collect(name, plus):
        return _bounded(
            {(site.path, type): value for site in sites
             for type, value in getattr(site, name).items()}, PAIRS, plus)

    yield _gauge(
        'runs', 'Runs that are kept, by state.  Falls when runs are pruned.',
        ['site', 'type', 'state'], _spread(collect('counts', _add_dicts)))
    yield _counter(
        'runs_finished', 'Runs that ever finished, by state.  Those that were '
        'pruned or removed count.', ['site', 'type', 'state'],
        _spread(collect('finished', _add_dicts)))
    spans = collect('spans', Spans.merged)
    for index, name, about in (
            (0, 'run_duration_seconds', 'Time from the begin of a run to its '
             'finish.  Runs that were pruned or removed count.'),
            (1, 'queue_wait_seconds', 'Time from when a run was due to its '
             'first attempt; counted when it finishes.')):
        family = HistogramMetricFamily(
            PREFIX + name, about, labels=['site', 'type'])
        for labels, both in spans.items():
            histogram, total, buckets = both[index], 0, []
            for bound, number in zip(_UPPER_BOUNDS, histogram.numbers):
                total += number
                buckets.append((bound, total))
            family.add_metric(labels, buckets, histogram.seconds)
        yield family
    yield _gauge(
        'oldest_waiting_seconds', 'Time since the oldest run that waits was '
        'due; 0 if none waits.', ['site'], _bounded(
            {(site.path,): site.oldest for site in sites}, SITES, max))


def _processes(snapshot, health):
    now, busy = clock.now(), snapshot.countBusy()
    newest = health.processes[-PROCESSES:]
    for name, about, get in (
            ('process_up', '1: its heartbeat is recent; 0: it is silent.',
             lambda process: not process.is_silent),
            ('process_quiet', '1: it takes no new runs, on request or as a '
             'copy.', lambda process: process.is_quiet),
            ('process_draining', '1: it was asked to end.',
             lambda process: process.is_draining),
            ('heartbeat_age_seconds', 'Time since its last heartbeat.',
             lambda process: max(0.0, now - process.beat_at)),
            ('threads', 'Threads for jobs.',
             lambda process: process.threads),
            ('threads_busy', 'Threads that carry out jobs.',
             lambda process: busy[process.id]),
            ('process_start_time_seconds', 'When its runtime began, in '
             'seconds since the epoch.', lambda process: process.started_at)):
        yield _gauge(name, about, ['process'], _bounded(
            {('%s:%d' % (process.host, process.pid),): get(process)
             for process in newest}, PROCESSES, add))


def _conflicts(runtime):
    """Yield the conflicts of *runtime*, which is of this process, or None."""
    if runtime is not None and runtime.threads:
        yield _counter(
            'conflicts', 'Tries that were done again because of a conflict, '
            'in finished runs of the process that gives these metrics, since '
            'it began.', ['process'], _bounded(
                {(runtime.name,): runtime.conflicts}, PROCESSES, add))


def _gauge(name, about, labels, values):
    return _fill(GaugeMetricFamily(PREFIX + name, about, labels=labels),
                 values)


def _counter(name, about, labels, values):
    return _fill(CounterMetricFamily(PREFIX + name, about, labels=labels),
                 values)


def _fill(family, values):
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _spread(by_labels):
    """Return {labels with the key: value} of {labels: {key: value}}."""
    return {(*labels, key): value for labels, values in by_labels.items()
            for key, value in values.items()}


def _add_dicts(one, other):
    return {key: one.get(key, 0) + other.get(key, 0)
            for key in {**one, **other}}


def _bounded(by_labels, most, plus):
    """Return {clean labels: value} with at most *most* labels and the rest.

    *plus* adds two values whose labels are the same now.  The first labels
    in their order are kept, so a sum that only grows does so here, unless a
    site is removed.
    """
    found = {}
    for index, (labels, value) in enumerate(sorted(
            by_labels.items(), key=lambda item: item[0])):
        labels = tuple(
            cleanLine(label, LABEL_LIMIT) if index < most else OTHERS
            for label in labels)
        found[labels] = plus(found[labels], value) if (
            labels in found) else value
    return found
