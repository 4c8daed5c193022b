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
"""Helpers: clock, texts, plain data, masking, principals, references.

Modules here import `interfaces` and each other, and no other package of ours.

The rules for all texts:

- A *masker* hides the secrets of an input; see `masking.Masker`.
- A text is masked before it is cut, so that no part of a secret remains at
  the cut.
- A text that is stored, logged or shown has a limit and no control
  characters; see `text.clean`.
"""
