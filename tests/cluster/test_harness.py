"""The harness itself: a fault that is not made would let every test of faults pass."""

import botocore.config
import botocore.exceptions
import boto3
import psycopg
import pytest

from harness import disk, faults, process
from harness.moto import REGION


def client(proxy, timeout=30):
    once = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=timeout, connect_timeout=timeout)
    return boto3.client("kms", endpoint_url=proxy.url, region_name=REGION, config=once,
                        aws_access_key_id="testing", aws_secret_access_key="testing")


def test_counts_and_forwards(moto, proxy):
    kms = client(proxy)
    key = kms.generate_data_key(KeyId=moto.create_key(), KeySpec="AES_256")
    assert kms.decrypt(CiphertextBlob=key["CiphertextBlob"])["Plaintext"] == key["Plaintext"]
    assert proxy.counts == {"GenerateDataKey": 1, "Decrypt": 1}


def test_truncated_answer(moto, proxy):
    arn = moto.create_key()
    proxy.fault("Encrypt", faults.truncated, times=1)
    # boto takes what is no JSON for an empty answer.
    assert "CiphertextBlob" not in client(proxy).encrypt(KeyId=arn, Plaintext=b"x")


@pytest.mark.parametrize("fault", ["hang", "hang_in_body", "reset", "garbage"])
def test_broken_answers(moto, proxy, fault):
    arn = moto.create_key()
    proxy.fault("Encrypt", getattr(faults, fault), times=1)
    with pytest.raises((botocore.exceptions.BotoCoreError, ValueError)):
        client(proxy, timeout=1).encrypt(KeyId=arn, Plaintext=b"x")
    proxy.clear()
    client(proxy).encrypt(KeyId=arn, Plaintext=b"x")


@pytest.mark.parametrize("fault", ["deny", "disabled", "throttle", "internal", "missing", "invalid_ciphertext"])
def test_error_answers(moto, proxy, fault):
    proxy.fault("*", getattr(faults, fault))
    with pytest.raises(botocore.exceptions.ClientError):
        client(proxy).encrypt(KeyId=moto.create_key(), Plaintext=b"x")


def test_other_plaintext(moto, proxy):
    kms = client(proxy)
    key = kms.generate_data_key(KeyId=moto.create_key(), KeySpec="AES_256")
    proxy.fault("Decrypt", faults.another_plaintext)
    other = kms.decrypt(CiphertextBlob=key["CiphertextBlob"])["Plaintext"]
    assert len(other) == 32 and other != key["Plaintext"]
    proxy.fault("Decrypt", faults.short_plaintext)
    assert len(kms.decrypt(CiphertextBlob=key["CiphertextBlob"])["Plaintext"]) == 16


def test_refuse_and_listen_again(moto, proxy):
    arn = moto.create_key()
    proxy.refuse()
    try:
        with pytest.raises(botocore.exceptions.EndpointConnectionError):
            client(proxy).encrypt(KeyId=arn, Plaintext=b"x")
    finally:
        proxy.listen()
    client(proxy).encrypt(KeyId=arn, Plaintext=b"x")


def test_ports_are_not_those_of_connections(proxy):
    """Else a server could not come back to its port, now and then, or a client would meet itself there."""
    others = set(range(10_000, 65_536)) - set(process.outgoing_ports())
    assert not others or {proxy.port, *(process.free_port() for _ in range(100))} <= others


@pytest.mark.parametrize("needle", [b"a word", b"\x00\xff\x80 a\n longer piece\x00", b"\nat the end", b"at the start\n"])
def test_a_search_for_many_finds_each(tmp_path, needle):
    others = [b"not there", b"\xff\n\xfe\xff"]
    (tmp_path / "without").write_bytes(b"\x00 a wor\xff")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "with").write_bytes(b"before\x00" + needle + b"\xffafter")
    assert disk.files_holding_any([tmp_path], [*others, needle]) == [str(tmp_path / "below" / "with")]
    assert disk.files_holding_any([tmp_path], others) == []


def test_clusters_need_no_port(own_cluster):
    one, other = own_cluster().start(), own_cluster().start()
    for c in (one, other):
        assert c.sql("SHOW listen_addresses") == [("",)]
    assert one.sql("SHOW data_directory") != other.sql("SHOW data_directory")


def test_clusters_are_as_initdb_makes_them(own_cluster):
    for options, size in (((), "16MB"), (("--wal-segsize=1",), "1MB"), ((), "16MB")):
        c = own_cluster(initdb=options).start()
        assert c.sql("SHOW wal_segment_size") == [(size,)]
        assert c.sql("SELECT count(*) FROM pg_database") == [(3,)]


def test_kill_and_restart(own_cluster):
    c = own_cluster().start()
    c.sql("CREATE TABLE t (v int)")
    pids = process.children(c.postmaster.pid)
    c.kill9()
    assert not any(map(process.alive, pids))
    with pytest.raises(psycopg.OperationalError):
        c.connect()
    c.start()
    assert c.sql("SELECT count(*) FROM t") == [(0,)]
    c.stop()
    assert not c.running()
