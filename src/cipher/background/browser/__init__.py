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
"""Pages, forms and JSON to watch, start and stop background work.

Each page has a class with its data, a page and often a JSON view of the same
data.  `page` has the base classes, `frame` the frame around all pages.
`presentation` and `descriptions` turn data of the registry into plain data
for templates and JSON.  `traversing` leads from a URL to a view and guards
each step of it; `csrf` refuses forged requests.

The rules for all modules: they use the rest of the package only through
`cipher.background.interfaces`, and they act on a registry only through
`IVerbs`, which checks each permission.  Texts for people are messages of
`cipher.background.i18n`; every text that is shown goes through `text` first.

An application finds the classes for pages of its own in `__all__`.
"""
from cipher.background import lazy


# Imports for type checkers alone, as in `cipher.background`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from cipher.background.browser.addresses import getPath
    from cipher.background.browser.addresses import getSetting
    from cipher.background.browser.addresses import getURL
    from cipher.background.browser.frame import BackgroundMacros
    from cipher.background.browser.interfaces import IBackgroundView
    from cipher.background.browser.jsonview import JSONView
    from cipher.background.browser.page import ACTION
    from cipher.background.browser.page import FORM
    from cipher.background.browser.page import Page
    from cipher.background.browser.page import Published
    from cipher.background.browser.page import Refused
    from cipher.background.browser.page import getParameter
    from cipher.background.browser.runpage import InputView
    from cipher.background.browser.text import cleanLine
    from cipher.background.browser.text import cleanText
    from cipher.background.browser.traversing import isBrowserRequest
    from cipher.background.browser.traversing import markRequest
    from cipher.background.browser.traversing import parseStep
    from cipher.background.browser.wsgi import answerErrors
    from cipher.background.browser.wsgi import makePage
else:
    __getattr__, __dir__ = lazy(__name__, {
        'ACTION': 'cipher.background.browser.page',
        'BackgroundMacros': 'cipher.background.browser.frame',
        'FORM': 'cipher.background.browser.page',
        'IBackgroundView': 'cipher.background.browser.interfaces',
        'InputView': 'cipher.background.browser.runpage',
        'JSONView': 'cipher.background.browser.jsonview',
        'Page': 'cipher.background.browser.page',
        'Published': 'cipher.background.browser.page',
        'Refused': 'cipher.background.browser.page',
        'answerErrors': 'cipher.background.browser.wsgi',
        'cleanLine': 'cipher.background.browser.text',
        'cleanText': 'cipher.background.browser.text',
        'getParameter': 'cipher.background.browser.page',
        'getPath': 'cipher.background.browser.addresses',
        'getSetting': 'cipher.background.browser.addresses',
        'getURL': 'cipher.background.browser.addresses',
        'isBrowserRequest': 'cipher.background.browser.traversing',
        'makePage': 'cipher.background.browser.wsgi',
        'markRequest': 'cipher.background.browser.traversing',
        'parseStep': 'cipher.background.browser.traversing',
    })

__all__ = [
    'ACTION',
    'BackgroundMacros',
    'FORM',
    'IBackgroundView',
    'InputView',
    'JSONView',
    'Page',
    'Published',
    'Refused',
    'answerErrors',
    'cleanLine',
    'cleanText',
    'getParameter',
    'getPath',
    'getSetting',
    'getURL',
    'isBrowserRequest',
    'makePage',
    'markRequest',
    'parseStep',
]
