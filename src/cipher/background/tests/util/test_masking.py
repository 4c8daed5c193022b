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
"""Passwords of an input do not come to light."""
import html
import unittest
from random import Random
from unittest import mock
from urllib.parse import quote
from urllib.parse import quote_plus

import transaction
from zope.component import provideHandler
from zope.interface import Interface
from zope.interface import implementer
from zope.interface import invariant
from zope.schema import Dict
from zope.schema import List
from zope.schema import Object
from zope.schema import Password
from zope.schema import TextLine
from zope.security.proxy import ProxyFactory

from cipher.background import testing
from cipher.background.interfaces import FAIL
from cipher.background.interfaces import FINISHED_STATES
from cipher.background.interfaces import InvalidInput
from cipher.background.interfaces import IRunStartedEvent
from cipher.background.store.process import getDirectory
from cipher.background.testing import waitForRun
from cipher.background.tests.support.live import LiveTests
from cipher.background.tests.support.live import declareWorker
from cipher.background.tests.support.live import waitUntil
from cipher.background.tests.support.sites import LIMIT
from cipher.background.tests.support.sites import SiteTests
from cipher.background.thread import BackgroundWorkerThread
from cipher.background.util.masking import FORMS_LIMIT
from cipher.background.util.masking import MASK
from cipher.background.util.masking import Masker
from cipher.background.util.masking import _read
from cipher.background.util.masking import makeMasker
from cipher.background.util.masking import maskInput
from cipher.background.util.text import CUT
from cipher.background.work.worker import stateOf


SECRET = 'sesame-open'


class ILogin(Interface):
    """Where to go, and how to get in."""

    host = TextLine(title='Host', default='localhost')
    password = Password(title='Password', min_length=5)

    @invariant
    def hostIsKnown(self):
        if self.host == 'nowhere':
            raise ValueError('unknown')


