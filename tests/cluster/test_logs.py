"""The server's log holds nothing that came from us: no plaintext, also not by way of COPY's context."""

import psycopg
import pytest
from harness import faults
from sqlstate import fails

NEEDLE = "a-plaintext-that-occurs-nowhere-else"


def copy_in(db, options=""):
    with db.connect(options=options) as c, c.cursor().copy("COPY people FROM STDIN") as copy:
        copy.write_row((1, NEEDLE))


def test_first_use_in_copy_logs_no_row(own_cluster, database):
    """The WARNING about a new key file comes while COPY is at a row."""
    c = own_cluster(conf={"log_min_messages": "debug1"}).start()
    db = database(c)
    db.people()
    copy_in(db)
    log = c.log.read_text(errors="replace")
    assert "created key file" in log and NEEDLE not in log


@pytest.mark.parametrize("fault", ["refused", "cancelled"])
def test_an_error_of_the_kms_in_copy_logs_no_row(aws, proxy, fault):
    """Neither our error does, nor PostgreSQL's own while the trigger waits."""
    aws.people()
    if fault == "refused":
        proxy.fault("*", faults.deny)
        sqlstate, options = "28000", ""
    else:
        proxy.fault("*", faults.hang)
        sqlstate, options = "57014", "-c statement_timeout=500ms"
    with fails(sqlstate) as caught:
        copy_in(aws, options)
    assert NEEDLE not in (caught.value.diag.context or "")
    assert NEEDLE not in aws.cluster.log.read_text(errors="replace")


def test_other_errors_of_copy_still_name_the_line(db):
    """What COPY says of a row that it cannot read is PostgreSQL's, and is left alone."""
    db.people(rows=["first"])
    with pytest.raises(psycopg.Error) as caught:
        with db.connect() as c, c.cursor().copy("COPY people FROM STDIN") as copy:
            copy.write_row((2, "x"))
            copy.write_row(("no number", "x"))
    assert caught.value.sqlstate == "22P02" and "line 2" in caught.value.diag.context
