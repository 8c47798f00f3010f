"""No login role sets or blanks a setting of ours; superusers may."""

import socket
import struct

import psycopg
import pytest
from harness.cluster import Cluster
from sqlstate import fails

SETTINGS = ["default_kek", "allowed_keks", "file_kek_directory", "aws_region", "aws_endpoint_url", "aws_role_arn", "kms_timeout",
            "kms_max_attempts", "node_timeout", "cache_ttl", "cache_max_keys", "cache_max_uses", "cache_max_bytes", "cache_max_stale",
            "cryptoperiod", "auto_create_key", "allow_drop", "audit", "fallover_to_weaker",
            "vault_auth", "vault_auth_mount", "vault_role", "vault_namespace", "vault_token_file", "vault_role_id",
            "vault_secret_id_file", "vault_jwt_file", "vault_client_cert_file", "vault_client_key_file", "vault_ca_file",
            "pkcs11_module", "pkcs11_pin_file", "pkcs11_token_chooses_iv", "kmip_ca_file", "kmip_client_cert_file",
            "kmip_client_key_file"]
# Of the server's configuration alone.
OF_THE_SERVER = ["shared_keys"]
USE = "SELECT envelope_encrypt('t', 'x')"


@pytest.fixture
def granted(db):
    """A table whose keys the low role may use: it owns it."""
    db.sql(f"CREATE TABLE t (v bytea); ALTER TABLE t OWNER TO {db.low}")
    db.sql(USE)
    return db


@pytest.fixture(scope="module")
def preloading():
    with Cluster(conf={"shared_preload_libraries": "pgrx-example"}) as c:
        yield c


@pytest.fixture
def preloaded(preloading, database):
    return database(preloading)


@pytest.mark.parametrize("name", SETTINGS + OF_THE_SERVER)
def test_startup_options_poison_the_session(granted, name):
    with granted.connect(granted.low) as c:
        c.execute(USE)
    for value in ("", "1"):
        with granted.connect(granted.low, options=f"-c envelope.{name}={value}") as c:
            with fails("42501") as caught:
                c.execute(USE)
            assert f"envelope.{name}" in str(caught.value)
            # However often, and for every function.
            with fails("42501"):
                c.execute("SELECT envelope_decrypt('t', envelope_encrypt('t', 'x'))")


def test_a_parallel_worker_is_poisoned_too(granted):
    """A worker loads the library without the client's options, and gets the leader's settings."""
    number = granted.value("SELECT current_setting('server_version_num')::int")
    force = "force_parallel_mode" if number < 160000 else "debug_parallel_query"
    for extra in ("", "-c envelope.planted_setting="):
        options = f"-c envelope.allowed_keks= {extra} -c {force}=on"
        with granted.connect(granted.low, options=options) as c:
            for query in (USE, "SELECT count(envelope_encrypt('t', 'x')) FROM pg_class"):
                with fails("42501"):
                    c.execute(query)


def test_nothing_lifts_the_poison(granted):
    with granted.connect(granted.low, options="-c envelope.allowed_keks=") as c:
        for attempt in ("RESET ALL", "DISCARD ALL", "BEGIN", "ROLLBACK", "SELECT 1"):
            c.execute(attempt)
            with fails("42501"):
                c.execute(USE)
            c.execute("ROLLBACK")
        with fails("42501"):
            c.execute("SET envelope.planted_setting = ''")


def test_unknown_settings_poison_too(granted):
    """A misspelt or future name was meant to have effect."""
    with granted.connect(granted.low, options="-c envelope.defualt_kek=") as c:
        with fails("42501"):
            c.execute(USE)


@pytest.mark.parametrize("name", SETTINGS)
def test_preload_refuses_the_connection(preloaded, name):
    with pytest.raises(psycopg.OperationalError) as caught:
        preloaded.connect(preloaded.low, options=f"-c envelope.{name}=1").close()
    assert "permission denied" in str(caught.value)


def test_low_role_cannot_set_in_the_session(granted):
    with granted.connect(granted.low) as c:
        c.execute(USE)
        for name in SETTINGS:
            with fails("42501"):
                c.execute(f"SET envelope.{name} = '1'")


