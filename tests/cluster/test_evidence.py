"""What an auditor gets: the history of keys, their inventory, and the document that has both."""

import base64
import datetime
import json

import pytest
from harness import moto as kms
from harness.base_backup import BaseBackup
from harness.index_keys import give
from sqlstate import fails
from test_create_extension import DROP

PLAINTEXT = "a-plaintext-that-occurs-nowhere-else"
HISTORY = "SELECT event, version, detail FROM envelope.key_events ORDER BY at"
INVENTORY = "SELECT to_jsonb(i) FROM envelope.crypto_inventory i ORDER BY kind, relation, version, kek"


def evidence(db, since="-infinity", user="postgres"):
    return db.value("SELECT envelope.evidence(%s)", (since,), user=user)


def inventory(db, user="postgres"):
    return [row for (row,) in db.sql(INVENTORY, user=user)]


def monitor(db):
    """A role that monitors and no more."""
    db.sql(f"CREATE ROLE monitor_{db.name} LOGIN IN ROLE pg_monitor")
    return f"monitor_{db.name}"


@pytest.fixture
def lived(db):
    """A table whose keys have had a life: two rotations, a retired one, a destroyed one."""
    db.people(rows=[PLAINTEXT])
    db.sql("SELECT envelope.rotate_key('people', 'the first year is over')")
    db.sql("SELECT envelope.rotate_key('people', 'leaver')")
    db.sql("CALL envelope.reencrypt('people', 'ssn')")
    db.first, db.second, db.third = (key for (key,) in db.sql("SELECT key_id FROM envelope.keys ORDER BY version"))
    db.sql("SELECT envelope.retire_key(%s, 'nobody needs it')", (db.second,))
    db.sql("SELECT envelope.destroy_key(%s, 'ticket 4711')", (db.first,))
    return db


# -- the history ----------------------------------------------------------------------------------------------------


def test_the_history_of_a_key(lived):
    assert lived.sql(HISTORY) == [
        ("create", 1, None), ("rotate", 2, "the first year is over"), ("rotate", 3, "leaver"),
        ("retire", 2, "nobody needs it"), ("destroy", 1, "ticket 4711")]
    assert lived.sql("SELECT key_id, former_key_id FROM envelope.key_events WHERE event = 'rotate' ORDER BY at") == [
        (lived.second, lived.first), (lived.third, lived.second)]
    assert lived.sql("SELECT DISTINCT relation, purpose, role, login_role, recorded FROM envelope.key_events") == [
        ("public.people", "seal", "postgres", "postgres", True)]


def test_what_is_rolled_back_leaves_no_history(db):
    db.people(rows=["x"])
    before = db.sql(HISTORY)
    with db.connect() as c:
        c.execute("BEGIN; SELECT envelope.rotate_key('people'); ROLLBACK")
        c.execute("BEGIN; SAVEPOINT s; SELECT envelope.rotate_key('people'); ROLLBACK TO s; COMMIT")
    assert db.sql(HISTORY) == before


def test_what_else_is_kept(aws, moto):
    """Each with who did it, also when the audit is off, and with what the KMS called its request."""
    kek = aws.cluster.conf["envelope.default_kek"]
    aws.people(rows=["x"])
    aws.sql(f"ALTER TABLE people OWNER TO {aws.low}")
    with aws.connect() as c:
        c.execute(f"SET ROLE {aws.low}")
        for statement in (
            "SELECT envelope.grant_key('people', 'postgres', 'decrypt')",
            "SELECT envelope.revoke_key('people', 'postgres', 'decrypt')",
            "SELECT envelope.set_limits('people', '{\"rotate_after\": 60}')",
            f"SELECT envelope.rewrap('{kek}', '{kek}', 'people')",
            "SELECT envelope.rotate_key('people')",
            "SELECT envelope.set_minimum_version('people', 2)",
            "SELECT envelope.register_column('people', 'ssn')",
            "SELECT envelope.set_policy('people', 'ssn', 'bytea')",
            "SELECT envelope.drop_policy('people', 'ssn')",
            "SELECT envelope.unregister_column('people', 'ssn')",
            "CREATE TEMP TABLE exported AS SELECT envelope.export_keyring('people') AS keyring",
            "SELECT envelope.shred('people', 'the end')",
        ):
            c.execute(statement)
    kept = aws.sql("SELECT event, role, login_role, grantee, verb, detail FROM envelope.key_events ORDER BY at OFFSET 1")
    by = (aws.low, "postgres")
    assert kept == [
        ("grant", *by, "postgres", "decrypt", None), ("revoke", *by, "postgres", "decrypt", None),
        ("set_limits", *by, None, None, '{"rotate_after": 60}'), ("rewrap", *by, None, None, f"instead of {kek}"),
        ("rotate", *by, None, None, "envelope.rotate_key"), ("set_minimum_version", *by, None, None, "2"),
        ("register_column", *by, None, None, "ssn"), ("set_policy", *by, None, None, "ssn"),
        ("drop_policy", *by, None, None, "ssn"), ("unregister_column", *by, None, None, "ssn"),
        ("destroy", *by, None, None, "the end"), ("destroy", *by, None, None, "the end")]
    assert aws.value("SELECT bool_and(kms_request_id IS NOT NULL) FROM envelope.key_events WHERE event IN ('create', 'rotate')")
    assert aws.value("SELECT bool_and(keyring_id IS NOT NULL) FROM envelope.key_events WHERE key_id IS NOT NULL")


