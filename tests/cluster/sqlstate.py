"""What tests assert of a failure: its SQLSTATE, and that it came in time."""

import contextlib
import time

import psycopg
import pytest


@contextlib.contextmanager
def fails(sqlstate, within=10.0):
    """The block fails with this SQLSTATE, in so many seconds; gives the error."""
    started = time.monotonic()
    with pytest.raises(psycopg.Error) as caught:
        yield caught
    took = time.monotonic() - started
    assert caught.value.sqlstate == sqlstate, f"{caught.value.sqlstate}: {caught.value}"
    assert took < within, f"took {took:.1f} s"