def test_nobody_sets_what_is_of_the_server(granted, preloaded):
    for db in (granted, preloaded):
        with db.connect() as c:
            c.execute("LOAD 'pgrx-example'")
            for name in OF_THE_SERVER:
                with fails("55P02"):
                    c.execute(f"SET envelope.{name} = '1'")
                with fails("55P02"):
                    c.execute(f"ALTER DATABASE {db.name} SET envelope.{name} = '1'")


def test_set_before_load_does_not_take(granted):
    """The library is loaded by the first call; what was set as a placeholder before must not count."""
    with granted.connect(granted.low) as c:
        c.execute("SET envelope.allowed_keks = 'file:///elsewhere/*'")
        c.execute("SET envelope.auto_create_key = off")
        try:
            c.execute(USE)
        except psycopg.Error as e:
            assert e.sqlstate == "42501"
        else:
            assert c.execute("SHOW envelope.auto_create_key").fetchone() == ("on",)
            assert c.execute("SHOW envelope.allowed_keks").fetchone()[0] != "file:///elsewhere/*"


def test_low_role_cannot_store_them(granted):
    with granted.connect(granted.low) as c:
        for name in SETTINGS:
            with fails("42501"):
                c.execute(f"ALTER ROLE {granted.low} SET envelope.{name} = '1'")


def test_superuser_sets_in_the_session(granted):
    with granted.connect() as c:
        c.execute(USE)
        c.execute("SET envelope.cache_ttl = '1min'")
        assert c.execute("SHOW envelope.cache_ttl").fetchone() == ("1min",)
        c.execute(USE)


def test_superuser_sets_for_a_role_and_a_database(granted):
    granted.sql(f"ALTER ROLE {granted.low} SET envelope.cache_ttl = '2min'")
    granted.sql(f"ALTER DATABASE {granted.name} SET envelope.kms_max_attempts = 2")
    with granted.connect(granted.low) as c:
        c.execute(USE)
        assert c.execute("SHOW envelope.cache_ttl").fetchone() == ("2min",)
        assert c.execute("SHOW envelope.kms_max_attempts").fetchone() == ("2",)


def test_the_list_above_is_whole(granted):
    with granted.connect() as c:
        c.execute(USE)
        defined = c.execute("SELECT name FROM pg_settings WHERE name LIKE 'envelope.%'").fetchall()
    assert sorted(name for name, in defined) == sorted(f"envelope.{name}" for name in SETTINGS + OF_THE_SERVER)


def is_hidden(name):
    """As docs/settings.md says it."""
    return name.endswith("_file") or name in ("file_kek_directory", "vault_role_id", "pkcs11_module")


def test_where_secrets_are_is_not_for_every_role(granted):
    """In SHOW, current_setting, SHOW ALL and pg_settings, also of a value of the role's own."""
    for name in ("vault_role_id", "vault_token_file"):
        granted.sql(f"ALTER ROLE {granted.low} SET envelope.{name} = '/secret/place'")
    with granted.connect(granted.low) as c:
        c.execute(USE)
        for name in SETTINGS:
            for query in (f"SHOW envelope.{name}", f"SELECT current_setting('envelope.{name}')"):
                if is_hidden(name):
                    with fails("42501"):
                        c.execute(query)
                else:
                    c.execute(query)
        shown = [name for name, *_ in c.execute("SHOW ALL") if name.startswith("envelope.")]
        seen = c.execute("SELECT name FROM pg_settings WHERE name LIKE 'envelope.%'").fetchall()
        expected = {f"envelope.{name}" for name in SETTINGS + OF_THE_SERVER if not is_hidden(name)}
        assert set(shown) == expected and {name for name, in seen} == expected
    granted.sql(f"GRANT pg_read_all_settings TO {granted.low}")
    try:
        with granted.connect(granted.low) as c:
            c.execute(USE)
            assert c.execute("SHOW envelope.vault_role_id").fetchone() == ("/secret/place",)
    finally:
        granted.sql(f"REVOKE pg_read_all_settings FROM {granted.low}; ALTER ROLE {granted.low} RESET ALL")


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("definer", [False, True])
def test_low_role_cannot_set_them_for_a_function(granted, loaded, definer):
    """Not by a SET clause either, whether the library is there when the function is made and called, or comes later."""
    granted.sql(f"GRANT CREATE ON SCHEMA public TO {granted.low}")
    with granted.connect(granted.low) as c:
        if loaded:
            c.execute(USE)
        for name, value in (("allowed_keks", "file:///elsewhere/*"), ("auto_create_key", "off")):
            try:
                c.execute(f"CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE plpgsql "
                          f"{'SECURITY DEFINER' if definer else ''} SET envelope.{name} = '{value}' AS "
                          "$$ BEGIN PERFORM envelope_encrypt('t', 'x'); "
                          f"RETURN current_setting('envelope.{name}'); END $$")
                assert c.execute("SELECT f()").fetchone() != (value,)
            except psycopg.Error as e:
                assert e.sqlstate == "42501"
            c.execute(USE)