def test_a_forgotten_keyring_stays_in_the_history(db):
    db.people(rows=["x"])
    keyring = db.value("SELECT keyring_id FROM envelope.keys")
    db.sql("DROP TABLE people")
    db.sql("SELECT envelope.forget_keyring(%s, 'the customer left')", (keyring,))
    assert [event for event, *_ in db.sql(HISTORY)] == ["create", "drop_table", "destroy", "forget"]
    document = evidence(db)
    assert document["inventory"] == []
    assert [(e["event"], e["relation"], e["detail"]) for e in document["history"]["destructions"]] == [
        ("destroy", "public.people", "the customer left"), ("forget", "public.people", "the customer left")]


def test_what_is_dropped_is_in_the_history(aws):
    aws.people(rows=["x"])
    aws.sql("SELECT envelope.set_policy('people', 'ssn', 'bytea'); ALTER TABLE people ADD other bytea")
    aws.sql("SELECT envelope.set_policy('people', 'other', 'bytea')")
    aws.sql(f"ALTER TABLE people OWNER TO {aws.low}")
    dropped = "SELECT event, relation, role, detail FROM envelope.key_events WHERE event LIKE 'drop%' ORDER BY at"
    with aws.connect() as c:
        c.execute("BEGIN; ALTER TABLE people DROP other; ROLLBACK")
        assert aws.sql(dropped) == []
        c.execute(f"SET ROLE {aws.low}")
        c.execute("ALTER TABLE people DROP other")
        c.execute("DROP TABLE people")
    assert aws.sql(dropped) == [("drop_column", "public.people", aws.low, "other"), ("drop_table", "public.people", aws.low, "ssn")]
    keyring = aws.value("SELECT keyring_id FROM envelope.key_events WHERE event = 'drop_table'")
    assert keyring == aws.value("SELECT keyring_id FROM envelope.keys")
    # Of no interest.
    aws.sql("CREATE TABLE plain (id int); DROP TABLE plain")
    assert len(aws.sql(dropped)) == 2


def test_what_an_import_says_is_told_as_such(db):
    """Whoever imports may choose when a key was made, and why it is not active."""
    db.people(rows=["x"])
    db.sql("SELECT envelope.rotate_key('people', 'mine')")
    document = db.value("SELECT envelope.export_keyring('people')")
    db.sql(DROP)
    db.sql('CREATE EXTENSION "pgrx-example"')
    for key in document["keyrings"][0]["data_keys"]:
        key["created_at"] = 0
    db.sql("SELECT envelope.import_keyring(%s, 'people')", (json.dumps(document),))
    assert db.sql("SELECT event, version, detail FROM envelope.key_events WHERE NOT recorded ORDER BY event, version") == [
        ("create", 1, "as imported"), ("create", 2, "as imported"), ("decrypt-only", 1, "as imported: mine")]
    # What is made here is not.
    db.sql("SELECT envelope.rotate_key('people', 'due')")
    assert db.sql("SELECT event, version, detail FROM envelope.key_events WHERE version = 3") == [("rotate", 3, "due")]
    db.sql("SELECT envelope.import_keyring(%s, 'people')", (json.dumps(document),))
    assert db.sql("SELECT DISTINCT detail FROM envelope.key_events WHERE NOT recorded") == [("as imported",)]