class SecretTests(SiteTests):

    def shown(self, run):
        status = self.registry.getStatus(run.id)
        details = self.registry.getDetails(run.id)
        return (str(status) + details.log + details.traceback
                + str(details.history))

    def carry_out(self, work, raises=()):
        declareWorker('log-in', work, schema=ILogin)
        run = self.registry.start('log-in', password=SECRET)
        transaction.commit()
        try:
            testing.runPending(self.site)
        except raises:
            pass
        transaction.begin()
        self.assertTrue(run.isFinished())
        return run

    def test_work_gets_the_secret_itself(self):
        seen = []
        self.carry_out(lambda worker, host, password: seen.append(password))
        self.assertEqual(seen, [SECRET])

    def test_secret_is_masked_in_result_message_and_log(self):
        def work(worker, host, password):
            worker.setProgress(1, 2, 'with %s' % password)
            worker.log.info('I say %s', password)
            return {'answer': [password]}

        shown = self.shown(self.carry_out(work))
        self.assertNotIn(SECRET, shown)
        self.assertEqual(shown.count(MASK), 3)

    def test_secret_is_masked_in_error_traceback_and_history(self):
        def work(worker, host, password):
            raise KeyError(password)

        run = self.carry_out(work, KeyError)
        self.assertEqual(run.state, 'failed')
        shown = self.shown(run)
        self.assertNotIn(SECRET, shown)
        self.assertIn(MASK, run.error[1])

    def test_refused_secret_is_not_quoted(self):
        declareWorker('log-in', lambda worker, host, password: None,
                      schema=ILogin)
        with self.assertRaises(InvalidInput) as caught:
            self.registry.start('log-in', password='abcd')
        self.assertNotIn('abcd', str(caught.exception))

    def test_secrets_are_found_at_any_depth(self):
        class IDeep(Interface):
            host = TextLine(title='Host')
            keys = List(title='Keys', value_type=Password(title='Key'))
            logins = Dict(title='Logins', key_type=TextLine(title='Host'),
                          value_type=Object(title='Login', schema=ILogin))

        masker = makeMasker(IDeep, {
            'host': 'localhost', 'keys': ['first', 'second'],
            'logins': {'one': {'host': 'here', 'password': SECRET}}})
        for secret in 'first', 'second', 'here', SECRET:
            self.assertEqual(masker.text('is %s.' % secret),
                             'is %s.' % MASK)
        text = 'one localhost'
        self.assertEqual(masker.text(text), text)
        self.assertEqual(makeMasker(IDeep, {'keys': None}).text(text), text)

    def test_input_is_masked_at_any_depth(self):
        class IDeep(Interface):
            host = TextLine(title='Host')
            object = Object(title='Login', schema=ILogin)
            keys = List(title='Keys', value_type=Password(title='Key'))
            logins = Dict(title='Logins', key_type=TextLine(title='Host'),
                          value_type=Object(title='Login', schema=ILogin))

        self.assertEqual(list(maskInput(IDeep, {
            'unknown': 'x', 'logins': {'one': {'password': SECRET}},
            'keys': ['first'], 'object': {'password': SECRET},
            'host': 'localhost'}).items()), [
                ('host', 'localhost'), ('object', MASK), ('keys', MASK),
                ('logins', MASK), ('unknown', MASK)])
        self.assertEqual(maskInput(IDeep, {'keys': None}), {'keys': None})

    def test_input_of_an_undeclared_type_is_all_masked(self):
        self.assertEqual(maskInput(None, {'a': 1}), {'a': MASK})

    def test_secret_that_was_kept_unmasked_is_masked(self):
        # The field was no password when the run was carried out.
        class IOld(Interface):
            host = TextLine(title='Host')
            password = TextLine(title='Password')

        def work(worker, host, password):
            worker.log.info('I say %s', password)
            raise KeyError(password)

        declareWorker('log-in', work, schema=IOld, max_attempts=2,
                      retry_delay=0.0)
        run = self.registry.start('log-in', host='here', password=SECRET)
        transaction.commit()
        with self.assertRaises(KeyError):
            testing.runPending(self.site)
        transaction.begin()

        def shown():
            details = self.registry.getDetails(run.id)
            self.assertEqual(list(details.input), ['host', 'password'])
            return [repr(part) for part in (
                details.input, details.log, details.traceback,
                details.history)]

        for text in shown():
            self.assertIn(SECRET, text)
        declareWorker('log-in', work, schema=ILogin)
        for text in shown():
            self.assertNotIn(SECRET, text)
            self.assertIn(MASK, text)

    def test_page_of_a_run_whose_texts_are_all_hidden(self):
        def work(worker, host, password):
            raise KeyError(password)

        run = self.carry_out(work, KeyError)
        run.details.masked = ()
        with mock.patch('cipher.background.registry.reader.makeMasker',
                        return_value=Masker(None)):
            details = self.registry.getDetails(run.id)
        (began_at, took, kind, text), = details.history
        self.assertEqual((kind, text, details.log, details.traceback),
                         (MASK,) * 4)
        self.assertGreater(began_at + took, 0)

    def test_details_that_were_masked_are_not_masked_again(self):
        def work(worker, host, password):
            raise KeyError(password)

        run = self.carry_out(work, KeyError)
        self.assertEqual(run.details.masked, ('password',))
        with mock.patch.object(Masker, '_find', side_effect=AssertionError):
            self.registry.getDetails(run.id)
            self.registry.listRuns()

    def test_what_is_live_is_not_masked_when_it_is_looked_at(self):
        seen = []

        def work(worker, host, password):
            worker.setProgress(1, 2, password)
            worker.log.info(password)
            live = stateOf(worker).observer.live
            with mock.patch.object(
                    Masker, '_find', side_effect=AssertionError):
                seen.append((live.getReport(), live.getStatus()))

        self.carry_out(work)
        self.assertIn(MASK, str(seen))
        self.assertNotIn(SECRET, str(seen))

    def test_progress_set_by_hand_is_not_kept(self):
        def work(worker, host, password):
            worker.progress = 1, 2, password   # an attribute of its own

        self.assertIsNone(self.carry_out(work).progress)

    def test_longest_secret_is_masked_first(self):
        class ITwo(Interface):
            one = Password(title='One')
            two = Password(title='Two')

        masker = makeMasker(ITwo, {'one': 'abc', 'two': 'abcdef'})
        self.assertEqual(masker.text('abcdef abc'), MASK + ' ' + MASK)


