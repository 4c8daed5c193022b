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
"""Bring the catalogs up to date: ``bin/i18n``.

Collects the messages of the Python, the templates and the ZCML of the package
into ``cipher.background.pot``; merges them into the .po of each language, that
of a message which is like an old one being marked as fuzzy; compiles the .mo,
which are part of the package.  Who works in a language then fills in what its
.po lacks, takes the fuzzy marks away, and runs it again.

A new language is a new folder: ``LANGUAGE/LC_MESSAGES``.
"""
import io
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.messages.pofile import write_po
from zope.configuration.config import ConfigurationMachine
from zope.configuration.xmlconfig import registerCommonDirectives
from zope.configuration.xmlconfig import string
from zope.tal.htmltalparser import HTMLTALParser
from zope.tal.talgettext import POEngine
from zope.tal.talgettext import POTALInterpreter


DOMAIN = 'cipher.background'
HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent

#: What is called with messages, and which of its arguments they are.
KEYWORDS = {'_': None, 'plural': (1, 2)}
#: The language of the messages: its catalog is empty, and there for those
#: who like it better than one that has texts.
SOURCE = 'en'
#: Folders whose messages are nobody's.
SKIPPED = ('locales', 'tests')

# All that the package registers somewhere, be it for a host to choose.
ZCML = '''
<configure xmlns="http://namespaces.zope.org/zope"
    xmlns:browser="http://namespaces.zope.org/browser"
    i18n_domain="%s">
  <include package="cipher.background.demo" file="site.zcml" />
  <browser:menu id="zmi_views" title="zmi_views" />
  <include package="cipher.background.browser" file="menu.zcml" />
</configure>
''' % DOMAIN

PEOPLE = 'Zope Foundation and Contributors <zope-dev@zope.dev>'
HEADER = '''\
# Translations of cipher.background.
# Copyright (c) Zope Foundation and Contributors.
# This file is distributed under the ZPL 2.1, as the package is.
#'''


def collect():
    """Return a new catalog, with all messages of the package."""
    catalog = _make_catalog()
    found = [*_collect_python(), *_collect_templates(), *_collect_zcml()]
    for path, message in sorted(found, key=repr):
        catalog.add(message, locations=[(path, None)])
    return catalog


def _make_catalog(language=None):
    return Catalog(
        locale=language, domain=DOMAIN, project=DOMAIN, version='3',
        charset='utf-8', header_comment=HEADER, fuzzy=False,
        copyright_holder=PEOPLE, msgid_bugs_address=PEOPLE,
        last_translator=PEOPLE, language_team=PEOPLE)


def _collect_python():
    for path, _line, message, _comments, _context in extract_from_dir(
            PACKAGE, keywords=KEYWORDS, directory_filter=_has_messages):
        yield path.replace('\\', '/'), message


def _has_messages(folder):
    return Path(folder).name not in SKIPPED


class _Engine(POEngine):
    """Notes the messages of a template after the other."""

    file = None   # the path of the template


def _collect_templates():
    engine = _Engine()
    for path in PACKAGE.rglob('*.pt'):
        parser = HTMLTALParser()
        parser.parseFile(str(path))
        program, macros = parser.getCode()
        engine.file = path
        POTALInterpreter(
            program, macros, engine, stream=io.StringIO(), metal=False)()
    return _get_places(engine.catalog.get(DOMAIN, {}))


def _collect_zcml():
    context = ConfigurationMachine()
    registerCommonDirectives(context)
    string(ZCML, context, execute=False)
    return _get_places(context.i18n_strings[DOMAIN])


def _get_places(catalog):
    # A message of a host is none of ours, whatever its domain.
    for message, places in catalog.items():
        for place in places:
            path = Path(place[0])
            if PACKAGE in path.parents:
                yield path.relative_to(PACKAGE).as_posix(), str(message)


def update(folder=HERE):
    """Write the template and the catalogs of all languages in *folder*."""
    template = collect()
    path = Path(folder, DOMAIN + '.pot')
    if path.exists():
        old = read_template(path)
        if _get_ids(old) == _get_ids(template):
            # What is the same looks the same.
            template.creation_date = old.creation_date
    _write(template, path)
    for path in find_catalogs(folder):
        catalog = read_catalog(path)
        catalog.update(template, update_header_comment=True)
        _write(catalog, path)
        with path.with_suffix('.mo').open('wb') as file:
            write_mo(file, catalog)
        yield path, catalog


def find_catalogs(folder=HERE):
    """Return the paths of the .po files."""
    return sorted(Path(folder).glob('*/LC_MESSAGES/%s.po' % DOMAIN))


def read_catalog(path):
    """Return the catalog of a .po file; a new one where that is empty."""
    language = Path(path).parent.parent.name
    if not Path(path).stat().st_size:
        return _make_catalog(language)
    return _read(path, language)


def read_template(path):
    """Return the catalog of a .pot file."""
    return _read(path)


def _read(path, language=None):
    with open(path, 'rb') as file:
        return read_po(file, locale=language, domain=DOMAIN)


def _write(catalog, path):
    for message in catalog:
        # Babel takes ${name} for a format of Python's.
        message.flags.discard('python-brace-format')
    with open(path, 'wb') as file:
        write_po(file, catalog, ignore_obsolete=True, include_lineno=False)


def _get_ids(catalog):
    return {message.id for message in catalog}


def get_missing(catalog):
    """Return the messages that have no text, or one to be looked at."""
    return [message for message in catalog if message.id and (
        message.fuzzy or not all(_get_texts(message.string)))]


def _get_texts(text):
    return text if isinstance(text, (tuple, list)) else [text]


def main():
    """Update all; tell what is missing and return how much that is."""
    count = 0
    for path, catalog in update():
        # English is the language of the messages themselves.
        missing = [] if SOURCE in path.parts else get_missing(catalog)
        for message in missing:
            print('%s: %s: %r' % (
                path.relative_to(HERE), 'fuzzy' if message.fuzzy else 'empty',
                message.id))
        count += len(missing)
    print('%d messages, %d to be translated' % (len(catalog), count))
    return 1 if count else 0


if __name__ == '__main__':
    sys.exit(main())
