"""What tests assert of a failure: its SQLSTATE, and that it came in time."""

import contextlib
import time

import psycopg
import pytest


# What the KMS may do to any request (harness/faults.py), and the SQLSTATE of the statement that asked.
REFUSED_OR_BROKEN = {
    "deny": "28000",
    "disabled": "55000",
    "missing": "55000",
    "pending_deletion": "55000",
    "throttle": "53400",
    "internal": "58030",
    "unavailable": "58030",
    "hang": "58030",
    "hang_in_body": "58030",
    "reset": "58030",
    "truncated": "58030",
    "garbage": "58030",
    "short_plaintext": "XX001",
    "long_plaintext": "XX001",
}


# What hangs in these tests does so for twice as long, and every limit that is to end it is some seconds.
IN_TIME = 60


@contextlib.contextmanager
def fails(sqlstate):
    """The block fails with this SQLSTATE, and not because what hung has come back; gives the error."""
    started = time.monotonic()
    with pytest.raises(psycopg.Error) as caught:
        yield caught
    took = time.monotonic() - started
    assert caught.value.sqlstate == sqlstate, f"{caught.value.sqlstate}: {caught.value}"
    assert took < IN_TIME, f"took {took:.1f} s"
