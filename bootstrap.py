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
"""Build this checkout's environment; run the demo or the tests in it.

usage: python3 bootstrap.py [command] [arguments]

commands:
  (none)          build .venv and bin/, unless they are there and up to date
  demo [args]     do so, then run bin/demo with the arguments
  test            do so, then run all tests, in processes side by side
  test ARGS       do so, then run bin/test with the arguments
  test -u         likewise, only the unit tests: they take less than a minute
  hosts [HOST]    do so, then run the tests of the host applications, as Zope,
                  each in an environment below build/hosts
  docs            do so, then build the documentation into build/docs/html
  docs linkcheck  likewise, only look at its links to other servers
  -h, --help      show this text

Works from any folder.  Needs Python 3.10 or newer and only its standard
library.  setup.py, buildout.cfg and versions.cfg name the packages and their
versions.  pip installs them into .venv in one step, from the index that it is
configured to use.  Then buildout makes the scripts in bin/ without a network.

A half-made environment is never used: a stamp is removed before the first
change and written after the last.  The stamp holds a digest of everything that
the environment depends on.
"""
import configparser
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile


try:
    import fcntl
except ImportError:  # not a POSIX system: no lock against a second build
    fcntl = None


MINIMUM_PYTHON = (3, 10)

# The files that determine the environment.
INPUTS = ('bootstrap.py', 'buildout.cfg', 'pyproject.toml', 'setup.py',
          'versions.cfg')

SCRIPTS = ('demo', 'docs', 'python', 'test')

# The layers of each of the processes that run all tests.  The second one waits
# much, so three suit a machine with two processors.
PARTS = ('!support.layers.L', 'support.layers.Live', 'support.layers.Long')

# Code for bin/python: checks that the folders on its path exist.
CHECK = '''
import os, sys
sys.exit(not all(os.path.isdir(path) for path in sys.path
                 if path and not path.endswith('.zip')))
'''


class BootstrapError(Exception):
    """The environment cannot be made; the text says why and what to do."""


