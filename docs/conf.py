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
"""The documentation, as Sphinx builds it."""
import pkgutil
from importlib import import_module
from importlib.metadata import version as get_version

import cipher.background


project = 'cipher.background'
author = 'Zope Foundation and Contributors'
copyright = author
release = version = get_version(project)

extensions = [
    'sphinx.ext.autodoc',
    'repoze.sphinx.autointerface',
]

# A name in single backquotes, as in docstrings, leads to its documentation.
default_role = 'obj'
nitpicky = True

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'

# Furo needs no script to be read, fits a phone and follows the reader's colour
# scheme, as the pages of the package do.
html_theme = 'furo'
html_title = 'cipher.background'
html_static_path = ['_static']
html_css_files = ['docs.css']
html_show_copyright = False

# Names of other projects: their documentation is on other servers.
nitpick_ignore_regex = [
    ('py:.*', r'(zope|z3c|ZODB|persistent|transaction|logging|threading)\..*'),
]


MODULES = [info.name for info in pkgutil.walk_packages(
    cipher.background.__path__, 'cipher.background.',
    onerror=lambda name: None) if '.tests.' not in info.name]


def find_modules(name):
    """Return the modules of the package whose dotted names end in *name*."""
    return [import_module(module) for module in MODULES
            if ('.' + module).endswith('.' + name)]


def exists(name, module, class_name):
    """Return whether a docstring may name *name*, which has no entry here.

    It is a name in its module or class, or a part of the package that is not
    for applications: a module, or a name in a module.
    """
    if find_modules(name):
        return True
    head, _dot, tail = name.rpartition('.')
    places = find_modules(head) if head else [
        import_module(module or 'cipher.background')]
    if class_name and not head:
        places.append(getattr(places[0], class_name))
    return any(hasattr(place, tail) or tail in getattr(place, 'names', list)()
               for place in places)


def resolve(app, env, node, content):
    """Find a name in backquotes anywhere in the reference.

    A name that exists and is not documented is shown without a link.
    """
    if node.get('refdomain') != 'py' or node['reftype'] != 'obj':
        return None
    name = node['reftarget']
    domain = env.domains['py']
    found = [full_name for full_name, entry in domain.find_obj(
        env, None, None, name, 'obj', 1) if not entry.aliased]
    if len(found) == 1:
        return domain.resolve_xref(
            env, node['refdoc'], app.builder, 'obj', found[0], node, content)
    if exists(name, node.get('py:module'), node.get('py:class')):
        return content
    return None


def setup(app):
    app.connect('missing-reference', resolve)
