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
"""Find and read the texts in a folder."""
from pathlib import Path

from cipher.background.demo.interfaces import BODY_LIMIT
from cipher.background.demo.settings import import_base
from cipher.background.demo.settings import is_text


#: Texts of one import at most.
FILES_LIMIT = 500

#: Characters that underline a title in reStructuredText.
_ADORNMENTS = frozenset('=-`:\'"~^_*+#<>.')


class ImportRefused(ValueError):
    """The folder or file cannot be imported."""


def find_texts(folder):
    """Return the sorted paths of the texts in a folder within the base.

    Raise `ImportRefused` if the folder is outside, hidden or without texts.
    """
    base = import_base()
    path = _resolve(base, folder)
    if path is None:
        raise ImportRefused(
            'import: expected a folder within the import folder of this '
            'server, got %.100r; give its name, or "." for the import '
            'folder itself' % folder)
    paths = sorted(found for found in path.iterdir()
                   if is_text(found) and _resolve(base, found, Path.is_file))
    if not paths:
        raise ImportRefused(
            'import: expected .rst or .txt files in %.100r, got none; give '
            'another folder' % folder)
    if len(paths) > FILES_LIMIT:
        raise ImportRefused(
            'import: expected at most %d files in %r, got %d; import them '
            'from several folders' % (FILES_LIMIT, folder, len(paths)))
    return paths


def _resolve(base, name, is_wanted=Path.is_dir):
    """Return the real path of *name* within *base*, or None.

    None for a path that does not exist, is hidden, or leads outside by a link.
    """
    try:
        path = (base / name).resolve()
        inside = path.relative_to(base)
        if not is_wanted(path):
            return None
    except (OSError, ValueError, RuntimeError):  # outside, NUL, a link loop
        return None
    if any(part.startswith('.') for part in inside.parts):
        return None
    return path


def read_text(path):
    """Return the text of a file; raise `ImportRefused` if it is not a text."""
    with path.open(encoding='utf-8-sig', errors='replace') as file:
        text = file.read(BODY_LIMIT + 1)
    if len(text) > BODY_LIMIT:
        raise ImportRefused(
            'import: expected at most %d characters in %r, got more; split '
            'it' % (BODY_LIMIT, path.name))
    return text.replace('\0', '\N{REPLACEMENT CHARACTER}')


def title_of(body):
    """Return the first section title of a text, or None."""
    lines = body.splitlines()
    for title, under in zip(lines, lines[1:]):
        title = title.strip()
        under = under.rstrip()
        if (title and len(under) >= max(len(title), 3)
                and len(set(under)) == 1 and under[0] in _ADORNMENTS
                and not set(title) <= _ADORNMENTS):
            return title[:200]
    return None
