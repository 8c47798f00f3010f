"""envelope.check() when KEKs are away, refuse, or answer wrongly."""

import os

from harness import faults


def test_check_after_the_key_file_moved(own_cluster, database):
    """One KEK gone, another there: each wrap gets its row, whatever this session has in memory."""
    c = own_cluster().start()
    db = database(c)
    db.people("a", rows=["x"])
    other = c.base / "data.kek" / "other.kek"
    other.write_bytes((c.base / "data.kek" / "default.kek").read_bytes()[::-1])
    stat = (c.base / "data.kek" / "default.kek").stat()
    other.chmod(0o600)
    os.chown(other, stat.st_uid, stat.st_gid)
    db.sql("CREATE TABLE b (v bytea); CREATE TABLE c (v bytea)")
    db.sql(f"SELECT envelope.create_key('b', 'file://{other}')")
    db.sql("SELECT envelope.create_key('c')")
    checked = "SELECT relation, ok, sqlstate FROM envelope.check() ORDER BY 1"
    with db.connect() as session:
        session.execute("SELECT envelope.warm('a')")
        assert session.execute(checked).fetchall() == [(f"public.{t}", True, None) for t in "abc"]
        other.rename(other.with_suffix(".away"))
        assert session.execute(checked).fetchall() == [
            ("public.a", True, None), ("public.b", False, "55000"), ("public.c", True, None)]
        default = c.base / "data.kek" / "default.kek"
        default.rename(default.with_suffix(".away"))
        assert [row[1] for row in session.execute(checked)] == [False] * 3
        # The cached key goes on; only check() looks past it.
        session.execute("SELECT envelope_decrypt('a', ssn) FROM a")
        other.with_suffix(".away").rename(other)


def test_check_asks_a_kek_out_of_reach_once(aws, proxy):
    """And goes on: with a timeout for each key of a large database nobody would see the end."""
    for n in range(3):
        aws.people(f"t{n}", rows=["x"])
    proxy.reset_counts()
    assert aws.value("SELECT count(*) FROM envelope.check() WHERE ok") == 3
    assert proxy.counts["Decrypt"] == 3
    proxy.reset_counts()
    proxy.fault("Decrypt", faults.hang)
    rows = aws.sql("SELECT ok, sqlstate FROM envelope.check()")
    assert rows == [(False, "58030")] * 3 and proxy.counts["Decrypt"] == 1
    proxy.clear()
    proxy.fault("Decrypt", faults.deny, times=1)
    assert sorted(aws.sql("SELECT ok, sqlstate FROM envelope.check()"), key=str) == [
        (False, "28000"), (True, None), (True, None)]
    proxy.fault("Decrypt", faults.another_plaintext, times=1)
    assert aws.value("SELECT array_agg(sqlstate) FROM envelope.check() WHERE NOT ok") == ["XX001"]
