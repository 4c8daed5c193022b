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
"""The directives as functions: the same attributes and the same checks."""
import inspect
from pathlib import Path
from xml.etree import ElementTree

from zope.component import getGlobalSiteManager
from zope.component import getUtilitiesFor
from zope.component import getUtility
from zope.component import queryUtility
from zope.configuration.exceptions import ConfigurationError
from zope.event import notify
from zope.interface import Interface
from zope.interface import implementer
from zope.lifecycleevent import IObjectModifiedEvent
from zope.lifecycleevent import ObjectModifiedEvent
from zope.schema import Int
from zope.schema import getFieldsInOrder

import cipher.background
from cipher.background import zcml
from cipher.background.interfaces import IMonitoringSettings
from cipher.background.interfaces import InvalidDeclaration
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import ISchedule
from cipher.background.interfaces import IWebSettings
from cipher.background.interfaces import IWorkerType
from cipher.background.python.directives import DIRECTIVES
from cipher.background.python.directives import declareMonitoring
from cipher.background.python.directives import declareRuntime
from cipher.background.python.directives import declareSchedule
from cipher.background.python.directives import declareTrigger
from cipher.background.python.directives import declareWeb
from cipher.background.python.directives import declareWorker
from cipher.background.subscribers import startRuntimeOfDatabase
from cipher.background.tests.support.sites import SECURITY
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.tests.support.sites import Document
from cipher.background.tests.support.sites import SiteTests
from cipher.background.tests.support.sites import checkDefaults
from cipher.background.tests.support.sites import declare


HERE = __name__
META = Path(cipher.background.__file__).parent / 'meta.zcml'


class IPaper(Interface):
    """What the triggers are for."""


@implementer(IPaper)
class Paper(Document):
    """A document of its kind."""


class IAmount(Interface):

    amount = Int(title="Amount")


def work(worker):
    """Work."""


def count(worker, amount):
    """Need input."""


def other(worker):
    """Work as well."""


def never(thing, event):
    """Be a condition."""
    return False


def amounts():
    """Return input."""
    return {'amount': 1}


NUMBER = 42

#: An attribute that is valid, besides a required one.
VALID = {
    'worker': {'name': 'w', 'handler': work},
    'trigger': {'for_': (IPaper, IObjectModifiedEvent), 'worker': 'w'},
    'schedule': {'worker': 'w', 'every': 60.0},
    'runtime': {}, 'web': {}, 'monitoring': {},
    'alerts': {'webhook': 'https://example.org/'},
}

#: directive: [(attribute, value, the same in ZCML)] that must be refused.
BAD = {
    'worker': [
        ('name', '', ''), ('class_', NUMBER, '.NUMBER'),
        ('handler', NUMBER, '.NUMBER'), ('schema', NUMBER, '.NUMBER'),
        ('schema', IAmount, '.IAmount'),
        ('permission', 'zope.Public', 'zope.Public'),
        ('permission', 'no.such.Permission', 'no.such.Permission'),
        ('view_permission', 'not an id', 'not an id'),
        ('on_interrupt', 'retry', 'retry'), ('max_attempts', 0, '0'),
        ('retry_delay', -1, '-1'), ('max_running', 0, '0'),
        ('unique', 'maybe', 'maybe'), ('priority', 1001, '1001'),
        ('run_as', 'system', 'system'), ('stop_timeout', -0.5, '-0.5'),
        ('autostart', True, 'yes'), ('keep_days', -1.0, '-1'),
        ('keep', -1, '-1'), ('former', ['w'], 'w')],
    'trigger': [
        ('for_', (), ''), ('for_', (IObjectModifiedEvent, IPaper),
                           'zope.lifecycleevent.interfaces.'
                           'IObjectModifiedEvent .IPaper'),
        ('condition', NUMBER, '.NUMBER'), ('condition', work, '.work'),
        ('input', amounts, '.amounts'), ('unique', 'maybe', 'maybe'),
        ('delay', -1, '-1'), ('delay', 1e20, '1e20'),
        ('priority', -1001, '-1001')],
    'schedule': [
        ('cron', '* * * * *', '* * * * *'), ('every', 0, '0'),
        ('timezone', 'Mars/Olympus', 'Mars/Olympus'),
        ('input', work, '.work'), ('context', NUMBER, '.NUMBER'),
        ('unique', 'maybe', 'maybe'), ('priority', 1001, '1001'),
        ('misfire', 0, '0')],
    'runtime': [
        ('threads', -1, '-1'), ('drain', -1, '-1'), ('poll', 0, '0'),
        ('lease', 1, '1'), ('grace', -1, '-1'),
        ('executor', 'none', 'none'), ('deployment', '', ''),
        ('types', [], '')],
    'web': [('base_url', 'ftp://example.org', 'ftp://example.org')],
    'monitoring': [
        ('token_variable', 'NO_SUCH_VARIABLE', 'NO_SUCH_VARIABLE'),
        ('token', 'with a blank', 'with a blank')],
    'alerts': [
        ('name', '', ''), ('mail_to', [], ''),
        ('mail_to', ['a@example.org'], 'a@example.org'),
        ('mail_from', 'a@example.org', 'a@example.org'),
        ('smtp_port', 0, '0'), ('smtp_security', 'ssl', 'ssl'),
        ('smtp_user', 'me', 'me'),
        ('password_variable', 'NO_SUCH_VARIABLE', 'NO_SUCH_VARIABLE'),
        ('webhook', 'ftp://example.org', 'ftp://example.org'),
        ('webhook_variable', 'NO_SUCH_VARIABLE', 'NO_SUCH_VARIABLE'),
        ('token_variable', 'NO_SUCH_VARIABLE', 'NO_SUCH_VARIABLE'),
        ('interval', -1.0, '-1'), ('timeout', 0.5, '0.5'),
        ('language', '', ''), ('url', 'example.org', 'example.org')],
}