class LiveSecretTests(LiveTests):
    """In a process that carries runs out, seen from it and from others."""

    def test_loop_shows_no_secret_anywhere(self):
        class Loop(BackgroundWorkerThread):

            def __init__(self, *args, host, password):
                super().__init__(*args)
                self.password = password
                self.rounds = 0

            def scheduleNextWork(self):
                self.rounds += 1
                return self.rounds < 3

            def doWork(self):
                self.setProgress(1, 2, self.password)
                raise KeyError(self.password)

            def doCleanup(self):
                raise SystemExit(self.password)

        declareWorker('loop', factory=Loop, is_loop=True, schema=ILogin)
        run = self.registry.start('loop', password=SECRET)
        transaction.commit()
        self.assertIn(waitForRun(run, LIMIT), FINISHED_STATES)
        text = self.logged.getvalue() + run.details.log + str(
            (run.error, run.details.traceback))
        self.assertNotIn(SECRET, text)
        self.assertEqual(text.count('Exception in '), 4)
        self.assertIn(MASK, self.logged.getvalue())

    def test_error_of_a_claim_shows_no_secret(self):
        # A subscriber fails as the run is claimed, before its work begins.
        def fail(event):
            if failed:
                return
            failed.append(1)
            try:
                raise KeyError(event.object.input['password'])
            except KeyError:
                raise ValueError('no', SECRET.encode())

        failed = []
        provideHandler(fail, [IRunStartedEvent])
        declareWorker('log-in', lambda worker, host, password: None,
                      schema=ILogin, on_interrupt=FAIL)
        with mock.patch(
                'cipher.background.runtime.executors.threads.RETRY_DELAY',
                0.01):
            run = self.registry.start('log-in', password=SECRET)
            transaction.commit()
            self.assertEqual(waitForRun(run, LIMIT), 'succeeded')
        logged = self.logged.getvalue()
        self.assertIn('it could not begin', logged)
        self.assertIn('in fail', logged)
        self.assertIn("ValueError: ('no', b'%s')" % MASK, logged)
        self.assertNotIn(SECRET, logged)

    def test_name_of_a_thread_shows_no_secret(self):
        class Named(BackgroundWorkerThread):

            def __init__(self, *args, host, password):
                super().__init__(*args)
                self.name = password

            def scheduleNextWork(self):
                seen.append(self.name)
                return False

        seen = []
        declareWorker('loop', factory=Named, is_loop=True, schema=ILogin)
        run = self.registry.start('loop', password=SECRET)
        transaction.commit()
        waitForRun(run, LIMIT)
        self.assertEqual(seen, ['%s, run %s' % (MASK, run.id)])

    def test_heartbeat_masks_nothing(self):
        def work(worker, host, password):
            worker.setProgress(1, 2, password + CUT * 1000)
            worker.log.info(password + CUT * 1000)
            self.gate.stop()

        declareWorker('log-in', work, schema=ILogin)
        run = self.registry.start('log-in', password=SECRET)
        transaction.commit()
        self.gate.waitReached()
        with mock.patch.object(Masker, '_find', side_effect=AssertionError):
            live, = self.runtime.allLive()
            self.assertIn(MASK, str(live.getReport()))
            beat_at = self.record().heartbeat.beat_at
            self.runtime.wake()
            live.started_at -= 10   # long enough to be told of
            waitUntil(lambda: self.told(), 'the heartbeat')
        self.assertGreaterEqual(self.record().heartbeat.beat_at, beat_at)
        self.gate.open()
        self.assertEqual(waitForRun(run, LIMIT), 'succeeded')

    def record(self):
        self.begin()
        return getDirectory(self.connection).processes[self.runtime.id]

    def told(self):
        told = str(self.record().live.runs)
        self.assertNotIn(SECRET, told)
        return MASK in told


class CountedText(str):
    """A text that counts how often it is searched."""

    searches = 0

    def find(self, *args):
        self.searches += 1
        return super().find(*args)


class IMany(Interface):
    """A list of passwords."""

    passwords = List(title='Passwords', value_type=Password(title='One'))


