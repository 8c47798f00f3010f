"""Who has a second thread: a backend that has asked the KMS, and nobody else."""

import contextlib
import os

from harness import moto as kms
from harness import process


def threads(pid):
    """The names of a process's threads."""
    names = []
    # It may end meanwhile.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/comm") as f:
                names.append(f.read().strip())
    return names


def test_no_thread_before_a_backend_asks_the_kms(moto, kms_proxy, own_cluster, database):
    conf = {
        "shared_preload_libraries": "pgrx-example",
        "envelope.default_kek": kms.kek(moto.create_key()),
        "envelope.aws_endpoint_url": kms_proxy.url,
    }
    cluster = own_cluster(conf=conf, env=kms.CREDENTIALS).start()
    db = database(cluster)
    with db.connect() as c:
        backend = c.info.backend_pid
        c.execute("CREATE TABLE t (v bytea)")
        assert len(threads(backend)) == 1
        c.execute("INSERT INTO t SELECT envelope_encrypt('t', 'x')")
        assert "envelope-kms" in threads(backend)
        postmaster = cluster.postmaster.pid
        with db.connect():
            others = [postmaster] + [pid for pid in process.children(postmaster) if pid != backend]
            assert len(others) > 3 and all(len(threads(pid)) <= 1 for pid in others)
