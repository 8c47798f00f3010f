"""An HTTP proxy in front of a KMS endpoint that counts requests by operation and makes faults."""

import collections
import http.client
import http.server
import json
import re
import socket
import struct
import threading
import urllib.parse

from . import faults, process

# OpenBao's answer is about the login that was in the request.
INLINE_FAILED = "X-Vault-Inline-Auth-Failed"


class FaultProxy:
    """Counts what arrives (`counts["Decrypt"]`) and over how many `connections`, keeps each request's JSON, and answers
    through `fault` where one is set: for so many `times`, or until `clear`. STS goes through it, too: `callers` has each
    operation with the name of the assumed role's session that asked for it, `server` for the server itself. With a `tls`
    certificate it is HTTPS.

    A request of OpenBao's API counts as what stands behind the mount in its path: `datakey`, `decrypt`, `keys`, `login`."""

    def __init__(self, upstream, tls=None):
        self._upstream = urllib.parse.urlsplit(upstream).netloc
        self._tls = tls
        self._lock = threading.Lock()
        self._faults = {}
        self.released = threading.Event()
        self.counts = collections.Counter()
        self.connections = 0
        self.requests = []
        self.callers = []
        self._assumed = {}
        self._server = None
        self.port = process.free_port()
        self.listen()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    # -- faults -------------------------------------------------------------------------------------------------

    def fault(self, operation, fault, times=None):
        """`operation` "*" is any."""
        with self._lock:
            self.released.clear()
            self._faults[operation] = [fault, times]

    def hold(self, operation):
        """Its next request is held until `clear`, those after it are not; gives a function that waits until it is."""
        held = threading.Event()

        def fault(x):
            held.set()
            faults.delay(120)(x)

        self.fault(operation, fault, times=1)
        return lambda: process.wait_until(held.is_set, f"a {operation} request")

    def clear(self):
        """No more faults; what hangs is let go."""
        with self._lock:
            self._faults.clear()
            self.released.set()

    def reset_counts(self):
        with self._lock:
            self.counts.clear()
            self.connections = 0
            self.requests.clear()
            self.callers.clear()

    def _next_fault(self, operation):
        with self._lock:
            for name in (operation, "*"):
                entry = self._faults.get(name)
                if entry is None:
                    continue
                if entry[1] is not None:
                    entry[1] -= 1
                    if entry[1] == 0:
                        del self._faults[name]
                return entry[0]
        return None

    # -- life ---------------------------------------------------------------------------------------------------

    def listen(self):
        """Starts to listen, on the same port when it did before."""
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", self.port), Handler)
        if self._tls:
            self._server.socket = self._tls.context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def refuse(self):
        """Stops to listen: connections are refused, open ones closed."""
        self._server.shutdown()
        self._server.server_close()
        self._server.close_connections()

    def stop(self):
        self.clear()
        self.refuse()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # -- traffic ------------------------------------------------------------------------------------------------

    def connected(self):
        with self._lock:
            self.connections += 1

    def arrived(self, operation, request, caller):
        # Its fault is taken first: who waits for the count may then change the faults.
        fault = self._next_fault(operation)
        with self._lock:
            self.counts[operation] += 1
            self.requests.append((operation, request))
            self.callers.append((operation, caller))
        return fault

    def caller(self, access_key):
        return self._assumed.get(access_key, "server")

    def assumed(self, session, answer):
        """STS gave these credentials to that session."""
        access_key = re.search(rb"<AccessKeyId>(\w+)<", answer)
        if access_key:
            self._assumed[access_key[1].decode()] = session

    def forward(self, method, path, headers, body):
        """Status, type and body of the endpoint's answer, and whether it refuses the login that was in the request."""
        connection = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read(), answer.getheader(INLINE_FAILED)
        finally:
            connection.close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, *args):
        self._open = set()
        super().__init__(*args)

    def process_request(self, request, client_address):
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self):
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request, client_address):
        """Clients that go away are what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer goes out in two writes: the second would wait for the client's word that it has the first.
    disable_nagle_algorithm = True
    owner = None

    def setup(self):
        super().setup()
        self.owner.connected()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.headers.get("X-Amz-Target")
        transit = re.search(r"^/v1/.*(datakey|encrypt|decrypt|rewrap|keys|login)(/|$)", self.path)
        if target:
            operation, request = target.rpartition(".")[2], json.loads(body or b"{}")
        elif transit:
            operation, request = transit[1], json.loads(body or b"{}")
        else:
            request = dict(urllib.parse.parse_qsl(body.decode()))
            operation = request.get("Action", "")
        access_key = re.search(r"Credential=(\w+)/", self.headers.get("Authorization", ""))
        caller = self.owner.caller(access_key and access_key[1])
        fault = self.owner.arrived(operation, request, caller)
        (fault or faults.none)(Exchange(self, body, request, caller))

    do_GET = do_PUT = do_POST

    def log_message(self, *_):
        """Counts say what tests need to know."""


class Exchange:
    """One request, as a fault sees it."""

    def __init__(self, handler, body, request, caller):
        self._handler = handler
        self._body = body
        self.request = request
        self.caller = caller
        self.released = handler.owner.released
        # Whether the answer says that the connection closes with it.
        self.close = False
        self._inline_failed = None

    def upstream(self):
        *answer, self._inline_failed = self._handler.owner.forward(
            self._handler.command, self._handler.path, dict(self._handler.headers), self._body)
        if self.request.get("Action") == "AssumeRole":
            self._handler.owner.assumed(self.request["RoleSessionName"], answer[2])
        return answer

    def answer(self, status, content_type, body, length=None):
        """`length` promises another length than the body has."""
        h = self._handler
        h.send_response(status)
        h.send_header("Content-Type", content_type)
        h.send_header("x-amzn-RequestId", "11111111-2222-3333-4444-555555555555")
        h.send_header("Content-Length", str(len(body) if length is None else length))
        if self._inline_failed:
            h.send_header(INLINE_FAILED, self._inline_failed)
        if self.close:
            h.send_header("Connection", "close")
        h.end_headers()
        self.send(body)
        if length is not None and length != len(body):
            h.close_connection = True

    def send(self, piece):
        """More of the answer's body."""
        self._handler.wfile.write(piece)
        self._handler.wfile.flush()

    def stream(self, piece):
        """Sends it again and again until the other side goes away."""
        try:
            while not self.released.is_set():
                self.send(piece)
        except OSError:
            pass

    def reset(self):
        """Closes by RST."""
        h = self._handler
        h.close_connection = True
        h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        h.connection.close()
