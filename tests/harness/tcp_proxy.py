"""A proxy in front of a server of any protocol: it counts connections and makes those faults that need no knowledge of
what is said."""

import collections
import contextlib
import socket
import struct
import threading

from . import process


class TcpProxy:
    """`connections` counts those that came. `slow`, `hang`, `garbage`, `endless`, `reset` and `refuse` hold for connections from then on,
    until `clear`."""

    def __init__(self, host, port):
        self._upstream = (host, port)
        self.port = process.free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._behave = self._forward
        self._lock = threading.Lock()
        self._open = collections.deque()
        self.connections = 0
        self._released = threading.Event()
        self._listener = None
        self._listen()

    # -- life ---------------------------------------------------------------------------------------------------

    def _listen(self):
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with self._lock:
                    # Taken before it counts: who waits for the count may then change it.
                    behave = self._behave
                    self.connections += 1
                    self._open.append(client)
                threading.Thread(target=self._serve, args=(client, behave), daemon=True).start()

    def _serve(self, client, behave):
        try:
            with contextlib.suppress(OSError), client:
                behave(client)
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._open.remove(client)

    def _stop_listening(self):
        if self._listener:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def stop(self):
        self._stop_listening()
        self._let_go()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # -- faults -------------------------------------------------------------------------------------------------

    def _let_go(self):
        self._released.set()
        self._released = threading.Event()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def clear(self):
        """As it was; what hangs is let go."""
        self._behave = self._forward
        self._let_go()
        if self._listener is None:
            self._listen()

    def refuse(self):
        """Nobody listens, and who was connected is not any more."""
        self._stop_listening()
        self._let_go()

    def hang(self):
        """A server that takes connections and says nothing."""
        self._behave = lambda client: self._released.wait(120)

    def pass_on(self):
        """New connections reach the server; what hangs goes on hanging."""
        self._behave = self._forward

    def slow(self, seconds):
        """Every answer begins so much later."""
        def behave(client):
            self._released.wait(seconds)
            self._forward(client)
        self._behave = behave

    def garbage(self, bytes_=b"\x00\xff<html>not what you asked for\r\n\r\n" * 3):
        """Another protocol than the one that is spoken to it."""
        def behave(client):
            client.sendall(bytes_)
            client.recv(1 << 16)
        self._behave = behave

    def endless(self, begin=b""):
        """An answer without end: bytes for as long as anybody reads them."""
        def behave(client):
            client.recv(1 << 16)
            client.sendall(begin)
            while not self._released.is_set():
                client.sendall(b"x" * (1 << 16))
        self._behave = behave

    def reset(self):
        """Connections end by RST as soon as something is asked."""
        def behave(client):
            client.recv(1 << 16)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._behave = behave

    def reset_counts(self):
        with self._lock:
            self.connections = 0

    # -- traffic ------------------------------------------------------------------------------------------------

    def _forward(self, client):
        with socket.create_connection(self._upstream, timeout=30) as server:
            server.settimeout(None)
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join(120)

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
