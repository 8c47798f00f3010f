"""Doing it outside the database: one value of 16 bytes stored and one read back, each by a statement of its own, by
libraries that Python has for it. The round trip over a local socket is part of it for all."""

import os

import bson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongocrypt.mongocrypt import MongoCryptOptions
from pymongocrypt.synchronous.explicit_encrypter import ExplicitEncrypter
from pymongocrypt.synchronous.state_machine import MongoCryptCallback

from . import place, timing

VALUE = b"sixteen bytes ok"
ROUND_TRIPS = 1000


class Vault(MongoCryptCallback):
    """The key vault that MongoDB would be, in memory; the master key is a local one."""

    def __init__(self):
        self.keys = []

    def insert_data_key(self, data_key):
        self.keys.append(data_key)
        return bson.decode(data_key)["_id"]

    def fetch_keys(self, filter):
        yield from self.keys

    def kms_request(self, kms_context):
        raise NotImplementedError("a local master key asks no KMS")

    def collection_info(self, database, filter):
        raise NotImplementedError("values are encrypted explicitly")

    def mark_command(self, database, command):
        raise NotImplementedError("values are encrypted explicitly")

    def bson_encode(self, doc):
        return bson.encode(doc)

    def close(self):
        pass


def mongocrypt():
    """seal and open by libmongocrypt: AES-256-CBC with HMAC, as MongoDB's client-side encryption does it."""
    vault = Vault()
    encrypter = ExplicitEncrypter(vault, MongoCryptOptions({"local": {"key": os.urandom(96)}}))
    key_id = encrypter.create_data_key("local")

    def seal(value):
        document = bson.encode({"v": value})
        return bson.decode(encrypter.encrypt(document, "AEAD_AES_256_CBC_HMAC_SHA_512-Random", key_id))["v"]

    def open_(sealed):
        return bson.decode(encrypter.decrypt(bson.encode({"v": bson.Binary(sealed, 6)})))["v"]

    return seal, open_


def aesgcm():
    cipher = AESGCM(os.urandom(32))

    def seal(value):
        nonce = os.urandom(12)
        return nonce + cipher.encrypt(nonce, value, b"")

    return seal, lambda sealed: cipher.decrypt(sealed[:12], sealed[12:], b"")


def measure():
    """Microseconds to store and to read a value, by what does it."""
    clients = {"cryptography (AES-256-GCM)": aesgcm(), "pymongocrypt": mongocrypt()}
    with place.server() as cluster, cluster.connect() as connection:
        place.extensions(connection)
        place.sealed_table(connection, "ours", "id int PRIMARY KEY, v bytea")
        for number in range(len(clients)):
            connection.execute(f"CREATE TABLE theirs{number} (id int PRIMARY KEY, v bytea)")
        works = {("envelope", "store"): lambda: store(connection, "ours", lambda value: value),
                 ("envelope", "read"): lambda: read(connection, "ours", "envelope_decrypt('ours', v)", bytes)}
        for number, (name, (seal, open_)) in enumerate(clients.items()):
            table = f"theirs{number}"
            works[name, "store"] = lambda table=table, seal=seal: store(connection, table, seal)
            works[name, "read"] = lambda table=table, open_=open_: read(connection, table, "v", open_)
        took = timing.interleaved(works)
    return {name: {what: took[name, what] / ROUND_TRIPS / 1000 for what in ("store", "read")}
            for name in ("envelope", *clients)}


def store(connection, table, seal):
    connection.execute(f"TRUNCATE {table}")
    for i in range(ROUND_TRIPS):
        connection.execute(f"INSERT INTO {table} VALUES (%s, %s)", (i, seal(VALUE)), prepare=True, binary=True)


def read(connection, table, expression, open_):
    for i in range(ROUND_TRIPS):
        row = connection.execute(f"SELECT {expression} FROM {table} WHERE id = %s", (i,), prepare=True, binary=True)
        assert open_(row.fetchone()[0]) == VALUE
