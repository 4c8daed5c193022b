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
"""Processes enqueue, work and are killed at random; then an audit runs.

    bin/python bench/chaos.py [--storage filestorage|zeo|relstorage]
        [--kills 1000] [--seconds N] [--processes N] [--seed N]

The exit code is the verdict of the audit.
"""
import sys

from cipher.background.tests.chaos.command import main


if __name__ == '__main__':
    sys.exit(main())
