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
"""The directives ``background:worker`` and ``background:runtime``."""
import os
import tempfile
import textwrap

from zope.component import getUtilitiesFor
from zope.component import getUtility
from zope.component import queryUtility
from zope.configuration.config import ConfigurationConflictError
from zope.configuration.exceptions import ConfigurationError
from zope.i18nmessageid import Message
from zope.interface import Interface
from zope.interface.verify import verifyObject
from zope.schema import Int
from zope.schema import TextLine
from zope.schema import getFieldsInOrder
from zope.schema.interfaces import IVocabularyFactory

from cipher.background import zcml
from cipher.background.interfaces import START_WORKERS
from cipher.background.interfaces import IRuntimeSettings
from cipher.background.interfaces import IWorkerType
from cipher.background.registry.vocabulary import workerTypes
from cipher.background.runtime.executors import choice
from cipher.background.runtime.runtime import RuntimeSettings
from cipher.background.tests.support.sites import SECURITY
from cipher.background.tests.support.sites import ComponentTests
from cipher.background.tests.support.sites import checkDefaults
from cipher.background.tests.support.sites import declare
from cipher.background.thread import BackgroundJob
from cipher.background.thread import BackgroundWorkerThread


class IAmount(Interface):

    amount = Int(title="Amount", default=1)
    unit = TextLine(title="Unit", required=False)


class IPositional(Interface):

    worker = TextLine(title="The same as the first argument")


class IAbout(Interface):

    context = TextLine(title="The same as the first option of start")


def plain(worker):
    """Take no input."""


def counting(worker, amount, unit=None):
    """Take just the fields of IAmount."""


def anything(worker, **input):
    """Take whatever there is."""


def demanding(worker, amount, unit, colour):
    """Want more than the fields of IAmount."""


class Callable:

    def __call__(self, worker):
        """Work."""


callable_object = Callable()


class Loop(BackgroundWorkerThread):
    """Upstream's form: takes no input."""


class CountingLoop(BackgroundWorkerThread):
    """A loop with input."""

    def __init__(self, site_db, site_oid, site_name, user_name, daemon=True,
                 amount=1, unit=None):
        super().__init__(site_db, site_oid, site_name, user_name, daemon)


class Job(BackgroundJob):
    """One piece of work."""


class NoWorker:
    """No worker at all."""


NUMBER = 42
_HERE = __name__


def worker(**attributes):
    """Return a directive; a value that begins with a dot is of here."""
    attributes.setdefault('name', 'count')
    if 'class_' in attributes:
        attributes['class'] = attributes.pop('class_')
    return '<background:worker %s />' % ' '.join(
        '%s="%s"' % (name, _HERE + value if value[:1] == '.' else value)
        for name, value in attributes.items())


