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
"""A process whose threads look at each other while garbage is collected.

Run by `tests.work.test_stack`.  Each collection lets the other threads go on.
"""
import gc
import threading
import time

from cipher.background.work.stack import getPosition


#: Seconds.  Without care, Python 3.11 hangs within a few hundredths of one.
DURATION = 1.0


def step():
    """Let other threads go on, in a frame that did not exist before."""
    time.sleep(0.0001)


def main():
    """Look for a while, then exit."""
    is_over = threading.Event()

    def move():
        while not is_over.is_set():
            step()

    def look():
        end = time.monotonic() + DURATION
        while time.monotonic() < end:
            getPosition(threading.main_thread().ident)
            step()

    gc.callbacks.append(lambda phase, info: step())
    gc.set_threshold(3)
    moving = [threading.Thread(target=move, daemon=True) for _ in range(12)]
    looking = [threading.Thread(target=look) for _ in range(2)]
    for thread in (*moving, *looking):
        thread.start()
    for thread in looking:
        thread.join()
    is_over.set()


if __name__ == '__main__':
    main()