def test_the_history_only_grows(lived):
    for statement in ("UPDATE envelope.key_event SET detail = 'x'", "DELETE FROM envelope.key_event",
                      "TRUNCATE envelope.key_event"):
        with fails("55000"):
            lived.sql(statement)
        with fails("55000"):
            lived.sql(f"SET session_replication_role = replica; {statement}")
    assert len(lived.sql(HISTORY)) == 5


def test_who_sees_the_history(lived):
    lived.people("others", rows=["x"])
    lived.sql(f"ALTER TABLE people OWNER TO {lived.low}")
    seen = "SELECT DISTINCT relation FROM envelope.key_events ORDER BY 1"
    assert lived.sql(seen, user=lived.low) == [("public.people",)]
    assert lived.sql(seen, user=monitor(lived)) == [("public.others",), ("public.people",)]
    # What somebody may decrypt is none of the rights of others.
    lived.sql(f"SELECT envelope.grant_key('others', '{lived.low}', 'decrypt')")
    assert lived.sql(seen, user=lived.low) == [("public.people",)]
    lived.sql(f"SELECT envelope.grant_key('others', '{lived.low}', 'manage')")
    assert lived.sql(seen, user=lived.low) == [("public.others",), ("public.people",)]


def test_keys_of_before_the_history(lived):
    """As an upgrade leaves them: their rows tell when they were made, and their last change."""
    lived.sql("ALTER TABLE envelope.key_event DISABLE TRIGGER USER; DELETE FROM envelope.key_event")
    kept = lived.sql("SELECT event, version, detail, role, recorded FROM envelope.key_events ORDER BY at")
    assert kept == [
        ("create", 1, None, None, False), ("create", 2, None, None, False), ("create", 3, None, None, False),
        ("retire", 2, "nobody needs it", None, False), ("destroy", 1, "ticket 4711", None, False)]
    document = evidence(lived)
    assert document["history"]["recorded_from"] is None
    assert [e["detail"] for e in document["history"]["destructions"]] == ["ticket 4711"]
    # The next rotation is recorded, and what it replaces is told once.
    lived.sql("SELECT envelope.rotate_key('people', 'due')")
    assert lived.sql("SELECT event, version, recorded FROM envelope.key_events ORDER BY at OFFSET 5") == [("rotate", 4, True)]


def test_an_older_catalog_keeps_none(db):
    """The library of this release with the catalog of one before: what works there works."""
    db.people(rows=["x"])
    for view in ("key_events", "crypto_inventory"):
        db.sql(f'ALTER EXTENSION "pgrx-example" DROP VIEW envelope.{view}; DROP VIEW envelope.{view} CASCADE')
    db.sql('ALTER EXTENSION "pgrx-example" DROP TABLE envelope.key_event; DROP TABLE envelope.key_event')
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'decrypt')")
    assert db.value("SELECT count(*) FROM envelope.key_grant") == 1


def test_dump_and_restore_keeps_the_history(lived, own_cluster):
    target = own_cluster(conf={"envelope.file_kek_directory": f"{lived.cluster.data}.kek"}).start()
    target.sql("CREATE DATABASE copy")
    archive = lived.cluster.base / f"{lived.name}.dump"
    lived.cluster.client("pg_dump", "-Fc", "-f", archive, dbname=lived.name)
    target.client("pg_restore", "--exit-on-error", "-j4", "-d", "copy", archive)
    query = "SELECT * FROM envelope.key_events ORDER BY at"
    assert target.sql(query, dbname="copy") == lived.sql(query)
    # And it goes on there.
    target.sql("SELECT envelope.rotate_key('people', 'after the move')", dbname="copy")
    assert target.sql("SELECT detail FROM envelope.key_events ORDER BY at DESC LIMIT 1", dbname="copy") == [("after the move",)]


# -- the inventory --------------------------------------------------------------------------------------------------