class WorkerTests(ComponentTests):

    def declare(self, **attributes):
        declare(SECURITY + worker(**attributes))
        return getUtility(IWorkerType, attributes.get('name', 'count'))

    def refuse(self, **attributes):
        """Return why a worker with these is refused."""
        with self.assertRaises(ConfigurationError) as caught:
            self.declare(**attributes)
        self.assertIsNone(queryUtility(IWorkerType, 'count'))
        text = str(caught.exception)
        self.assertRegex(text, r'File "<string>", line \d+')
        return text

    def test_handler_makes_a_worker_type(self):
        worker_type = self.declare(handler='.plain')
        verifyObject(IWorkerType, worker_type)
        self.assertIs(worker_type.handler, plain)
        self.assertIsNone(worker_type.factory)
        self.assertFalse(worker_type.is_loop)

    def test_class_of_a_job_makes_a_worker_type(self):
        worker_type = self.declare(class_='.Job')
        self.assertIs(worker_type.factory, Job)
        self.assertIsNone(worker_type.handler)
        self.assertFalse(worker_type.is_loop)

    def test_class_of_a_loop_makes_a_loop(self):
        worker_type = self.declare(class_='.Loop')
        self.assertIs(worker_type.factory, Loop)
        self.assertTrue(worker_type.is_loop)

    def test_what_is_left_out_has_its_default(self):
        worker_type = self.declare(handler='.plain')
        self.assertEqual(
            (worker_type.name, worker_type.title, worker_type.description,
             worker_type.schema, worker_type.permission,
             worker_type.on_interrupt),
            ('count', 'count', '', None, START_WORKERS, 'rerun'))

    def test_every_attribute_is_taken_over(self):
        worker_type = self.declare(
            name='add', handler='.counting', title='Add up',
            description='Adds the amounts up', schema='.IAmount',
            permission='cipher.background.ManageWorkers', on_interrupt='fail')
        self.assertEqual(
            (worker_type.name, worker_type.title, worker_type.description,
             worker_type.schema, worker_type.permission,
             worker_type.on_interrupt),
            ('add', 'Add up', 'Adds the amounts up', IAmount,
             'cipher.background.ManageWorkers', 'fail'))

    def test_stop_timeout(self):
        self.assertEqual(
            self.declare(name='usual', handler='.plain').stop_timeout, 60.0)
        for text in '0', '2.5':
            worker_type = self.declare(
                name='in' + text, handler='.plain', stop_timeout=text)
            self.assertEqual(worker_type.stop_timeout, float(text))
        for text in '-1', 'soon':
            self.assertIn('stop_timeout', self.refuse(
                handler='.plain', stop_timeout=text))

    def test_title_and_description_are_messages(self):
        worker_type = self.declare(
            handler='.plain', title='Count', description='Counts')
        for message in worker_type.title, worker_type.description:
            self.assertIsInstance(message, Message)
            self.assertEqual(message.domain, 'test')

    def test_defaults_of_schema_and_handler_agree(self):
        checkDefaults(self, zcml.IWorkerDirective, zcml.worker)
        checkDefaults(self, zcml.IRuntimeDirective, zcml.runtime)

    def test_titles_of_the_fields_are_unique_and_described(self):
        for schema in zcml.IWorkerDirective, zcml.IRuntimeDirective:
            fields = [field for name, field in getFieldsInOrder(schema)]
            self.assertEqual(
                len({field.title for field in fields}), len(fields))
            for field in fields:
                self.assertTrue(field.description, field)

    def test_class_and_handler_exclude_each_other(self):
        self.assertIn(
            "worker 'count': expected exactly one of class and handler, got "
            'both', self.refuse(class_='.Job', handler='.plain'))

    def test_class_or_handler_is_needed(self):
        self.assertIn('got neither', self.refuse())

    def test_class_must_be_a_worker_thread(self):
        for name in 'NoWorker', 'plain', 'NUMBER', 'IAmount':
            with self.subTest(name=name):
                self.assertIn(
                    "worker 'count': class must be a subclass of "
                    'BackgroundWorkerThread, got',
                    self.refuse(class_='.' + name))

    def test_handler_must_be_callable(self):
        self.assertIn(
            "worker 'count': handler must be callable, got 42",
            self.refuse(handler='.NUMBER'))

    def test_handler_may_be_an_object_that_can_be_called(self):
        worker_type = self.declare(handler='.callable_object')
        self.assertIs(worker_type.handler, callable_object)

    def test_object_that_cannot_take_the_schema_is_refused(self):
        self.assertIn(
            'to take the fields of its schema',
            self.refuse(handler='.callable_object', schema='.IAmount'))

    def test_handler_that_does_not_exist_is_refused(self):
        self.refuse(handler='.missing')

    def test_permission_of_everybody_is_refused(self):
        text = self.refuse(handler='.plain', permission='zope.Public')
        self.assertIn("got 'zope.Public'", text)
        self.assertIn("leave it out for 'cipher.background.StartWorkers'",
                      text)
        self.refuse(handler='.plain', permission=' zope.Public ')

    def test_view_permission_of_everybody_is_refused(self):
        text = self.refuse(handler='.plain', view_permission='zope.Public')
        self.assertIn('view_permission', text)
        self.assertIn("got 'zope.Public'", text)

    def test_permission_that_is_not_defined_is_refused(self):
        # At the very end, as all permissions are checked.
        with self.assertRaises(ConfigurationError) as caught:
            self.declare(handler='.plain', permission='no.such.Permission')
        self.assertIn('no.such.Permission', str(caught.exception))

    def test_name_is_needed(self):
        self.assertIn('name', self.refuse(name='', handler='.plain'))
        with self.assertRaises(ConfigurationError):
            declare('<background:worker handler="%s.plain" />' % _HERE)

    def test_on_interrupt_must_be_a_known_word(self):
        self.assertIn(
            'on_interrupt',
            self.refuse(handler='.plain', on_interrupt='retry'))

    def test_unknown_attribute_is_refused(self):
        self.refuse(handler='.plain', colour='red')

    def test_schema_must_be_an_interface(self):
        self.assertIn('schema', self.refuse(handler='.plain',
                                            schema='.NoWorker'))

    def test_handlers_that_take_the_schema_are_accepted(self):
        for name in 'counting', 'anything':
            with self.subTest(name=name):
                self.declare(name=name, handler='.' + name, schema='.IAmount')

    def test_handlers_that_cannot_take_the_schema_are_refused(self):
        for handler, schema in (
                ('.plain', '.IAmount'), ('.demanding', '.IAmount'),
                ('.anything', '.IPositional')):
            with self.subTest(handler=handler):
                self.assertIn(
                    "worker 'count': expected %s to take the fields of its "
                    'schema' % handler[1:],
                    self.refuse(handler=handler, schema=schema))

    def test_schema_with_a_context_is_refused(self):
        self.assertIn(
            "expected a schema without a field 'context'",
            self.refuse(handler='.anything', schema='.IAbout'))

    def test_handler_that_needs_input_needs_a_schema(self):
        self.assertIn('(none)', self.refuse(handler='.counting'))

    def test_classes_that_take_the_schema_are_accepted(self):
        for name in 'CountingLoop', 'Job':
            with self.subTest(name=name):
                self.declare(name=name, class_='.' + name, schema='.IAmount')

    def test_class_that_cannot_take_the_schema_is_refused(self):
        self.assertIn(
            'expected Loop to take the fields of its schema (amount, unit)',
            self.refuse(class_='.Loop', schema='.IAmount'))

    def test_nothing_is_registered_before_the_actions_run(self):
        declare(worker(handler='.plain'), execute=False)
        self.assertEqual(list(getUtilitiesFor(IWorkerType)), [])