class BoundTests(unittest.TestCase):
    """Whatever the secrets and the texts: the time grows with the text."""

    ADVERSARIES = {
        'a long one': ['x' * 40000],
        'a long one of many signs': ['&\u20ac\'"' * 8000],
        'prefixes': ['ab' * n for n in range(2, 300)],
        'one in the other': ['a' * n + 'b' + 'a' * n for n in range(2, 200)],
        'a long list': ['password%05d' % n for n in range(6000)],
        'a long list of odd ones': ["it's & %d" % n for n in range(3000)],
        'the mark of a cut': [CUT, CUT[:5], CUT[3:]],
        'masks': [MASK, MASK * 2, MASK + 'x'],
        'empty ones': ['', 'a', 'bc'],
        'blanks': [' ' * 500, '   '],
    }

    def each(self):
        for name, passwords in self.ADVERSARIES.items():
            with self.subTest(name):
                yield passwords, makeMasker(IMany, {'passwords': passwords})

    def test_adversaries_are_masked(self):
        for passwords, masker in self.each():
            for secret in passwords[:3] + passwords[-3:]:
                if len(secret) < 3 or secret in MASK * 3:
                    continue
                for text in ('is %s.' % secret, '{%s}' % (secret * 3),
                             repr(secret)):
                    self.assertNotIn(secret, masker.text(text))
                    self.assertNotIn(secret, masker.head(text, 10 ** 6))
                    self.assertNotIn(secret, masker.tail(text, 10 ** 6))

    def test_number_of_searches_is_bounded(self):
        # Each takes a time in proportion to the text.
        for passwords, masker in self.each():
            for text in ('x' * 20000, CUT * 1500, 'ab' * 10000,
                         MASK * 6000, ''.join(passwords)[:20000]):
                text = CountedText(text)
                shown = masker.text(text)
                self.assertLessEqual(
                    text.searches, FORMS_LIMIT + len(text) * len(
                        masker.forms or ()) / 3)
                self.assertLessEqual(
                    text.searches, FORMS_LIMIT + sum(
                        text.count(form) for form in masker.forms or ()))
                self.assertLessEqual(len(shown), len(text))

    def test_cuts_of_others_cost_nothing(self):
        for passwords, masker in self.each():
            if passwords[0] == CUT:
                continue
            cuts, other = (CountedText(text * 10000)
                           for text in (CUT, 'z' * len(CUT)))
            masker.text(cuts)
            masker.text(other)
            self.assertEqual(cuts.searches, other.searches)

    def test_no_more_is_searched_than_is_shown(self):
        masker = makeMasker(IMany, {'passwords': ['sesame-open']})
        # What is encoded is longer.
        longest = 12 * max(map(len, masker.forms))
        searched = []
        find = masker._find
        masker._find = lambda text: searched.append(text) or find(text)
        for look in masker.head, masker.tail:
            look('x' * 10 ** 6, 500)
        self.assertEqual([len(text) for text in searched],
                         [500 + longest] * 2)

    def test_secrets_beyond_the_bound_hide_all(self):
        for name in ('a long list', 'a long list of odd ones',
                     'a long one of many signs'):
            masker = makeMasker(IMany, {'passwords': self.ADVERSARIES[name]})
            self.assertTrue(masker.hides_all)
            self.assertEqual(masker.text('anything'), MASK)
            self.assertEqual(masker.text(''), '')
            self.assertEqual(masker.head('anything', 500), MASK)
            self.assertEqual(masker.data({'a': [1, None, True, 'b']}),
                             {MASK: [MASK, None, True, MASK]})
        for name in 'a long one', 'prefixes':
            masker = makeMasker(IMany, {'passwords': self.ADVERSARIES[name]})
            self.assertFalse(masker.hides_all)
            self.assertEqual(masker.text('anything'), 'anything')


