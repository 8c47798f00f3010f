"""What who reads shared memory finds: that there are keys, and none of them; read from outside, in the server and in a backend."""

import contextlib
import os

import pytest
from harness import leased, memory, process
from harness.leased import OPEN
from interop import open as reader


@pytest.fixture(scope="module")
def shared(moto, kms_proxy):
    with leased.cluster(moto, kms_proxy) as c:
        yield c


@pytest.fixture
def db(shared, proxy):
    with leased.one_value(shared, proxy) as made:
        yield made


def secrets_of(db, moto):
    """The data key of `people` and what is derived from it, in every form in which it is written down on its way."""
    (wrapped, context), = db.sql("SELECT wrapped, kms_context FROM envelope.wrapped_key")
    dek = moto.client().decrypt(CiphertextBlob=bytes(wrapped), EncryptionContext=context)["Plaintext"]
    seal = reader.expand(dek, "envelope/1 seal", 32)
    halves = {"data key, first half": dek[:16], "data key, second half": dek[16:], "seal key, first half": seal[:16],
              "seal key, second half": seal[16:]}
    return {**halves, "hex": dek.hex().encode()}


def shared_memory(cluster):
    """All that processes of the server share: its memory, and files."""
    found = memory.shared(cluster.postmaster.pid)
    for name in os.listdir("/dev/shm"):
        # Another server's may go meanwhile.
        with contextlib.suppress(FileNotFoundError), open(f"/dev/shm/{name}", "rb") as f:
            found += f.read()
    return found


def test_no_key_is_in_shared_memory(shared, db, moto, proxy):
    secrets = secrets_of(db, moto)
    with db.connect() as c:
        c.execute("SET application_name = 'shared memory has this'")
        assert c.execute(OPEN).fetchall() == [("x",)]
        proxy.reset_counts()
        assert db.value(OPEN) == "x"
        assert not proxy.counts
        there = shared_memory(shared)
        assert b"shared memory has this" in there
        assert [name for name, secret in secrets.items() if secret in there] == []
        for pid in memory_of_server(shared, c):
            assert memory.held(pid, secrets) == set()


def memory_of_server(shared, session):
    """The server's processes that have not used a key."""
    return [shared.postmaster.pid, *(pid for pid in process.children(shared.postmaster.pid) if pid != session.info.backend_pid)]


def test_a_backend_keeps_no_way_to_the_keys_of_other_databases(shared, db, proxy):
    """Where every process begins with the lease key, one that has used it has only what it derived, and no page of it."""
    with db.connect() as unused, db.connect() as used:
        before = lease_key_pages(used.info.backend_pid)
        assert len(before) == 1 == len(lease_key_pages(unused.info.backend_pid))
        used.execute(OPEN)
        assert lease_key_pages(used.info.backend_pid) == []
        assert len(lease_key_pages(unused.info.backend_pid)) == 1


def lease_key_pages(pid):
    """Mappings of one page that are read-only and in no core dump, and not the arena's."""
    return [mapping for mapping in memory.mappings(pid)
            if mapping.end - mapping.start == 4096 and mapping.perms[:2] == "r-" and "dd" in mapping.flags
            and "wf" not in mapping.flags and mapping.path not in ("[vvar]", "[vdso]", "[vvar_vclock]")]
