"""docs/kms/kmip.md is done from top to bottom: its commands, its settings, its SQL."""

import contextlib
import re
import subprocess

import pytest
from harness import place, pykmip
from harness.cluster import Cluster
from harness.database import Database
from test_docs import STATEMENT
from test_vault_docs import check

pytestmark = pytest.mark.xdist_group("pykmip")

BLOCK = re.compile(r"^```(bash|python|ini|sql)\n(.*?)^```", re.M | re.S)


def test_the_page_is_done_as_it_stands(tmp_path):
    text = (place.ROOT / "docs/kms/kmip.md").read_text()
    done = dict.fromkeys(("bash", "python", "ini", "sql"), 0)
    with contextlib.ExitStack() as ends:
        server = ends.enter_context(pykmip.PyKmip())
        certificate, key = server.client
        for shown, real in {
            '"kmip.example.com", port=5696': f'"127.0.0.1", port={server.port}',
            "kmip.example.com:5696": f"127.0.0.1:{server.port}",
            "/etc/kmip/postgres.pem": str(certificate),
            "/etc/kmip/postgres.key": str(key),
            "/etc/kmip/ca.pem": str(server.authority.ca),
        }.items():
            assert shown in text
            text = text.replace(shown, real)
        session = None
        for language, block in BLOCK.findall(text):
            done[language] += 1
            if language == "bash":
                subprocess.run(["bash", "-euc", block], check=True, cwd=tmp_path)
            elif language == "python":
                made = subprocess.run([pykmip.python(), "-W", "ignore", "-c", block], check=True, env=pykmip.ENV,
                                      stdout=subprocess.PIPE, text=True)
                assert made.stdout == "1\n"
                # To where it rotates.
                assert server.create_key() == "2"
            elif language == "ini":
                conf = dict(re.findall(r"^(\S+) = '(.*?)'", block, re.M))
                conf["envelope.allowed_keks"] = f"kmip://127.0.0.1:{server.port}/*"
                session = ends.enter_context(Database(ends.enter_context(Cluster(conf=conf))).connect())
            else:
                for sql, said in STATEMENT.findall(block):
                    check(session, sql.strip(), said)
    assert done == {"bash": 1, "python": 1, "ini": 1, "sql": 2}
