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
"""The directives ``background:trigger`` and ``background:schedule``."""
import logging
import os
import tempfile

import transaction
from zope.component import getUtility
from zope.component import queryUtility
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.configuration import xmlconfig
from zope.configuration.config import ConfigurationConflictError
from zope.configuration.exceptions import ConfigurationError
from zope.event import notify
from zope.interface import Interface
from zope.interface import implementer
from zope.lifecycleevent import ObjectModifiedEvent

from cipher.background import zcml
from cipher.background.interfaces import FAILED
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import IWorkerType
from cipher.background.testing import setUpLogging
from cipher.background.testing import tearDownLogging
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import checkDefaults
from cipher.background.tests.support.sites import declare


HERE = __name__
# Without it no event of an object reaches who subscribes to both.
EVENTS = '<include package="zope.component" />'
WORKER = EVENTS + '<background:worker name="work" handler="%s.work" />' % HERE
MODIFIED = 'zope.lifecycleevent.interfaces.IObjectModifiedEvent'


class IPaper(Interface):
    """What the triggers are for."""


@implementer(IPaper)
class Paper(Document):
    """A document of its kind."""


def work(worker):
    """Do nothing."""


def holds(*objects):
    return True


def makeInput(*objects):
    return {}


def theSite():
    return getSite()


NUMBER = 42