class CodeTests(unittest.TestCase):
    """What is encoded is decoded to be searched."""

    SIGNS = 'a%+&\\xu0;#39Nn{}4c\xe9\u20ac\U0001f600\ud800\n"\'<'

    def test_place_of_what_was_decoded_is_known(self):
        random = Random(9)
        for _ in range(5000):
            text = ''.join(random.choices(self.SIGNS, k=random.randrange(14)))
            for decoded, locate in _read(text):
                self.assertEqual(locate(0, len(decoded)), (0, len(text)))
                spans = [locate(n, n + 1) for n in range(len(decoded))]
                self.assertEqual(spans, sorted(spans), text)
                for begin, end in spans:
                    self.assertLess(begin, end, text)

    def test_all_of_what_is_encoded_is_masked_and_no_more(self):
        masker = makeMasker(IMany, {'passwords': ['p@ss w/rd \xe4']})
        for encoded in ('p%40ss w%2frd %c3%a4', 'p@ss+w/rd+%E4',
                        'p&#64;ss w/rd &auml;', r'p\x40ss w\/rd \u00e4',
                        r'p@ss w/rd \xc3\xa4', 'p%2540ss+w%252Frd+%25C3%25A4'):
            self.assertEqual(masker.text('is=%s, & 5%% x' % encoded),
                             'is=%s, & 5%% x' % MASK)
            for size in range(1, len(encoded)):
                self.assertEqual(masker.head(encoded, size), MASK[:size])
                self.assertEqual(masker.tail(encoded, size), MASK[-size:])

    def test_secret_that_looks_encoded(self):
        for secret in ('50%41 off', 'a&lt;b&#64;c', r'c:\new\x41', 'a+b%2bc'):
            masker = makeMasker(IMany, {'passwords': [secret]})
            for make in str, quote, repr, html.escape, quote_plus:
                self.assertEqual(
                    masker.text(make(secret)).strip('\'"'), MASK)

    def test_texts_are_decoded_so_often_at_most(self):
        masker = makeMasker(IMany, {'passwords': ['sesame-open']})
        search = masker._search
        searched = []
        masker._search = lambda text: searched.append(text) or search(text)
        masker.text('%25+&amp;\\\\xe4' * 1000)
        self.assertLessEqual(len(searched), 31)
        self.assertLessEqual(max(map(len, searched)), len(searched[0]))


class MaskerTests(unittest.TestCase):

    def setUp(self):
        self.masker = makeMasker(IMany, {'passwords': [
            'sesame', 'same-open', 'door\nwith eight lines\nor so']})

    def test_what_overlaps_has_one_mask(self):
        self.assertEqual(self.masker.text('(sesame-open)'), '(%s)' % MASK)
        self.assertEqual(self.masker.text('sesamesesame'), MASK * 2)

    def test_secret_is_masked_before_the_text_is_cut(self):
        for size in range(3, 14):
            self.assertEqual(self.masker.head('is sesame, is', size),
                             ('is %s, is' % MASK)[:size]
                             if size <= 6 else
                             'is ' + MASK + ', is'[:max(0, size - 9)])
            self.assertNotIn('ame', self.masker.tail('is sesame, is', size))

    def test_each_long_line_of_a_secret_is_one(self):
        self.assertEqual(self.masker.text('x with eight lines x or so'),
                         'x %s x or so' % MASK)

    def test_keys_that_look_alike_are_all_kept(self):
        self.assertEqual(
            self.masker.data({'sesame': 1, 'same-open': 2, 'x': 3}),
            {MASK: 1, MASK + ' 2': 2, 'x': 3})

    def test_what_is_no_text_is_masked_as_a_whole(self):
        masker = makeMasker(IMany, {'passwords': ['12345', 'None', 'True']})
        self.assertEqual(
            masker.data([12345, 123456, 1.12345, b'12345', 1, None, True]),
            [MASK, MASK, MASK, MASK, 1, None, True])

    def test_secrets_are_found_in_objects_and_proxies(self):
        class Login:
            host, password = 'localhost', 'sesame-open'

        class IOne(Interface):
            login = Object(title='Login', schema=ILogin)

        for value in Login(), ProxyFactory({'password': 'sesame-open'}):
            masker = makeMasker(IOne, ProxyFactory({'login': value}))
            self.assertEqual(masker.text('sesame-open'), MASK)

    def test_object_that_cannot_be_read_holds_no_secret(self):
        @implementer(ILogin)
        class Broken:

            @property
            def password(self):
                raise RuntimeError

        class IOne(Interface):
            login = Object(title='Login', schema=ILogin)

        masker = makeMasker(IOne, {'login': Broken()})
        self.assertEqual(masker.text('x'), 'x')
