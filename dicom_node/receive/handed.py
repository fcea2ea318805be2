"""The listening side of one of several receiver processes: it is handed connections that the dispatcher accepts."""

import contextlib
import os
import signal
import socket
import time
from typing import Any, cast

from pynetdicom import AE

from dicom_node.receive.dispatcher import ENDED
from dicom_node.receive.listener import Listener


class HandedListener(Listener):
    """Takes connections that another process has accepted, from a channel to it."""

    def __init__(self, ae: AE, address: tuple[str, int], channel: socket.socket, **options: Any) -> None:
        self._channel = channel
        super().__init__(ae, address, **options)

    def server_bind(self) -> None:
        """Listen to the channel instead of a port."""
        cast("socket.socket", self.socket).close()
        self.socket = self._channel

    def server_activate(self) -> None:
        """Say nothing yet: the channel is open already."""

    def _accept(self) -> tuple[socket.socket, Any]:
        """Take the next connection; stop this process when the other end of the channel is gone."""
        said, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
        if said and not descriptors:
            self._note_end()
            raise ConnectionError("no descriptor was free for a connection")
        if not said:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)  # the channel stays readable until this process has stopped
            raise ConnectionError("the dispatcher is gone")
        connection = socket.socket(fileno=descriptors[0])
        try:
            return connection, connection.getpeername()
        except OSError:  # the peer is gone
            connection.close()
            self._note_end()
            raise

    def _note_end(self) -> None:
        with contextlib.suppress(OSError):  # that process is gone
            self._channel.send(ENDED)