def test_each_key_has_its_row(aws):
    aws.people(rows=["x"])
    give(aws)
    aws.sql("SELECT envelope.rotate_key('people', 'due')")
    old, new, index, kek = inventory(aws)
    arn = aws.cluster.conf["envelope.default_kek"]
    assert [row["kind"] for row in (old, new, index, kek)] == ["data key", "data key", "index key", "kek"]
    assert {row["bits"] for row in (old, new, index, kek)} == {256}
    assert {row["relation"] for row in (old, new, index)} == {"public.people"}
    assert [row["keks"] for row in (old, new, index)] == 3 * [[arn]]
    assert [row["algorithm"] for row in (new, index, kek)] == ["XAES-256-GCM", "HMAC-SHA-256", "AES-256-GCM"]
    assert (old["version"], old["state"], old["reason"]) == (1, "decrypt-only", "due")
    assert (old["cryptoperiod_ends"], old["cryptoperiod_basis"]) == (new["created_at"], "replaced by version 2")
    assert (new["state"], new["cryptoperiod_basis"]) == ("active", "envelope.cryptoperiod")
    assert index["cryptoperiod_ends"] is None and "rotate_index_key" in index["unknown"]["cryptoperiod_ends"]
    assert (kek["kek"], kek["provider"], kek["region"], kek["state"]) == (arn, "AWS KMS", kms.REGION, "in use")
    assert kek["endpoint"] == aws.cluster.conf["envelope.aws_endpoint_url"]
    # Every NULL that could be a value says why it is none.
    for row in (old, new, index, kek):
        for column in ("algorithm", "created_at", "cryptoperiod_ends", "last_used_at"):
            assert (row[column] is None) == (column in row["unknown"]), (row, column)


@pytest.mark.parametrize("limits, setting, days, basis", [
    ("{}", None, 365, "envelope.cryptoperiod"),
    ("{}", "10d", 10, "envelope.cryptoperiod"),
    ("{}", "0", None, None),
    ('{"rotate_after": 86400}', None, 1, "the table's limit rotate_after"),
    ('{"rotate_after": 0, "cryptoperiod": 172800}', None, 2, "the table's limit cryptoperiod"),
    ('{"rotate_after": 259200, "cryptoperiod": 172800}', None, 2, "the table's limit cryptoperiod"),
    ('{"rotate_after": 86400, "cryptoperiod": 0}', None, 1, "the table's limit rotate_after"),
    ('{"cryptoperiod": 0}', "10d", None, None),
    ('{"cryptoperiod": 0, "rotate_after_seals": 1000}', None, None, None),
])
def test_the_end_of_a_cryptoperiod(db, limits, setting, days, basis):
    db.people(rows=["x"])
    db.sql("SELECT envelope.set_limits('people', %s)", (limits,))
    with db.connect() as c:
        if setting:
            c.execute("LOAD 'pgrx-example'")
            c.execute(f"SET envelope.cryptoperiod = '{setting}'")
        found, = c.execute(
            "SELECT (extract(epoch FROM cryptoperiod_ends - created_at) / 86400)::int, cryptoperiod_basis, "
            "unknown ->> 'cryptoperiod_ends' FROM envelope.crypto_inventory WHERE kind = 'data key'").fetchall()
    assert found[:2] == (days, basis)
    assert (found[2] is None) == (days is not None)
    if "seals" in limits:
        assert "rotate_after_seals" in found[2]


@pytest.mark.parametrize("kek, provider, region, endpoint, bits", [
    ("aws-kms://arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "AWS KMS", "eu-west-1",
     "AWS's own of the region", 256),
    ("aws-kms://arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "AWS KMS", "cn-north-1",
     "AWS's own of the region", 128),
    ("aws-kms://arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "AWS KMS", "us-east-1",
     "https://vpce.example.com", 256),
    ("vault://vault.example.com:8200/transit/keys/app", "OpenBao or Vault transit", None, "vault://vault.example.com:8200", 256),
    ("vault+http://127.0.0.1:8200/transit/keys/app", "OpenBao or Vault transit", None, "vault+http://127.0.0.1:8200", 256),
    ("pkcs11:token=pg;object=kek", "PKCS#11 token", None, "module /usr/lib/token.so", 256),
    ("kmip://kmip.example.com:5696/42", "KMIP server", None, "kmip://kmip.example.com:5696", 256),
    ("file:///srv/keys/kek", "key file", None, "a file of this server", 256),
])
def test_where_a_kek_is(db, kek, provider, region, endpoint, bits):
    db.people(rows=["x"])
    db.sql("UPDATE envelope.wrapped_key SET kek = %s", (kek,))
    with db.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        c.execute("SET envelope.aws_endpoint_url = 'us-east-1=https://vpce.example.com'")
        c.execute("SET envelope.pkcs11_module = '/usr/lib/token.so'")
        found = c.execute("SELECT kek, provider, region, endpoint, bits FROM envelope.crypto_inventory "
                          "WHERE kind = 'kek'").fetchall()
    assert found == [(kek, provider, region, endpoint, bits)]