#: Attributes with values of Python that ZCML cannot give.
MISTYPED = {bool: 'yes', int: 'many', float: 'long', str: 7}

#: Texts and functions of which nothing can be refused but their types.
FREE = {('worker', 'title'), ('worker', 'description'),
        ('schedule', 'description'), ('trigger', 'worker'),
        ('alerts', 'smtp_host'),   # it needs mail_to
        ('alerts', 'permission'),  # the worker type refuses it
        ('trigger', 'name'), ('schedule', 'worker'), ('schedule', 'name')}


def toZCML(directive, values):
    return '<background:%s %s />' % (directive, ' '.join(
        '%s="%s"' % (name.rstrip('_'), value)
        for name, value in values.items()))


class AttributeTests(ComponentTests):

    def test_each_directive_has_a_function(self):
        names = [element.get('name') for element in ElementTree.parse(
            META).iter() if element.tag.endswith('}directive')]
        self.assertEqual(sorted(names), sorted(DIRECTIVES))
        for name in names:
            function = DIRECTIVES[name][2]
            self.assertEqual(function.__name__, 'declare' + name.capitalize())
            self.assertIn(function.__name__, cipher.background.__all__)
            self.assertIs(
                getattr(cipher.background, function.__name__), function)

    def test_each_attribute_has_a_parameter_with_the_same_default(self):
        for name, (schema, handler, function) in DIRECTIVES.items():
            def without_override(_context):
                """Stand for the function."""

            signature = inspect.signature(function)
            *parameters, override = signature.parameters.values()
            self.assertEqual(override.name, 'override')
            self.assertIs(override.default, False)
            self.assertIs(override.kind, override.KEYWORD_ONLY)
            without_override.__signature__ = signature.replace(parameters=[
                inspect.Parameter('_context', override.POSITIONAL_ONLY),
                *parameters])
            checkDefaults(self, schema, without_override)
            for parameter in parameters:
                self.assertIsNot(parameter.annotation, parameter.empty)