def test_a_superusers_function_sets_them_for_its_own_calls(granted):
    granted.sql("CREATE FUNCTION f() RETURNS bytea LANGUAGE plpgsql SECURITY DEFINER "
                "SET search_path = public SET envelope.allowed_keks = 'file:///elsewhere/*' "
                "AS $$ BEGIN RETURN envelope_encrypt('t', 'x'); END $$")
    with granted.connect(granted.low) as c:
        for _ in range(2):
            c.execute(USE)
            with fails("42501"):
                c.execute("SELECT f()")


@pytest.mark.parametrize("loaded", [False, True])
def test_a_databases_owner_cannot_store_them(granted, loaded):
    granted.sql(f"ALTER DATABASE {granted.name} OWNER TO {granted.low}")
    with granted.connect(granted.low) as c:
        if loaded:
            c.execute(USE)
        for name in SETTINGS:
            for whose in (f"DATABASE {granted.name}", f"ROLE {granted.low} IN DATABASE {granted.name}", "ROLE ALL"):
                with fails("42501"):
                    c.execute(f"ALTER {whose} SET envelope.{name} = ''")


def test_startup_options_with_a_session_preload(own_cluster, database):
    """The library comes after the client's options, and before its first statement."""
    db = database(own_cluster(conf={"session_preload_libraries": "pgrx-example"}).start())
    db.sql(f"CREATE TABLE t (v bytea); ALTER TABLE t OWNER TO {db.low}")
    for options in ("-c envelope.allowed_keks=", "-c envelope.allowed_keks= -c session_preload_libraries="):
        try:
            with db.connect(db.low, options=options) as c:
                with fails("42501"):
                    c.execute(USE)
        except psycopg.OperationalError as e:
            assert "permission denied" in str(e)
    with db.connect(db.low) as c:
        c.execute(USE)


def test_startup_packet(granted):
    """A client may name any setting in its first packet, without any `options`."""
    answers = raw_session(granted, granted.low, {"envelope.allowed_keks": ""}, USE)
    assert b"C42501\0" in answers and b"envelope.allowed_keks" in answers
    answers = raw_session(granted, granted.low, {"application_name": "x"}, USE)
    assert b"C42501\0" not in answers and b"SELECT 1\0" in answers


def raw_session(db, user, settings, query):
    """What the server sends in a session that begins with these settings and asks one query."""
    startup = {"user": user, "database": db.name, **settings}
    pairs = b"".join(f"{name}\0{value}\0".encode() for name, value in startup.items())
    packet = struct.pack("!i", 196608) + pairs + b"\0"
    text = query.encode() + b"\0"
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(f"{db.cluster.base}/.s.PGSQL.{db.cluster.port}")
        s.sendall(struct.pack("!i", len(packet) + 4) + packet)
        s.sendall(b"Q" + struct.pack("!i", len(text) + 4) + text + b"X" + struct.pack("!i", 4))
        return b"".join(iter(lambda: s.recv(65536), b""))


def test_config_file_counts(own_cluster, database):
    c = own_cluster(conf={"envelope.auto_create_key": "off"}).start()
    db = database(c)
    db.sql("CREATE TABLE t (v bytea)")
    with fails("42704"):
        db.sql(USE)
    db.sql("SELECT envelope.create_key('t')")
    db.sql(USE)
