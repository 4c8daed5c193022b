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
"""The fixtures for pytest, which loads this module by itself.

pytest does so in every project of the environment.  So all that takes time is
imported by the fixtures.
"""
from collections.abc import Callable
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING
from typing import Any

import pytest


if TYPE_CHECKING:
    from cipher.background.interfaces import IWorkerRun
    from cipher.background.testing import BackgroundLayer
    from cipher.background.testing import SetClock


#: The option that names the ZCML of an application.
ZCML = 'background_zcml'


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(ZCML, 'the ZCML that background_site needs: PACKAGE:FILE, '
                        'or a path from the folder of this file')


@pytest.fixture(scope='module')
def background_layer(
        request: pytest.FixtureRequest) -> 'Iterator[BackgroundLayer]':
    """Load the ZCML that the option ``background_zcml`` names.

    It is loaded for the tests of one module, and unloaded after them.  Give a
    module or a package a fixture of this name if it needs another layer.
    """
    layer = _make_layer(request.config)
    try:
        layer.setUp()
        yield layer
    finally:
        layer.tearDown()


@pytest.fixture
def background_site(background_layer: 'BackgroundLayer') -> Iterator[Any]:
    """Make a database with a root site and a registry, for one test.

    The site is the current site.
    """
    background_layer.testSetUp()
    try:
        yield background_layer.site
    finally:
        background_layer.testTearDown()


@pytest.fixture
def run_pending(
        background_site: Any) -> 'Callable[[int], list[IWorkerRun]]':
    """Return `testing.runPending` for ``background_site``.

    Commit before you call it.
    """
    from cipher.background.testing import runPending

    def run_pending(limit: int = 1000) -> 'list[IWorkerRun]':
        return runPending(background_site, limit)

    return run_pending


@pytest.fixture
def background_clock() -> 'Iterator[SetClock]':
    """Let the clock of the package stand still; ``advance`` it."""
    from cipher.background.testing import SetClock
    with SetClock() as clock:
        yield clock


def _make_layer(config: pytest.Config) -> 'BackgroundLayer':
    from cipher.background.testing import BackgroundLayer
    named = config.getini(ZCML)
    if not named:
        raise pytest.UsageError(
            '%s: expected the ZCML that the tests need, got none; name it as '
            'PACKAGE:FILE, or as a path, in %s' % (
                ZCML, config.inipath or 'pytest.ini'))
    package, colon, file = named.partition(':')
    if colon:
        return BackgroundLayer(import_module(package), file)
    folder = config.inipath.parent if config.inipath else config.rootpath
    return BackgroundLayer(None, str(folder / named))