class ConflictTests(ComponentTests):

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, text):
        """Write a ZCML file; return its path."""
        path = os.path.join(self.folder, name)
        with open(path, 'w') as stream:
            stream.write(textwrap.dedent('''\
                <configure
                    xmlns="http://namespaces.zope.org/zope"
                    xmlns:background="http://namespaces.zope.org/background">
                  %s
                </configure>''') % text)
        return path

    def test_two_workers_of_one_name_conflict(self):
        with self.assertRaises(ConfigurationConflictError) as caught:
            declare(worker(handler='.plain') + worker(handler='.anything'))
        self.assertIn("'cipher.background.worker', 'count'",
                      str(caught.exception))

    def test_workers_of_two_names_do_not_conflict(self):
        declare(worker(handler='.plain') + worker(name='b', handler='.plain'))
        self.assertEqual(
            sorted(name for name, utility in getUtilitiesFor(IWorkerType)),
            ['b', 'count'])

    def test_conflict_over_two_files_names_both(self):
        paths = [self.write('a.zcml', worker(handler='.plain')),
                 self.write('b.zcml', worker(handler='.plain'))]
        with self.assertRaises(ConfigurationConflictError) as caught:
            declare(''.join('<include file="%s" />' % path for path in paths))
        for path in paths:
            self.assertIn('%s", line 4' % path, str(caught.exception))

    def test_outer_file_overrides_the_included(self):
        path = self.write('a.zcml', worker(handler='.plain'))
        declare(worker(handler='.anything') + '<include file="%s" />' % path)
        self.assertIs(getUtility(IWorkerType, 'count').handler, anything)

    def test_override_wins(self):
        path = self.write('a.zcml', worker(handler='.plain'))
        overrides = self.write('overrides.zcml', worker(class_='.Job'))
        declare('<include file="%s" /><includeOverrides file="%s" />'
                % (path, overrides))
        self.assertIs(getUtility(IWorkerType, 'count').factory, Job)

    def test_error_tells_file_and_line(self):
        path = self.write('a.zcml', worker(class_='.NoWorker'))
        with self.assertRaises(ConfigurationError) as caught:
            declare('<include file="%s" />' % path)
        self.assertIn('File "%s", line 4' % path, str(caught.exception))


