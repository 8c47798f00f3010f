"""Exported keyrings."""

import base64
import json

from envelope_reader import context, keys

from interop.conformance.sealing import DEK, KEK, OTHER, OTHER_KEK, SHOP, file_wrap, sealed, token_wrap
from interop.conformance.vector import fails, gives, some

ARN = "aws-kms://arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
TOKEN = "pkcs11:token=shop;object=kek"
KEK_FILE = "file:///etc/kek"
VAULT = "vault://vault.example.com:8200/transit/keys/shop"
BLOB, CIPHER = some("blob", 184), b"vault:v1:" + base64.b64encode(some("transit", 60))


def a_wrap(kek, wrapped, of=None):
    return {"kek": kek, "kms_context": SHOP if of is None else of, "wrapped": base64.b64encode(wrapped).decode()}


def a_key(dek, version, state, wrapped, purpose="seal", **changed):
    return {
        "key_id": keys.text_of(keys.key_id(dek)),
        "purpose": purpose,
        "version": version,
        "state": state,
        "created_at": 1764460800000000,
        "state_changed_at": 1764460800000000,
        "reason": None,
        "wraps": wrapped,
        **changed,
    }


def a_keyring(data_keys, seals=True, **changed):
    return {
        "keyring_id": "5eed0000-0000-4000-8000-000000000001",
        "seals": seals,
        "table_name": "public.customers",
        "default_kek": None,
        "kms_context": None,
        "limits": {},
        "minimum_version": 1,
        "data_keys": data_keys,
        **changed,
    }


def a_document(keyrings, **changed):
    return {"format": "envelope/1 keyring", "schema": "public", "table": "customers", "keyrings": keyrings, **changed}


