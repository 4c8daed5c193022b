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
"""The program of `servers.ZEOServer`: a ZEO server that can exit on time.

It ends when its standard input is closed, so with the process that started it.
"""
import os
import signal
import sys
import threading

from ZEO.StorageServer import StorageServer
from ZODB.FileStorage import FileStorage


class ExitingStorage(FileStorage):
    """A FileStorage that can end its process right after a commit.

    It does so if the note of the commit contains the text in the file *order*.
    The client gets no reply.
    """

    order = None   # path

    def tpc_finish(self, transaction, func=None):
        """See ``ZODB.interfaces.IStorage``."""
        # The end comes before any reply.
        is_last = self._has_to_exit(transaction.description)
        tid = super().tpc_finish(transaction, None if is_last else func)
        if is_last:
            os.remove(self.order)
            os._exit(1)
        return tid

    def _has_to_exit(self, note):
        try:
            with open(self.order, 'rb') as order:
                return order.read() in note
        except FileNotFoundError:
            return False


def main(folder, port):
    """Serve the database in *folder* until a signal comes."""
    storage = ExitingStorage(os.path.join(folder, 'Data.fs'))
    storage.order = os.path.join(folder, 'exit-after-commit')
    server = StorageServer(('127.0.0.1', int(port)), {'1': storage})
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        server.loop()
    finally:
        server.close()


def _end_with_input():
    sys.stdin.read()
    os._exit(1)


if __name__ == '__main__':
    main(*sys.argv[1:])