class Environment:
    """The environment of one checkout: its .venv, bin/ and eggs/."""

    def __init__(self, folder):
        self.folder = os.path.realpath(folder)
        self.venv = self.path('.venv')
        self.python = self.path('.venv', 'bin', 'python')
        # Two stamps, because .venv is slow to make and rarely changes.
        self.venv_stamp = Stamp(
            self.path('.venv', 'venv.stamp'), self._venv_facts)
        self.stamp = Stamp(self.path('.venv', 'bin.stamp'), self._bin_facts)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def ensure(self):
        """Make the parts that are missing, broken or out of date."""
        if self.isReady():
            return
        with Lock(self.path('.bootstrap.lock')) as lock:
            if self.isReady():  # another process made it while we waited
                return
            self.stamp.remove()
            if not (self.venv_stamp.holds() and self._works('-c', '')):
                self._make_venv(lock)
            self._run_buildout(lock)
            if not self._is_whole():
                raise BootstrapError(
                    'expected buildout to make %s, got something else; '
                    'see its messages above' % ', '.join(
                        os.path.join('bin', name) for name in SCRIPTS))
            self.stamp.write()

    def isReady(self):
        """Return whether the environment is complete and up to date."""
        return self.stamp.holds() and self._is_whole()

    def script(self, name):
        return self.path('bin', name)

    def _is_whole(self):
        return (all(os.path.exists(self.script(name)) for name in SCRIPTS)
                and self._works(self.script('python'), '-c', CHECK))

    def _works(self, *arguments):
        try:
            return subprocess.call(
                [self.python, *arguments], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
        except OSError:
            return False

    def _pins(self):
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(self.path('versions.cfg'), encoding='utf-8')
        return ['%s==%s' % pin for pin in parser['versions'].items()]

    def _venv_facts(self):
        yield repr((self.folder, sys.base_prefix, sys.version, self._pins()))

    def _bin_facts(self):
        yield from self._venv_facts()
        for name in INPUTS:
            with open(self.path(name), encoding='utf-8') as file:
                yield '%s\n%s' % (name, file.read())

    def _make_venv(self, lock):
        say('making .venv; the first time takes about half a minute')
        self.venv_stamp.remove()
        if os.path.isfile(self.venv) or os.path.islink(self.venv):
            os.remove(self.venv)
        elif os.path.isdir(self.venv):
            shutil.rmtree(self.venv)
        # sys.executable may be in the .venv that was just removed.
        python = getattr(sys, '_base_executable', None) or sys.executable
        lock.call(
            [python, '-m', 'venv', self.venv], self.folder,
            'see the messages above (on Debian, install python3-venv)')
        requirements = self.path('.venv', 'requirements.txt')
        with open(requirements, 'w', encoding='utf-8') as file:
            file.write('\n'.join(self._pins()) + '\n')
        # Without dependencies: versions.cfg names all packages.
        lock.call(
            [self.python, '-m', 'pip', 'install', '--quiet', '--no-deps',
             '--disable-pip-version-check', '-r', requirements], self.folder,
            'see the messages above, look at the network and at the index '
            'that pip uses, and run it again')
        self.venv_stamp.write()

    def _run_buildout(self, lock):
        say('making bin/')
        # This writes the metadata by which buildout finds src/.
        lock.call(
            [self.python, self.path('setup.py'), '--quiet', 'egg_info'],
            self.folder, 'see the messages above, and look at setup.py')
        lock.call(
            [self.python, self.path('.venv', 'bin', 'buildout'), '-o', '-U',
             '-c', self.path('buildout.cfg')], self.folder,
            'see the messages above; a distribution that is missing there '
            'wants a line in versions.cfg',
            # "0" turns isolation off: setuptools comes from .venv as well.
            PIP_NO_BUILD_ISOLATION='0')


class Stamp:
    """A file with a digest of the facts that something was made from."""

    def __init__(self, path, facts):
        self.path = path
        self.facts = facts  # function that returns texts

    def digest(self):
        digest = hashlib.sha256()
        for fact in self.facts():
            digest.update(fact.encode('utf-8') + b'\0')
        return digest.hexdigest()

    def holds(self):
        """Return whether the stamp exists and its facts are unchanged."""
        try:
            with open(self.path, encoding='utf-8') as file:
                return file.read() == self.digest()
        except (OSError, UnicodeDecodeError):
            return False

    def remove(self):
        try:
            os.remove(self.path)
        except (FileNotFoundError, NotADirectoryError):
            pass

    def write(self):
        """Write the stamp atomically."""
        partial = self.path + '.new'
        with open(partial, 'w', encoding='utf-8') as file:
            file.write(self.digest())
        os.replace(partial, self.path)


class Lock:
    """Allows one build of a checkout at a time, and runs its commands.

    The commands inherit the lock.  So if this process is killed, the next one
    waits for a command that still runs.
    """

    def __init__(self, path):
        self.path = path
        self.file = None

    def __enter__(self):
        self.file = open(self.path, 'a')
        if fcntl is not None:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say('waiting for another bootstrap.py in this checkout')
                fcntl.flock(self.file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *exc_info):
        self.file.close()

    def call(self, command, folder, what_to_do, **variables):
        """Run a command; raise BootstrapError if it fails."""
        fds = () if fcntl is None else (self.file.fileno(),)
        code = subprocess.call(command, cwd=folder, pass_fds=fds,
                               env=dict(os.environ, **variables))
        if code:
            raise BootstrapError(
                'expected success of "%s", got exit code %d; %s' % (
                    ' '.join(command[:4]), code, what_to_do))


def say(text):
    print('bootstrap: ' + text, file=sys.stderr, flush=True)


def check_python(version=sys.version_info):
    if tuple(version[:2]) < MINIMUM_PYTHON:
        raise BootstrapError(
            'expected Python %d.%d or newer, got %d.%d; '
            'run it as, for example, "python3.11 bootstrap.py"'
            % (MINIMUM_PYTHON + tuple(version[:2])))


def run_parts(command):
    """Run *command* for all parts of the tests at once; return the code.

    What a part prints is kept, and follows that of those before it.
    """
    processes = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with contextlib.ExitStack() as files:
        try:
            for number, part in enumerate(PARTS):
                kept = number and files.enter_context(
                    tempfile.TemporaryFile()) or None
                arguments = [*command, '--layer', part]
                process = subprocess.Popen(
                    arguments, stdout=kept, stderr=kept)
                processes.append((process, arguments, kept))
            for process, arguments, kept in processes:
                _announce(arguments)
                process.wait()
                if kept is not None:
                    kept.seek(0)
                    shutil.copyfileobj(kept, sys.stdout.buffer)
                    sys.stdout.flush()
        finally:
            for process, _arguments, _kept in processes:
                if process.poll() is None:
                    process.terminate()
                process.wait()
    return max(abs(process.returncode) for process, *_ in processes)


def _announce(command):
    # `.ci/totals.py` looks for this line.
    print('bootstrap: tests of %s' % ' '.join(command[1:]), flush=True)


def main(arguments=None):
    """Carry out the command line; return the exit code unless it execs."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = arguments[0] if arguments else None
    if command in ('-h', '--help', 'help'):
        print(__doc__.strip())
        return 0
    if command not in (None, 'demo', 'docs', 'hosts', 'test'):
        raise BootstrapError(
            "expected the command 'demo', 'docs', 'hosts', 'test' or none, "
            'got %r; see "python3 bootstrap.py --help"' % command)
    check_python()
    environment = Environment(os.path.dirname(os.path.abspath(__file__)))
    environment.ensure()
    if command is None:
        say('ready: bin/python, bin/demo, bin/docs, bin/test')
        return 0
    if arguments == ['test']:
        return run_parts([environment.python, environment.script('test')])
    if command == 'hosts':
        os.execv(environment.python, [
            environment.python, environment.path('.ci', 'hosts.py'),
            *arguments[1:]])
    # The script replaces this process, so that signals reach it.  Python runs
    # it, because a long path or a space breaks the first line of a script.
    os.execv(environment.python, [
        environment.python, environment.script(command), *arguments[1:]])


if __name__ == '__main__':
    try:
        sys.exit(main())
    except BootstrapError as error:
        say(str(error))
        sys.exit(1)
    except OSError as error:
        say('expected to use %s, got "%s"; look at its permissions and at '
            'the space on the disk, and run it again' % (
                error.filename or 'a file', error.strerror or error))
        sys.exit(1)
    except KeyboardInterrupt:
        say('interrupted')
        sys.exit(130)