def keyrings():
    by_file, by_token = a_wrap(KEK_FILE, file_wrap(SHOP)), a_wrap(TOKEN, token_wrap(SHOP, some("iv", 12)))
    by_aws, by_vault = a_wrap(ARN, BLOB), a_wrap(VAULT, CIPHER)
    value = sealed(b"123-45-6789")
    asks = {"answers": {f"{BLOB.hex()} {context.context_json(SHOP)}": DEK.hex(), f"{CIPHER.hex()} {context.context_json(SHOP)}": DEK.hex()}}
    lies = {"answers": {f"{BLOB.hex()} {context.context_json(SHOP)}": OTHER.hex()}}
    cuts = {"answers": {f"{BLOB.hex()} {context.context_json(SHOP)}": DEK[:31].hex()}}

    def of(wrapped, state="active"):
        return a_document([a_keyring([a_key(DEK, 1, state, wrapped)])])

    def opens(name, shows, document, unwrappers, raw=value, plaintext=b"123-45-6789", of_row=""):
        gives(
            f"keyring/{name}",
            shows,
            "keyring_open",
            plaintext.hex(),
            in_crate=False,
            document=document,
            unwrappers=unwrappers,
            sealed=raw.hex(),
            context=of_row,
        )

    def does_not(name, error, document, unwrappers, raw=value, shows="an export that does not open the value"):
        fails(f"keyring/{name}", shows, "keyring_open", error, in_crate=False, document=document, unwrappers=unwrappers, sealed=raw.hex(), context="")

    file = {"file://": {"file": KEK.hex()}}
    opens("a key file", "an export opens with the key file", of([by_file]), file)
    opens("a token's key", "an export opens with a token", of([by_token]), {"pkcs11:": {"token": KEK.hex()}})
    opens("AWS KMS", "the caller asks the KMS", of([by_aws]), {"aws-kms://": asks})
    opens("transit", "the wrap is the text that transit gave", of([by_vault]), {"vault://": asks})
    opens("as text", "the document as text", json.dumps(of([by_file])), file)
    opens("several KEKs, one at hand", "any of its KEKs opens a data key", of([by_aws, by_file]), file)
    opens("several KEKs, the first refuses", "another one is tried", of([by_aws, by_file]), {"aws-kms://": {"answers": {}}, **file})
    opens("several KEKs, the first gives another key", "another one is tried", of([by_aws, by_file]), {"aws-kms://": lies, **file})
    opens(
        "the longest beginning",
        "the function of the longest beginning is asked",
        of([by_file]),
        {"file:///etc/": {"file": KEK.hex()}, "file://": {"file": OTHER_KEK.hex()}, "": {"answers": {}}},
    )
    for state in ("active", "decrypt-only", "retired", "pending"):
        opens(f"state {state}", "a key that is wrapped opens, whatever its state is", of([by_file], state), file)
    second = a_keyring(
        [a_key(OTHER, 1, "active", [a_wrap(KEK_FILE, file_wrap(SHOP, OTHER))])], seals=False, keyring_id="5eed0000-0000-4000-8000-000000000002"
    )
    opens(
        "a keyring that the table opens with",
        "values of all keyrings open",
        a_document([*of([by_file])["keyrings"], second]),
        file,
        sealed(b"abc", dek=OTHER),
        b"abc",
    )
    opens(
        "rights and later fields",
        "fields that are not known are passed over",
        a_document([a_keyring([a_key(DEK, 1, "active", [{**by_file, "later": 1}], later=2)], grants=[{"role": "x", "verb": "decrypt"}])], later=[]),
        file,
    )
    opens(
        "bound to a row",
        "with a context",
        of([by_file]),
        file,
        sealed(b"abc", context.row_context("t.c", "1")),
        b"abc",
        context.row_context("t.c", "1"),
    )

    does_not("no function", "no_kek", of([by_aws]), file)
    does_not("refused", "refused", of([by_aws]), {"aws-kms://": {"answers": {}}}, shows="the caller's own error comes out")
    does_not("the KMS gives another key", "other_data_key", of([by_aws]), {"aws-kms://": lies}, shows="the key id commits to the key")
    does_not("the KMS gives 31 bytes", "wrong_length", of([by_aws]), {"aws-kms://": cuts})
    does_not("another key file", "other_kek", of([by_file]), {"file://": {"file": OTHER_KEK.hex()}})
    does_not("a wrap of another context", "does_not_open", of([a_wrap(KEK_FILE, file_wrap(SHOP), {})]), file)
    does_not("wraps exchanged", "other_data_key", of([a_wrap(KEK_FILE, file_wrap(SHOP, OTHER))]), file, shows="the key id commits to the key")
    does_not("another table's value", "unknown_key", of([by_file]), file, sealed(b"abc", dek=OTHER))
    does_not("no sealed value", "not_sealed", of([by_file]), file, b"in clear")
    does_not("destroyed", "destroyed_key", of([], "destroyed"), file)
    does_not("a value under an index key", "unknown_key", a_document([a_keyring([a_key(DEK, 1, "active", [by_file], "index")])]), file)
    for name, document in [
        ("no JSON", "{"),
        ("a list", []),
        ("nothing", {}),
        ("another format", a_document([], format="envelope/2 keyring")),
        ("no format", {k: v for k, v in of([by_file]).items() if k != "format"}),
        ("no keyring", a_document([])),
        ("two that seal", a_document([*of([by_file])["keyrings"], a_keyring([a_key(OTHER, 1, "active", [by_file])])])),
        ("none that seals", a_document([a_keyring([a_key(DEK, 1, "active", [by_file])], seals=False)])),
        ("a key twice", a_document([a_keyring([a_key(DEK, 1, "active", [by_file]), a_key(DEK, 2, "retired", [by_file])])])),
        ("a state that is not known", of([by_file], "resting")),
        ("a purpose that is not known", a_document([a_keyring([a_key(DEK, 1, "active", [by_file], "other")])])),
        ("destroyed, with a wrap", of([by_file], "destroyed")),
        ("active, without a wrap", of([])),
        ("an id that is no UUID", a_document([a_keyring([a_key(DEK, 1, "active", [by_file], key_id="x")])])),
        ("an id of another version", a_document([a_keyring([a_key(DEK, 1, "active", [by_file], key_id="5eed0000-0000-4000-8000-000000000001")])])),
        ("a version that is text", a_document([a_keyring([a_key(DEK, "1", "active", [by_file])])])),
        ("no base64", of([{**by_file, "wrapped": "?"}])),
        ("base64 without its end", of([{**by_file, "wrapped": by_file["wrapped"].rstrip("=") + "A"}])),
        ("an empty wrap", of([{**by_file, "wrapped": ""}])),
        ("a context that is none", of([{**by_file, "kms_context": {"k": 1}}])),
        ("no context", of([{k: v for k, v in by_file.items() if k != "kms_context"}])),
    ]:
        does_not(name, "not_a_keyring", document, file, shows="what is no export is refused")
    index, older = some("index key"), some("older index key")
    ring = a_document(
        [
            a_keyring(
                [
                    a_key(older, 1, "decrypt-only", [a_wrap(KEK_FILE, file_wrap(SHOP, older))], "index"),
                    a_key(DEK, 1, "active", [by_file]),
                    a_key(some("gone"), 3, "destroyed", [], "index"),
                    a_key(index, 2, "active", [a_wrap(KEK_FILE, file_wrap(SHOP, index))], "index"),
                ]
            )
        ]
    )
    gives(
        "keyring/index keys",
        "the active index key first, none that is destroyed",
        "keyring_index_keys",
        [index.hex(), older.hex()],
        in_crate=False,
        document=ring,
        unwrappers=file,
    )