def test_a_rotation_in_two_phases(db):
    """The pending version does not end the one that seals, which ends when the next one is activated."""
    db.people(rows=["x"])
    db.sql("SELECT envelope.set_limits('people', '{\"cryptoperiod\": 31536000}')")
    pending = db.value("SELECT envelope.rotate_key('people', 'the year is over', activate => false)")
    shown = """SELECT version, state, cryptoperiod_ends - created_at, cryptoperiod_basis, unknown ->> 'cryptoperiod_ends'
               FROM envelope.crypto_inventory WHERE kind = 'data key' ORDER BY version"""
    year = datetime.timedelta(days=365)
    assert db.sql(shown) == [(1, "active", year, "the table's limit cryptoperiod", None),
                             (2, "pending", None, None, "it does not seal yet: envelope.activate_key")]
    assert [event for event, *_ in db.sql(HISTORY)] == ["create", "set_limits", "rotate"]
    db.sql("SELECT envelope.activate_key(%s)", (pending,))
    assert db.sql("""SELECT i.cryptoperiod_ends = e.at, i.cryptoperiod_basis, e.former_key_id = i.key_id
                     FROM envelope.crypto_inventory i, envelope.key_events e
                     WHERE i.version = 1 AND i.kind = 'data key' AND e.event = 'activate'""") == [
        (True, "replaced by version 2", True)]
    rotations = evidence(db)["history"]["rotations"]
    assert [event["event"] for event in rotations] == ["rotate", "activate"]


def test_both_sides_of_a_fork(db, database):
    """What another server has sealed with ends nothing here."""
    db.people(rows=["x"])
    first = db.value("SELECT envelope.export_keyring('people')")
    there = database(db.cluster)
    there.people()
    there.sql("SELECT envelope.import_keyring(%s, 'people')", (json.dumps(first),))
    db.sql("SELECT envelope.rotate_key('people', 'here')")
    there.sql("SELECT envelope.rotate_key('people', 'there')")
    theirs = there.value("SELECT envelope.export_keyring('people')")
    db.sql("SELECT envelope.import_keyring(%s, 'people', resolve => 'keep-both')", (json.dumps(theirs),))
    db.sql("SELECT envelope.rotate_key('people', 'again')")
    ended = db.sql("""SELECT cryptoperiod_ends >= created_at, cryptoperiod_basis FROM envelope.crypto_inventory
                      WHERE kind = 'data key' AND state <> 'active' ORDER BY version""")
    assert all(is_after for is_after, _ in ended) and len(ended) == 3
    # It was made there.
    assert db.sql("SELECT event, version FROM envelope.key_events WHERE NOT recorded") == [("create", 3)]


def test_a_destroyed_key_is_shown_with_its_end(lived):
    first, second, third, _ = inventory(lived)
    assert (first["state"], first["reason"], first["keks"]) == ("destroyed", "ticket 4711", [])
    assert (second["state"], second["reason"]) == ("retired", "nobody needs it")
    assert first["cryptoperiod_ends"] == second["created_at"] and second["cryptoperiod_ends"] == third["created_at"]
    lived.sql("SELECT envelope.shred('people', 'the end')")
    *_, third = inventory(lived)
    assert (third["state"], third["cryptoperiod_basis"]) == ("destroyed", "destroyed")
    assert third["cryptoperiod_ends"] == third["state_changed_at"]