class DirectiveTests(SiteTests):

    def setUp(self):
        super().setUp()
        logger = logging.getLogger('cipher.background')
        self.logged = setUpLogging(logger)
        self.addCleanup(tearDownLogging, logger)

    def refuse(self, directive):
        """Return why the directive is refused, in the third line of a file."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'wrong.zcml')
            with open(path, 'w') as stream:
                stream.write(
                    '<configure xmlns:background='
                    '"http://namespaces.zope.org/background">\n\n'
                    '%s\n</configure>\n' % directive)
            context = xmlconfig.file(
                'meta.zcml', __import__('cipher.background').background)
            with self.assertRaises(ConfigurationError) as caught:
                xmlconfig.file(path, context=context)
        text = str(caught.exception)
        self.assertIn('wrong.zcml", line 3', text)
        self.assertEqual(self.logged.getvalue(), '')
        return text

    def runs(self):
        """Return the runs that wait, the newest first."""
        return [self.registry.get(status.id)
                for status in self.registry.listRuns().items]


class TriggerTests(DirectiveTests):

    def declare(self, **attributes):
        attributes.setdefault('for', '%s.IPaper %s' % (HERE, MODIFIED))
        attributes.setdefault('worker', 'work')
        declare(WORKER + self.directive(attributes))

    def directive(self, attributes):
        return '<background:trigger %s />' % ' '.join(
            '%s="%s"' % (name, HERE + value if value[:1] == '.' else value)
            for name, value in attributes.items())

    def refuseTrigger(self, **attributes):
        attributes.setdefault('for', MODIFIED)
        attributes.setdefault('worker', 'work')
        return self.refuse(self.directive(attributes))

    def modify(self, class_=Paper):
        # Adding it would tell that the site is modified.
        paper = class_('Paper')
        paper.__parent__ = self.site
        notify(ObjectModifiedEvent(paper))
        return paper

    def test_defaults_of_schema_and_handler_agree(self):
        checkDefaults(self, zcml.ITriggerDirective, zcml.trigger)

    def test_trigger_starts_its_worker(self):
        self.declare()
        paper = self.modify()
        run, = self.runs()
        self.assertEqual((run.type, run.due_at, run.priority, run.input),
                         ('work', None, 0, None))
        self.assertIs(run.context, paper)

    def test_every_attribute_is_taken_over(self):
        self.declare(condition='.holds', input='.makeInput',
                     unique='context', delay='30', priority='7')
        notify(ObjectModifiedEvent(self.modify()))
        run, = self.runs()
        self.assertEqual(run.priority, 7)
        self.assertAlmostEqual(run.due_at - run.created_at, 30, delta=1)

    def test_for_may_be_an_event_interface(self):
        self.declare(**{'for': MODIFIED})
        self.modify()
        self.assertEqual(len(self.runs()), 1)

    def test_for_may_name_a_class(self):
        self.declare(**{'for': '%s.Paper %s' % (HERE, MODIFIED)})
        self.modify()
        self.assertEqual(len(self.runs()), 1)
        self.modify(Document)
        self.assertEqual(len(self.runs()), 1)

    def test_for_may_be_anything(self):
        self.declare(**{'for': '* %s' % MODIFIED})
        self.modify(Document)
        self.assertEqual(len(self.runs()), 1)

    def test_other_objects_start_nothing(self):
        self.declare()
        self.modify(Document)
        self.assertEqual(self.runs(), [])

    def test_several_triggers_of_a_worker_each_start_it(self):
        triggers = [{'for': MODIFIED, 'worker': 'work', 'name': name}
                    for name in ('one', 'two')]
        declare(WORKER + ''.join(map(self.directive, triggers)))
        self.modify()
        self.assertEqual(len(self.runs()), 2)

    def test_two_alike_without_a_name_conflict_and_ask_for_one(self):
        one = self.directive({'for': MODIFIED, 'worker': 'work'})
        with self.assertRaises(ConfigurationConflictError) as caught:
            declare(WORKER + one + one)
        self.assertIn(
            "'work: %s (give each a name=\"…\" of its own)'" % MODIFIED,
            str(caught.exception))

    def test_two_of_one_name_conflict(self):
        triggers = [{'for': what, 'worker': 'work', 'name': 'one'}
                    for what in (MODIFIED, '* ' + MODIFIED)]
        with self.assertRaises(ConfigurationConflictError) as caught:
            declare(WORKER + ''.join(map(self.directive, triggers)))
        self.assertIn("('cipher.background.trigger', 'one')",
                      str(caught.exception))

    def test_those_for_other_things_do_not_conflict(self):
        triggers = [{'for': what, 'worker': 'work'} for what in (
            MODIFIED, '* ' + MODIFIED, HERE + '.Paper ' + MODIFIED)]
        declare(WORKER + ''.join(map(self.directive, triggers)))
        self.modify()
        self.assertEqual(len(self.runs()), 3)

    def override(self, before, after):
        """Declare with an override, as an application does."""
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for number, attributes in enumerate((before, after)):
                paths.append(os.path.join(folder, '%d.zcml' % number))
                with open(paths[-1], 'w') as stream:
                    stream.write(
                        '<configure xmlns:background='
                        '"http://namespaces.zope.org/background">%s'
                        '</configure>' % self.directive(attributes))
            declare(WORKER + '<include file="%s" />'
                    '<includeOverrides file="%s" />' % tuple(paths))

    def test_override_takes_its_place(self):
        for name in {}, {'name': 'mine'}:
            self.override(
                {'for': MODIFIED, 'worker': 'work', 'priority': '1', **name},
                {'for': MODIFIED, 'worker': 'work', 'priority': '2', **name})
            self.modify()
            run = self.runs()[0]
            self.assertEqual(run.priority, 2)
            self.registry.requestStop(run.id)
        self.assertEqual(self.logged.getvalue(), '')

    def test_override_may_be_for_something_else_and_of_another_worker(self):
        self.override(
            {'for': MODIFIED, 'worker': 'nobody', 'name': 'mine'},
            {'for': HERE + '.IPaper ' + MODIFIED, 'worker': 'work',
             'name': 'mine'})
        self.modify(Document)
        self.assertEqual(self.runs(), [])
        self.modify()
        self.assertEqual([run.type for run in self.runs()], ['work'])
        # Nor is there a warning of what was overridden.
        self.assertEqual(self.logged.getvalue(), '')

    def test_override_switches_it_off(self):
        self.override({'for': MODIFIED, 'worker': 'work'},
                      {'for': MODIFIED, 'worker': 'work', 'enabled': 'no'})
        self.modify()
        self.assertEqual(self.runs(), [])

    def test_for_has_one_or_two_parts(self):
        for value, number in ('', 0), (' '.join([MODIFIED] * 3), 3):
            with self.subTest(value):
                self.assertIn(
                    "trigger of 'work': expected for with an event "
                    'interface, or with those of an object and an event, '
                    'got %d' % number, self.refuseTrigger(**{'for': value}))

    def test_for_must_exist(self):
        self.refuseTrigger(**{'for': '.IMissing'})

    def test_condition_and_input_must_be_callable(self):
        for name in 'condition', 'input':
            with self.subTest(name):
                self.assertIn(
                    "trigger of 'work': %s must be callable, got 42" % name,
                    self.refuseTrigger(**{name: '.NUMBER'}))

    def test_numbers_and_words_are_checked(self):
        for name, value in (
                ('delay', '-1'), ('delay', 'nan'), ('delay', 'inf'),
                ('delay', 'soon'), ('priority', '1001'), ('priority', 'x'),
                ('unique', 'often')):
            with self.subTest('%s=%s' % (name, value)):
                self.refuseTrigger(**{name: value})

    def test_delay_that_no_clock_can_tell_is_refused(self):
        self.refuseTrigger(delay='1e300')

    def test_undeclared_worker_is_warned_of_and_refused_at_start(self):
        self.declare(worker='nobody')
        warning = self.logged.getvalue()
        self.assertEqual(warning.count('declared worker'), 1)
        self.assertIn(
            "trigger of 'nobody': expected the name of a declared worker "
            "type, got 'nobody'; declare it with <background:worker />: until "
            'then each start fails (File "<string>", line', warning)
        self.modify()
        transaction.commit()
        run, = self.runs()
        self.assertEqual((run.state, run.error[0]),
                         (FAILED, 'UnknownWorkerType'))

    def test_worker_may_be_declared_below(self):
        declare(self.directive({'for': MODIFIED, 'worker': 'work'}) + WORKER)
        self.assertEqual(self.logged.getvalue(), '')


class ScheduleTests(DirectiveTests):

    def directive(self, attributes):
        return '<background:schedule %s />' % ' '.join(
            '%s="%s"' % (name, HERE + value if value[:1] == '.' else value)
            for name, value in attributes.items())

    def declare(self, **attributes):
        attributes.setdefault('worker', 'work')
        declare(WORKER + self.directive(attributes))
        return getUtility(
            ISchedule, attributes.get('name', attributes['worker']))

    def refuseSchedule(self, **attributes):
        attributes.setdefault('worker', 'work')
        text = self.refuse(self.directive(attributes))
        self.assertIsNone(queryUtility(ISchedule, 'work'))
        return text

    def test_defaults_of_schema_and_handler_agree(self):
        checkDefaults(self, zcml.IScheduleDirective, zcml.schedule)

    def test_schedule_is_a_utility_named_as_its_worker(self):
        schedule = self.declare(cron='0 3 * * *')
        self.assertEqual(
            (schedule.name, schedule.worker, schedule.cron, schedule.every,
             schedule.timezone, schedule.input),
            ('work', 'work', '0 3 * * *', None, 'UTC', None))

    def test_every_attribute_is_taken_over(self):
        schedule = self.declare(
            name='nightly', cron='0 3 * * *', timezone='Europe/Vilnius',
            input='.makeInput')
        self.assertEqual(
            (schedule.name, schedule.worker, schedule.cron,
             schedule.timezone, schedule.input),
            ('nightly', 'work', '0 3 * * *', 'Europe/Vilnius', makeInput))
        schedule = self.declare(name='often', every='0.5')
        self.assertEqual((schedule.cron, schedule.every), (None, 0.5))

    def test_options_of_the_start_are_taken_over(self):
        schedule = self.declare(
            cron='@daily', unique='type', priority='7', context='.theSite',
            description='For the boss', misfire='3600')
        self.assertEqual(
            (schedule.unique, schedule.priority, schedule.context,
             schedule.description, schedule.misfire),
            ('type', 7, theSite, 'For the boss', 3600.0))
        setSite(self.site)
        self.registry.runSchedule('work')
        again = self.registry.runSchedule('work')
        run, = self.runs()
        self.assertIs(run, again)
        self.assertEqual(run.priority, 7)
        self.assertIs(run.context, self.site)
        status, = self.registry.listSchedules()
        self.assertEqual(status.description, 'For the boss')

    def test_context_that_cannot_be_had_is_a_failed_run(self):
        declare(WORKER + self.directive({
            'worker': 'work', 'every': '60', 'context': '.holds'}))
        self.assertIsNone(self.registry.runSchedule('work'))
        transaction.commit()
        run, = self.runs()
        self.assertEqual(run.error[0], 'InvalidContext')

    def test_misfire_that_is_none_is_refused(self):
        for value in '0', '-1', 'nan', 'inf':
            self.assertIn("schedule 'work': misfire: expected seconds",
                          self.refuseSchedule(every='60', misfire=value))

    def test_schedule_that_is_switched_off(self):
        declare(WORKER + self.directive({
            'worker': 'work', 'every': '60', 'enabled': 'no'}))
        self.assertEqual(self.registry.listSchedules(), [])

    def test_a_worker_may_have_several_schedules(self):
        self.declare(name='a', every='60')
        self.declare(name='b', every='3600')
        self.assertEqual(
            [status.name for status in self.registry.listSchedules()],
            ['a', 'b'])

    def test_two_schedules_of_one_name_conflict(self):
        directive = self.directive({'worker': 'work', 'every': '60'})
        with self.assertRaises(ConfigurationConflictError) as caught:
            declare(WORKER + directive + directive)
        self.assertIn("('cipher.background.schedule', 'work')",
                      str(caught.exception))

    def test_cron_and_every_exclude_each_other(self):
        self.assertIn(
            "schedule 'work': expected exactly one of cron and every, got "
            'both', self.refuseSchedule(cron='0 3 * * *', every='60'))
        self.assertIn('got neither', self.refuseSchedule())
        self.assertIn('got both',
                      self.refuseSchedule(cron='0 3 * * *', every='0'))

    def test_every_must_be_more_than_nothing(self):
        for value in '0', '-1', 'nan', 'inf', '0.0':
            with self.subTest(value):
                self.assertIn(
                    "schedule 'work': every: expected seconds greater than "
                    '0, at most a hundred years, got ',
                    self.refuseSchedule(every=value))

    def test_every_that_no_clock_can_tell_is_refused(self):
        self.refuseSchedule(every='1e300')

    def test_wrong_cron_expression_is_refused(self):
        for value in '', '61 * * * *', '0 3 * *', '0 0 30 2 *':
            with self.subTest(value):
                self.assertIn(
                    "schedule 'work': cron: expected minute, hour, ",
                    self.refuseSchedule(cron=value))

    def test_unknown_timezone_is_refused(self):
        for more in {'cron': '0 3 * * *'}, {'every': '60'}:
            self.assertIn(
                "schedule 'work': timezone: expected the name of a time "
                "zone such as Europe/Vilnius, got 'Europe/Wilna'",
                self.refuseSchedule(timezone='Europe/Wilna', **more))

    def test_input_must_be_callable(self):
        self.assertIn("schedule 'work': input must be callable, got 42",
                      self.refuseSchedule(every='60', input='.NUMBER'))

    def test_worker_is_needed(self):
        self.refuse('<background:schedule every="60" />')

    def test_undeclared_worker_is_warned_of_and_refused_at_start(self):
        self.declare(worker='nobody', every='60')
        warning = self.logged.getvalue()
        self.assertEqual(warning.count('declared worker'), 1)
        self.assertIn(
            "schedule 'nobody': expected the name of a declared worker type, "
            "got 'nobody'; declare it with <background:worker />: until then "
            'each start fails (File "<string>", line', warning)
        self.assertIsNone(queryUtility(IWorkerType, 'nobody'))
        self.assertIsNone(self.registry.runSchedule('nobody'))
        run, = self.runs()
        self.assertEqual((run.state, run.error[0]),
                         (FAILED, 'UnknownWorkerType'))
