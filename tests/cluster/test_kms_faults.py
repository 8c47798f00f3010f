"""Each fault of the KMS: its SQLSTATE, in time; nothing half made; service resumes."""

import json

import psycopg
import pytest
from sqlstate import REFUSED_OR_BROKEN, fails

from harness import faults

# kms_timeout is 4 s in this cluster: one operation with all its retries, the SDK's pauses between them included.

UNWRAP = {**REFUSED_OR_BROKEN, "another_plaintext": "XX001", "invalid_ciphertext": "XX001", "incorrect_key": "XX001"}


@pytest.mark.parametrize("fault, sqlstate", REFUSED_OR_BROKEN.items())
def test_while_a_key_is_made(aws, proxy, fault, sqlstate):
    aws.people()
    proxy.fault("*", getattr(faults, fault))
    with fails(sqlstate):
        aws.sql("INSERT INTO people VALUES (1, 'x')")
    assert aws.value("SELECT count(*) FROM envelope.data_key") == 0
    assert aws.value("SELECT count(*) FROM envelope.wrapped_key") == 0
    proxy.clear()
    aws.sql("INSERT INTO people VALUES (1, 'x')")
    assert aws.value("SELECT envelope_decrypt_text('people', ssn) FROM people") == "x"


def test_a_wrap_that_does_not_give_its_key_back_is_not_stored(aws, proxy):
    """Every value sealed under such a key would be lost."""
    aws.people()
    proxy.fault("GenerateDataKey", faults.another_plaintext)
    with fails("XX001"):
        aws.sql("INSERT INTO people VALUES (1, 'x')")
    assert aws.value("SELECT count(*) FROM envelope.wrapped_key") == 0


@pytest.mark.alone
@pytest.mark.parametrize("fault, sqlstate", UNWRAP.items())
def test_while_a_key_is_unwrapped(aws, proxy, fault, sqlstate):
    aws.people(rows=["x"])
    before = aws.sql("SELECT * FROM envelope.wrapped_key")
    proxy.fault("*", getattr(faults, fault))
    with fails(sqlstate):
        aws.sql("SELECT envelope_decrypt('people', ssn) FROM people")
    with fails(sqlstate):
        aws.sql("INSERT INTO people VALUES (2, 'y')")
    proxy.clear()
    aws.sql("INSERT INTO people VALUES (3, 'z')")
    opened = aws.sql("SELECT envelope_decrypt_text('people', ssn) FROM people ORDER BY id")
    assert opened == [("x",), ("z",)]
    assert aws.sql("SELECT * FROM envelope.wrapped_key") == before


@pytest.mark.alone
def test_refused(aws, proxy):
    aws.people(rows=["x"])
    proxy.refuse()
    try:
        with fails("58030"):
            aws.sql("SELECT envelope_decrypt('people', ssn) FROM people")
    finally:
        proxy.listen()
    assert aws.value("SELECT envelope_decrypt_text('people', ssn) FROM people") == "x"


@pytest.mark.parametrize("fault", ["throttle", "internal", "reset"])
def test_one_failure_is_retried(aws, proxy, fault):
    aws.people(rows=["x"])
    proxy.reset_counts()
    proxy.fault("Decrypt", getattr(faults, fault), times=1)
    assert aws.value("SELECT envelope_decrypt_text('people', ssn) FROM people") == "x"
    assert proxy.counts["Decrypt"] == 2


def test_denied_is_not_retried(aws, proxy):
    aws.people(rows=["x"])
    proxy.reset_counts()
    proxy.fault("Decrypt", faults.deny)
    with fails("28000"):
        aws.sql("SELECT envelope_decrypt('people', ssn) FROM people")
    assert proxy.counts["Decrypt"] == 1


def test_the_same_session_goes_on(aws, proxy):
    aws.people(rows=["x"])
    query = "SELECT envelope_decrypt_text('people', ssn) FROM people"
    with aws.connect() as c:
        proxy.fault("*", faults.deny)
        with fails("28000"):
            c.execute(query)
        assert c.execute("SELECT 1").fetchone() == (1,)
        proxy.clear()
        c.execute("SELECT envelope.flush_cache()")
        assert c.execute(query).fetchone() == ("x",)


def test_cached_keys_outlive_an_outage(aws, proxy):
    aws.people(rows=["x"])
    with aws.connect() as c:
        c.execute("SELECT envelope_decrypt('people', ssn) FROM people")
        proxy.fault("*", faults.unavailable)
        c.execute("INSERT INTO people VALUES (2, 'y')")
        assert c.execute("SELECT count(envelope_decrypt('people', ssn)) FROM people").fetchone() == (2,)


def test_the_message_names_kek_and_request(aws, proxy, aws_cluster):
    aws.people(rows=["x"])
    proxy.fault("*", faults.deny)
    with fails("28000") as caught:
        aws.sql("SELECT envelope_decrypt('people', ssn) FROM people")
    diag = caught.value.diag
    arn = aws_cluster.conf["envelope.default_kek"].removeprefix("aws-kms://")
    assert arn in diag.message_primary
    assert "people" in diag.message_primary + (diag.message_detail or "")
    assert "11111111-2222" in (diag.message_detail or "") and diag.message_hint


@pytest.mark.alone
def test_a_refusal_shows_the_encryption_context(aws, proxy):
    """What a key policy asks for, and what stands in CloudTrail; `envelope.keys` has it, too."""
    context = {"tenant": "läge \"1\"", "a": ""}
    aws.sql("CREATE TABLE t (v bytea)")
    aws.sql("SELECT envelope.create_key('t', kms_context => %s::jsonb)", (json.dumps(context),))
    assert aws.sql("SELECT keks, kms_contexts FROM envelope.keys") == [
        ([aws.cluster.conf["envelope.default_kek"]], [context])]
    for operation, fault, statement in (
        ("Decrypt", faults.deny, "SELECT envelope_encrypt('t', 'x')"),
        ("Decrypt", faults.invalid_ciphertext, "SELECT envelope_encrypt('t', 'x')"),
        ("GenerateDataKey", faults.deny, "SELECT envelope.rotate_key('t')"),
        ("ReEncrypt", faults.deny, "SELECT envelope.add_kek('t', %s)"),
    ):
        proxy.clear()
        proxy.fault(operation, fault)
        with pytest.raises(psycopg.Error) as caught, aws.connect() as c:
            c.execute("LOAD 'pgrx-example'")
            c.execute("SET envelope.allowed_keks = 'aws-kms://*'")
            other = "aws-kms://arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000"
            c.execute(statement, (other,) if "%s" in statement else None)
        shown = caught.value.diag.message_detail.partition("Encryption context: ")[2]
        assert json.loads(shown) == context, operation