def test_who_sees_the_inventory(lived):
    lived.people("others", rows=["x"])
    lived.sql(f"ALTER TABLE people OWNER TO {lived.low}")
    own = inventory(lived, user=lived.low)
    assert {row["relation"] for row in own if row["kind"] == "data key"} == {"public.people"}
    assert len([row for row in inventory(lived, user=monitor(lived)) if row["kind"] == "data key"]) == 4
    lived.sql(f"CREATE ROLE nobody_{lived.name} LOGIN")
    assert inventory(lived, user=f"nobody_{lived.name}") == []


def test_last_use_as_far_as_it_is_known(own_cluster, database):
    """From the figures of all sessions where there are any, to those who may read them; unknown without."""
    db = database(own_cluster(conf={"shared_preload_libraries": "pgrx-example"}).start())
    db.people(rows=["x"])
    if db.value("SELECT to_regclass('envelope.stats_cluster') IS NULL"):
        db.sql("CREATE TABLE envelope.stats_cluster AS SELECT d.oid AS datid, k.key_id, now() AS last_unwrap "
               "FROM envelope.data_key k, pg_database d WHERE d.datname = current_database()")
        db.sql("CREATE TABLE envelope.stats_kms AS SELECT d.oid AS datid, w.kek, 'unwrap'::text AS operation, "
               "'ok'::text AS outcome, 1::bigint AS requests, now() AS last_at "
               "FROM envelope.wrapped_key w, pg_database d WHERE d.datname = current_database()")
        db.sql("GRANT SELECT ON envelope.stats_cluster, envelope.stats_kms TO pg_read_all_stats")
    db.sql("SELECT envelope_decrypt('people', ssn) FROM people")
    for user in ("postgres", monitor(db)):
        used = {row["kind"]: row["last_used_at"] for row in inventory(db, user=user)}
        assert used["data key"] is not None and used["kek"] is not None
    db.sql(f"ALTER TABLE people OWNER TO {db.low}")
    assert [row["last_used_at"] for row in inventory(db, user=db.low)] == [None, None]
    assert evidence(db)["refusals"]["by_kms"] == []


# -- the document ---------------------------------------------------------------------------------------------------


def test_its_parts(lived):
    document = evidence(lived)
    assert (document["format"], document["format_version"]) == ("envelope/evidence", 1)
    assert set(document) == {"format", "format_version", "made", "build", "settings", "inventory", "rights", "history",
                             "refusals", "protection", "not_recorded"}
    made, build = document["made"], document["build"]
    assert (made["database"], made["role"], made["on_standby"]) == (lived.name, "postgres", False)
    assert made["system_identifier"] == lived.value("SELECT system_identifier::text FROM pg_control_system()")
    assert build["extension_version"] == lived.value("SELECT extversion FROM pg_extension WHERE extname = 'pgrx-example'")
    assert build["library_version"] == build["extension_version"] and build["preloaded"] is False
    assert "file" in build["kms_built_in"] and "aws-kms" in build["kms_built_in"]
    assert len(document["inventory"]) == 4
    history = document["history"]
    assert [(e["event"], e["version"], e.get("detail")) for e in history["events"]] == lived.sql(HISTORY)
    assert [e["detail"] for e in history["rotations"]] == ["the first year is over", "leaver"]
    assert [e["detail"] for e in history["destructions"]] == ["ticket 4711"]
    [moved] = history["reencryptions"]
    assert (moved["relation"], moved["column_name"], moved["work"]) == ("public.people", "ssn", "reencrypt")
    assert document["refusals"]["audit"] == "off" and document["not_recorded"]