class VocabularyTests(ComponentTests):

    def test_vocabulary_is_registered_by_the_package(self):
        declare('''
            <utility
                component="cipher.background.registry.vocabulary.workerTypes"
                provides="zope.schema.interfaces.IVocabularyFactory"
                name="cipher.background.workertypes" />''')
        factory = getUtility(IVocabularyFactory,
                             'cipher.background.workertypes')
        self.assertIs(factory, workerTypes)

    def test_vocabulary_lists_the_names_with_their_titles(self):
        declare(worker(name='b', handler='.plain', title='Second')
                + worker(name='a', handler='.plain', title='First'))
        terms = list(workerTypes(None))
        self.assertEqual(
            [(term.value, term.token, term.title) for term in terms],
            [('a', 'a', 'First'), ('b', 'b', 'Second')])
        self.assertIn('a', workerTypes(None))

    def test_vocabulary_bears_names_that_are_not_ascii(self):
        declare(worker(name='žodis', handler='.plain'))
        vocabulary = workerTypes(None)
        self.assertEqual([term.value for term in vocabulary], ['žodis'])


class RuntimeTests(ComponentTests):

    def refuse(self, attributes):
        with self.assertRaises(ConfigurationError) as caught:
            declare('<background:runtime %s />' % attributes)
        self.assertIsNone(queryUtility(IRuntimeSettings))
        return str(caught.exception)

    def test_settings_are_a_utility_with_the_defaults(self):
        declare('<background:runtime />')
        settings = getUtility(IRuntimeSettings)
        verifyObject(IRuntimeSettings, settings)
        self.assertEqual(
            (settings.threads, settings.drain, settings.poll, settings.lease),
            (4, 15.0, 1.0, 90.0))
        self.assertEqual(settings.executor, 'threads')

    def test_every_setting_is_taken_over(self):
        declare('<background:runtime threads="0" drain="1" poll="0.5" '
                'lease="10" executor="celery" share="yes" />')
        settings = getUtility(IRuntimeSettings)
        self.assertEqual(
            (settings.threads, settings.drain, settings.poll, settings.lease),
            (0, 1.0, 0.5, 10.0))
        self.assertEqual(settings.executor, 'celery')
        self.assertTrue(settings.share)

    def test_settings_out_of_range_are_refused(self):
        for attributes in ('threads="-1"', 'drain="-0.1"', 'poll="0"',
                           'lease="1"', 'threads="many"', 'colour="red"',
                           'executor="carrots"'):
            with self.subTest(attributes=attributes):
                self.assertRegex(self.refuse(attributes),
                                 r'File "<string>", line \d+')

    def test_an_unknown_executor_is_refused_with_those_that_are_known(self):
        choice.registerExecutor('mine', None)
        self.addCleanup(choice._factories.pop, 'mine')
        error = self.refuse('executor="carrots"')
        for name in 'celery', 'mine', 'threads':
            self.assertIn("'%s'" % name, error)
        declare('<background:runtime executor="mine" />')

    def test_settings_that_are_no_number_are_refused(self):
        for attributes in ('drain="nan"', 'poll="nan"', 'lease="nan"',
                           'poll="inf"', 'drain="inf"', 'lease="1e300"'):
            with self.subTest(attributes=attributes):
                self.refuse(attributes)

    def test_two_runtimes_conflict(self):
        with self.assertRaises(ConfigurationConflictError):
            declare('<background:runtime /><background:runtime />')

    def test_defaults_of_directive_and_settings_agree(self):
        for name, field in getFieldsInOrder(zcml.IRuntimeDirective):
            contract = IRuntimeSettings[name]
            for attribute in 'default', 'min', 'title', 'description':
                self.assertEqual(getattr(field, attribute, None),
                                 getattr(contract, attribute, None))

    def test_settings_made_by_hand_are_checked(self):
        self.assertEqual(RuntimeSettings().threads, 4)
        self.assertEqual(RuntimeSettings(threads=2).threads, 2)
        self.assertEqual(RuntimeSettings(drain=0.0).drain, 0.0)
        for text, settings in (
                ('threads to be a number from 0 on, got -1', {'threads': -1}),
                ('lease to be a number of seconds from 3.0 on, got 1.0 ',
                 {'lease': 1.0}),
                ('drain to be a number of seconds from 0.0 on, got nan',
                 {'drain': float('nan')}),
                ("poll to be a number of seconds from 0.05 on, got 'x'",
                 {'poll': 'x'})):
            with self.assertRaisesRegex(
                    ValueError, 'runtime: expected ' + text):
                RuntimeSettings(**settings)
        with self.assertRaises(TypeError):
            RuntimeSettings(thread=1)
