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
"""The folder that the demo imports texts from."""
from pathlib import Path

from zope.component import queryUtility
from zope.interface import Attribute
from zope.interface import Interface
from zope.interface import implementer


SUFFIXES = ('.rst', '.txt')

#: Texts.  An import of fewer texts ends too quickly to be watched.
ENOUGH = 3

SAMPLES = Path(__file__).resolve().parent / 'samples'


class IImportSettings(Interface):
    """A global utility; without it, `ImportSettings` has the defaults."""

    base = Attribute("Path of the folder that nothing outside is read from")


@implementer(IImportSettings)
class ImportSettings:

    def __init__(self, base=None):
        self.base = Path(base or default_base()).resolve()


def default_base():
    """Return the folder of this project's checkout, else of the samples."""
    source, checkout = SAMPLES.parents[3:5]
    if source.name == 'src' and (checkout / 'setup.py').is_file():
        return checkout
    return SAMPLES


def import_base():
    """Return the path of the base folder; nothing outside it is read."""
    return (queryUtility(IImportSettings) or ImportSettings()).base


def default_folder():
    """Return the name of the folder to import, relative to the base."""
    count = sum(is_text(path) for path in (import_base() / 'docs').glob('*'))
    return 'docs' if count >= ENOUGH else '.'


def is_text(path):
    """Return whether the file can be imported under its name."""
    name = path.name
    return (path.suffix in SUFFIXES and name.isprintable()
            and name[0] not in '.+@' and path.is_file())