def test_settings(db):
    db.people(rows=["x"])
    db.sql(f"ALTER ROLE {db.low} IN DATABASE {db.name} SET envelope.audit = 'all'")
    db.sql(f"ALTER ROLE {db.low} SET envelope.cache_ttl = '10s'")
    settings = evidence(db)["settings"]
    assert settings["in_force"]["envelope.cache_ttl"] == {"value": "300", "unit": "s", "source": "default"}
    assert settings["in_force"]["log_statement"]["value"] == "none"
    with db.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        all_of_ours = {name for (name,) in c.execute(
            "SELECT name FROM pg_settings WHERE name LIKE 'envelope.%' AND name <> 'envelope.planted_setting'")}
    assert all_of_ours <= set(settings["in_force"])
    mine = [s for s in settings["of_roles_and_databases"] if s["role"] == db.low]
    assert mine == [{"database": None, "role": db.low, "setting": "envelope.cache_ttl=10s"},
                    {"database": db.name, "role": db.low, "setting": "envelope.audit=all"}]
    assert settings["may_be_set_by"] == []
    if db.value("SELECT current_setting('server_version_num')::int >= 150000"):
        db.sql(f"LOAD 'pgrx-example'; GRANT SET ON PARAMETER envelope.audit TO {db.low}")
        assert {"setting": "envelope.audit", "role": db.low, "privilege": "SET"} in evidence(db)["settings"]["may_be_set_by"]
        db.sql(f"LOAD 'pgrx-example'; REVOKE SET ON PARAMETER envelope.audit FROM {db.low}")


def test_rights(db):
    db.people('"Mixed Table"', rows=["x"])
    for role in ("Reader Group", "reader"):
        db.sql(f'CREATE ROLE "{role} {db.name}" LOGIN')
    db.sql(f'GRANT "Reader Group {db.name}" TO "reader {db.name}"')
    db.sql(f"""SELECT envelope.grant_key('"Mixed Table"', 'Reader Group {db.name}', 'decrypt')""")
    db.sql(f'GRANT TRIGGER ON "Mixed Table" TO {db.low}; ALTER ROLE {db.low} CREATEROLE')
    rights = evidence(db)["rights"]
    granted = [right for right in rights["on_keys"] if right["by"] == "grant"]
    assert [(r["relation"], r["verb"], r["members"]) for r in granted] == [
        ('public."Mixed Table"', "decrypt", [f"reader {db.name}"])]
    assert {r["verb"] for r in rights["on_keys"] if r["by"] == "owner"} == {"encrypt", "decrypt", "search", "manage"}
    assert rights["superusers"] == ["postgres"] and db.low in rights["may_create_roles"]
    assert rights["may_add_triggers"] == [{"relation": 'public."Mixed Table"', "role": db.low}]
    assert rights["owner_of_database"] == rights["owner_of_schema"] == "postgres"


def test_protection(db):
    db.people(rows=["x"])
    db.sql("SELECT envelope.set_policy('people', 'ssn', 'bytea', bind => '{id}')")
    [column] = evidence(db)["protection"]["columns"]
    assert (column["relation"], column["column"]) == ("public.people", "ssn")
    assert column["policy"]["bound_columns"] == ["id"]
    assert [(t["name"], t["fires"]) for t in column["triggers"]] == [("seal", "except in replica sessions")]
    db.sql("ALTER TABLE people DISABLE TRIGGER seal")
    protection = evidence(db)["protection"]
    assert "never" in protection["columns"][0]["triggers"][0]["fires"]
    found = db.sql("SELECT relation, column_name, severity, sqlstate FROM envelope.lint()")
    assert sorted((f["relation"], f["column_name"], f["severity"], f["sqlstate"]) for f in protection["findings"]) == sorted(found)
    assert ("public.people", "ssn", "error") in {row[:3] for row in found}
    assert protection["guards_not_in_force"] == []
    db.sql("ALTER TABLE envelope.key_event DISABLE TRIGGER keep_history; ALTER EVENT TRIGGER envelope_watch_drops DISABLE")
    assert evidence(db)["protection"]["guards_not_in_force"] == [
        "event trigger envelope_watch_drops", "trigger keep_history of table envelope.key_event"]


def test_since(lived):
    at = lived.value("SELECT at FROM envelope.key_events WHERE event = 'retire'")
    history = evidence(lived, at)["history"]
    assert [e["event"] for e in history["events"]] == ["retire", "destroy"]
    assert history["rotations"] == [] and history["reencryptions"] == []
    assert len(evidence(lived, at)["inventory"]) == 4
    assert evidence(lived, "infinity")["history"]["events"] == []
    with fails("22023"):
        evidence(lived, None)


def test_following_a_key(lived):
    """From the document alone: a table, and what became of its first key."""
    document = evidence(lived)
    [key] = [k for k in document["inventory"] if k.get("relation") == "public.people" and k["version"] == 1]
    life = [e["event"] for e in document["history"]["events"] if key["key_id"] in (e.get("key_id"), e.get("former_key_id"))]
    assert life == ["create", "rotate", "destroy"]


