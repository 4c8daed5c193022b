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
from importlib.metadata import version as get_version


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
highlight_language = 'python'

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'

# Furo needs no script to be read, fits a phone and follows the reader's colour
# scheme, as the pages of the package do.
html_theme = 'furo'
html_title = 'cipher.background'
html_show_copyright = False