class CheckTests(ComponentTests):

    def registered(self):
        manager = getGlobalSiteManager()
        return (list(manager.registeredUtilities()),
                list(manager.registeredHandlers()))

    def test_what_ZCML_refuses_is_refused(self):
        for directive, cases in BAD.items():
            for attribute, value, text in cases:
                with self.subTest(directive, attribute=attribute, bad=text):
                    written = {name: VALID_ZCML[directive].get(name, '')
                               for name in VALID[directive]}
                    written[attribute] = (
                        text.replace('.', HERE + '.', 1)
                        if text[:1] == '.' else
                        text.replace(' .', ' %s.' % HERE))
                    with self.assertRaises(ConfigurationError):
                        declare(SECURITY + toZCML(directive, written))
                    self.tearDown()
                    self.setUp()
                    declare(SECURITY)
                    before = self.registered()
                    with self.assertRaises(InvalidDeclaration) as caught:
                        DIRECTIVES[directive][2](
                            **{**VALID[directive], attribute: value})
                    self.assertEqual(self.registered(), before)
                    self.assertRegex(
                        str(caught.exception),
                        '^%s( of)?( [\'"].*)?: ' % directive)

    def test_each_attribute_has_a_bad_value_or_none(self):
        for directive, (schema, _handler, _function) in DIRECTIVES.items():
            tried = {attribute for attribute, _v, _z in BAD[directive]}
            for name, field in getFieldsInOrder(schema):
                if name not in tried and (directive, name) not in FREE:
                    self.assertIs(field._type, bool, (directive, name))

    def test_values_of_another_type_are_refused(self):
        number = 0
        for directive, (schema, _handler, function) in DIRECTIVES.items():
            for name, field in getFieldsInOrder(schema):
                kinds = getattr(field, '_type', None) or ()
                kinds = kinds if isinstance(kinds, tuple) else (kinds,)
                for kind in kinds:
                    if kind in MISTYPED:
                        number += 1
                        with self.subTest(directive, name=name), \
                                self.assertRaisesRegex(
                                    InvalidDeclaration,
                                    'expected %s ' % name.rstrip('_')):
                            function(**{**VALID[directive],
                                        name: MISTYPED[kind]})
        self.assertGreater(number, 30)

    def test_a_number_is_no_truth_and_a_truth_no_number(self):
        for name, value in ('autostart', 1), ('max_attempts', True):
            with self.assertRaisesRegex(InvalidDeclaration, name):
                declareWorker('w', handler=work, **{name: value})

    def test_text_is_no_list_of_names(self):
        with self.assertRaisesRegex(InvalidDeclaration, 'expected former'):
            declareWorker('w', handler=work, former='old')

    def test_host_without_permissions_has_names_of_its_own(self):
        declareWorker('w', handler=work, permission='dms.Edit')
        self.assertEqual(getUtility(IWorkerType, 'w').permission, 'dms.Edit')


VALID_ZCML = {
    'worker': {'name': 'w', 'handler': HERE + '.work'},
    'trigger': {'for_': HERE + '.IPaper zope.lifecycleevent.interfaces.'
                'IObjectModifiedEvent', 'worker': 'w'},
    'schedule': {'worker': 'w', 'every': '60'},
    'runtime': {}, 'web': {}, 'monitoring': {},
    'alerts': {'webhook': 'https://example.org/'},
}


