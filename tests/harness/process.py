"""Starts programs that end with us, whatever happens to us."""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import time

from . import place

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
# Of the ports that this process was given.
_marks = []


def spawn(argv, *, env, log, as_server_user=False, outlive=False):
    """A process of its own session, so that Ctrl-C reaches only us and we end it in order. Unless it shall `outlive`
    us, the kernel ends it when we die without having done so."""

    def before_exec():
        # SIGQUIT is PostgreSQL's immediate shutdown, and ends a Python server too.
        if not outlive:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)

    return subprocess.Popen(
        [str(a) for a in argv],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd="/",
        start_new_session=True,
        preexec_fn=before_exec,
        **(server_identity() if as_server_user else {}),
    )


def run_as_server(program, *args, env=None):
    """Runs one of PostgreSQL's programs, or another by its path, to its end; fails when it does. Unless told otherwise
    it sees nothing of the caller's environment."""
    subprocess.run([str(place.PG_BIN / program), *map(str, args)], check=True, cwd="/",
                   env=env or {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, stdout=subprocess.DEVNULL,
                   **server_identity())


def server_identity():
    """Arguments to subprocess that run a program as the server's user."""
    if os.geteuid() != 0:
        return {}
    user = place.server_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give_to_server(path):
    """Makes the server's user the owner of a file or directory."""
    if os.geteuid() == 0:
        user = place.server_user()
        os.chown(path, user.pw_uid, user.pw_gid)


def outgoing_ports():
    """Those that the kernel gives to connections, one after the other."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        first, last = map(int, f.read().split())
    return range(first, last + 1)


def free_port():
    """One that nobody else can have when a server comes to listen there, or comes back: no connection, and no other process
    of the tests."""
    outgoing = outgoing_ports()
    candidates = range(10_000, outgoing.start) or range(outgoing.stop, 65_536) or outgoing
    while True:
        port = random.choice(candidates)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            _reserve(port)
            return port


def _reserve(port):
    """Until this process ends no other of the tests is given it; fails where it has been."""
    mark = socket.socket(socket.AF_UNIX)
    try:
        # A name of no file, gone with its socket.
        mark.bind(f"\0envelope-test-port-{port}")
    except OSError:
        mark.close()
        raise
    _marks.append(mark)


def children(pid):
    """The living child processes of a process."""
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, what, seconds=60):
    """Polls until `condition` holds and gives its value; fails when it does not in a time that is long for any
    machine."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
