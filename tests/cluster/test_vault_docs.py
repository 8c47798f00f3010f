"""docs/kms/vault.md is done from top to bottom: its commands, its settings, its SQL."""

import contextlib
import re
import subprocess

import psycopg
from harness import place
from harness.jwt import Issuer
from harness.openbao import OpenBao
from harness.secrets_dir import SecretsDir
from test_docs import STATEMENT, given, run

BLOCK = re.compile(r"^```(bash|ini|sql)\n(.*?)^```", re.M | re.S)


def test_the_page_is_done_as_it_stands(own_cluster, database, tmp_path):
    text = (place.ROOT / "docs/kms/vault.md").read_text()
    issuer = Issuer()
    (tmp_path / "issuer.pem").write_text(issuer.public_key)
    done = dict.fromkeys(("bash", "ini", "sql"), 0)
    with contextlib.ExitStack() as ends:
        bao = ends.enter_context(OpenBao(bare=True))
        files = ends.enter_context(SecretsDir())
        for shown, real in {
            "vault.example.com:8200": bao.tls_address,
            "/run/secrets/tokens/vault": str(files.write("jwt", issuer.token("system:serviceaccount:shop:postgres"))),
            "/etc/ssl/vault-ca.pem": str(bao.authority.ca),
        }.items():
            assert shown in text
            text = text.replace(shown, real)
        session = None
        for language, block in BLOCK.findall(text):
            done[language] += 1
            if language == "bash":
                subprocess.run(["bash", "-euc", block], check=True, cwd=tmp_path, env=bao.cli_env())
            elif language == "ini":
                conf = dict(re.findall(r"^(\S+) = '(.*?)'", block, re.M))
                session = ends.enter_context(database(own_cluster(conf=conf).start()).connect())
            else:
                for sql, said in STATEMENT.findall(block):
                    check(session, sql.strip(), said)
    assert done == {"bash": 7, "ini": 1, "sql": 3}


def check(session, sql, said):
    expected, failure = said.partition("=> ")[2], said.partition("ERROR ")[2]
    try:
        result = given(run(session, sql))
    except psycopg.Error as error:
        assert error.sqlstate == failure, f"{sql}: {error}"
    else:
        assert not failure and (not expected or result == expected), f"{sql}: gave {result}"