def test_two_are_alike(lived):
    """Byte for byte, but for when and by whom they were made."""
    role = monitor(lived)
    with lived.connect() as c, lived.connect(role) as other:
        other.execute("SET timezone = 'Asia/Tokyo'; SET datestyle = 'SQL, DMY'; SET extra_float_digits = -5")
        query = "SELECT (envelope.evidence('-infinity') - 'made')::text"
        first, second = c.execute(query).fetchone(), c.execute(query).fetchone()
        assert first == second == other.execute(query).fetchone()


def test_who_may_have_it(lived):
    with fails("42501") as refused:
        evidence(lived, user=lived.low)
    assert "pg_monitor" in refused.value.diag.message_hint
    # The owner of the table and of the database, and a reader of all data, too.
    lived.sql(f"ALTER TABLE people OWNER TO {lived.low}; GRANT pg_read_all_data TO {lived.low}")
    with fails("42501"):
        evidence(lived, user=lived.low)
    assert len(evidence(lived, user=monitor(lived))["inventory"]) == 4


def spelled(secret):
    """As it would stand in a document."""
    return secret.hex(), base64.b64encode(secret).decode().rstrip("=")


def test_no_secret_is_in_it(aws, moto):
    """No wrap, no key, no value, no encryption context."""
    aws.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea, city bytea)")
    aws.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    aws.sql("""SELECT envelope.create_key('people', kms_context => '{"tenant": "a-tenant-of-ours"}')""")
    aws.sql("INSERT INTO people VALUES (1, %s, %s)", (PLAINTEXT.encode(), PLAINTEXT.encode()))
    aws.sql("SELECT envelope.set_policy('people', 'ssn', 'bytea', mask => 'last4', value_type => 'text')")
    aws.sql("SELECT envelope.rotate_key('people')")
    document = json.dumps(evidence(aws))
    assert "a-tenant-of-ours" not in document and PLAINTEXT not in document
    wraps = [bytes(wrap) for (wrap,) in aws.sql("SELECT wrapped FROM envelope.wrapped_key")]
    context = {"tenant": "a-tenant-of-ours"}
    keys = [moto.client().decrypt(CiphertextBlob=wrap, EncryptionContext=context)["Plaintext"] for wrap in wraps]
    assert [len(key) for key in keys] == [32, 32]
    # The first bytes of a value are its key's id, those of a wrap may be its KEK's: no secrets.
    parts = [bytes(value)[18:36] for (value,) in aws.sql("SELECT ssn FROM people")]
    parts += [wrap[at:at + 16] for wrap in wraps for at in (len(wrap) - 16, len(wrap) - 32)] + keys
    for part in parts:
        assert not [text for text in spelled(part) if text in document]


def test_what_stands_in_files_is_not_in_it(db):
    db.people(rows=["x"])
    key_file = (db.cluster.base / "data.kek" / "default.kek").read_bytes()
    document = json.dumps(evidence(db))
    assert "default.kek" in document
    assert not [text for text in spelled(key_file) if text in document]


def test_on_a_standby_and_preloaded(moto, kms_proxy, own_cluster, database):
    conf = {"shared_preload_libraries": "pgrx-example", "envelope.default_kek": kms.kek(moto.create_key()),
            "envelope.aws_region": kms.REGION, "envelope.aws_endpoint_url": kms_proxy.url}
    primary = own_cluster(conf=conf, env=kms.CREDENTIALS).start()
    db = database(primary)
    db.people(rows=["x"])
    db.sql("SELECT envelope.rotate_key('people', 'due')")
    here = evidence(db)
    assert here["build"]["preloaded"] is True
    with BaseBackup(primary, {}, standby=True) as standby:
        standby.caught_up()
        kms_proxy.reset_counts()
        there = standby.sql("SELECT envelope.evidence('-infinity')", None, db.name)[0][0]
        assert there["made"]["on_standby"] is True
        for part in ("history", "protection", "rights"):
            assert there[part] == here[part], part
        assert [k.get("key_id") for k in there["inventory"]] == [k.get("key_id") for k in here["inventory"]]
        # No KMS is asked for it.
        assert kms_proxy.counts.total() == 0