class ResultTests(ComponentTests):

    def test_all_that_ZCML_makes(self):
        declare(toZCML('worker', VALID_ZCML['worker'])
                + toZCML('schedule', VALID_ZCML['schedule'])
                + '<background:runtime threads="2" types="w" />'
                '<background:web base_url="https://example.org" />'
                '<background:monitoring token="abc" public_health="yes" />')

        def made():
            return [vars(getUtility(*key)) for key in (
                (IWorkerType, 'w'), (ISchedule, 'w'), (IRuntimeSettings,),
                (IWebSettings,), (IMonitoringSettings,))]

        by_zcml = made()
        self.tearDown()
        self.setUp()
        declareWorker('w', handler=work)
        declareSchedule('w', every=60)
        declareRuntime(2, types=('w',))
        declareWeb('https://example.org')
        declareMonitoring(token='abc', public_health=True)
        self.assertEqual(made(), by_zcml)

    def test_former_names(self):
        declareWorker('w', handler=work, former=('old', 'older'))
        self.assertEqual(
            sorted(name for name, _type in getUtilitiesFor(IWorkerType)),
            ['old', 'older', 'w'])

    def test_runtime_starts_when_a_database_is_opened(self):
        declareRuntime()
        handlers = [one.handler for one in
                    getGlobalSiteManager().registeredHandlers()]
        self.assertEqual(handlers, [startRuntimeOfDatabase])

    def test_second_of_a_name_is_refused(self):
        for directive, values in VALID.items():
            with self.subTest(directive):
                function = DIRECTIVES[directive][2]
                function(**values)
                with self.assertRaisesRegex(
                        InvalidDeclaration, 'got a second'):
                    function(**values)

    def test_former_name_of_another_is_refused(self):
        declareWorker('old', handler=work)
        with self.assertRaisesRegex(InvalidDeclaration, 'got a second'):
            declareWorker('w', handler=work, former=('old',))
        self.assertIsNone(queryUtility(IWorkerType, 'w'))

    def test_override_takes_its_place(self):
        for directive, values in VALID.items():
            function = DIRECTIVES[directive][2]
            function(**values)
            function(**values, override=True)
        manager = getGlobalSiteManager()
        utilities = [(one.provided, one.name)
                     for one in manager.registeredUtilities()]
        self.assertEqual(len(utilities), 6)
        self.assertEqual(len(set(utilities)), 6)
        self.assertEqual(len(zcml.listTriggers()), 1)

    def test_override_switches_off(self):
        declareWorker('w', handler=work)
        declareSchedule('w', every=60)
        declareTrigger((IPaper, IObjectModifiedEvent), 'w')
        declareSchedule('w', every=60, enabled=False, override=True)
        declareTrigger((IPaper, IObjectModifiedEvent), 'w', enabled=False,
                       override=True)
        self.assertIsNone(queryUtility(ISchedule, 'w'))
        self.assertEqual(zcml.listTriggers(), [])

    def test_ZCML_takes_the_place_of_what_Python_declared(self):
        for enabled, number in ('yes', 1), ('no', 0):
            with self.subTest(enabled=enabled):
                declareWorker('w', handler=work, override=True)
                declareSchedule('w', every=30, override=True)
                declareTrigger((IPaper, IObjectModifiedEvent), 'w',
                               override=True)
                declare(''.join(
                    toZCML(directive, {**VALID_ZCML[directive],
                                       'enabled': enabled})
                    for directive in ('schedule', 'trigger')))
                self.assertEqual(len(zcml.listTriggers()), number)
                schedules = [schedule.every for _name, schedule
                             in getUtilitiesFor(ISchedule)]
                self.assertEqual(schedules, [60.0] * number)

    def test_two_triggers_with_names_of_their_own(self):
        declareWorker('w', handler=work)
        for name in 'a', 'b':
            declareTrigger((IPaper, IObjectModifiedEvent), 'w', name=name)
        declareTrigger((IPaper, IObjectModifiedEvent), 'w', name='a',
                       condition=never, override=True)
        self.assertEqual(
            sorted(one.name for one in zcml.listTriggers()), ['a', 'b'])

    def test_start_without_input_is_refused(self):
        declareWorker('c', handler=count, schema=IAmount)
        for function, args in ((declareSchedule, {'every': 60}), (
                declareTrigger, {'for_': IObjectModifiedEvent})):
            with self.assertRaisesRegex(InvalidDeclaration, "'amount'"):
                function(worker='c', **args)
        declareSchedule('c', every=60, input=amounts)

    def test_worker_that_comes_last_is_checked_too(self):
        for number, (function, args) in enumerate((
                (declareSchedule, {'every': 60}),
                (declareTrigger, {'for_': IObjectModifiedEvent}))):
            name = 'c%d' % number
            function(worker=name, **args)
            with self.assertRaisesRegex(InvalidDeclaration, "'amount'"):
                declareWorker(name, handler=count, schema=IAmount)
            self.assertIsNone(queryUtility(IWorkerType, name))

    def test_unknown_worker_is_warned_about_with_the_place(self):
        with self.assertLogs('cipher.background.zcml') as logged:
            declareSchedule('missing', every=60)
        text, = logged.output
        self.assertIn("got 'missing'", text)
        self.assertIn('test_functions.py", line', text)


class TriggerTests(SiteTests):

    def setUp(self):
        super().setUp()
        declareWorker('w', handler=work)
        declareTrigger((IPaper, IObjectModifiedEvent), 'w')
        self.site['paper'] = self.paper = Paper()

    def starts(self):
        before = len(self.registry.listRuns().items)
        notify(ObjectModifiedEvent(self.paper))
        return len(self.registry.listRuns().items) - before

    def test_events_of_objects_arrive_without_ZCML(self):
        self.assertEqual(self.starts(), 1)

    def test_they_arrive_once_with_the_ZCML_of_zope_component(self):
        declare('<include package="zope.component" />')
        self.assertEqual(self.starts(), 1)

    def test_the_second_trigger_is_called_once(self):
        declareTrigger((IPaper, IObjectModifiedEvent), 'w', name='second')
        self.assertEqual(self.starts(), 2)
