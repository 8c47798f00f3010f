#!/usr/bin/env python3
"""A guided tour: a table whose names are sealed, from COPY to a restored dump. `demo.py file|aws|vault`.

It runs against a cluster of its own in a temporary directory and ends with nothing running; KEEP=1 leaves it up.
"""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile

import outside
import steps
from show import heading, say

from harness import moto as kms
from harness.cluster import Cluster
from harness.jwt import Issuer
from harness.openbao import OpenBao
from harness.proxy import FaultProxy
from harness.secrets_dir import SecretsDir


# What KEEP=1 leaves, as the commands that end it.
_left = []


def main(kind):
    keep = os.environ.get("KEEP", "") not in ("", "0")
    with contextlib.ExitStack() as ends:
        conf, env = kek_settings(kind, ends, keep)
        heading("A new PostgreSQL cluster with the extension")
        shop = Cluster(conf=conf, env=env)
        if not keep:
            ends.callback(shop.destroy)
        shop.start(outlive=keep)
        say(f"{shop.sql('SHOW server_version')[0][0]}, data in {shop.data}")
        say(*(f"{name} = {value}" for name, value in conf.items()))

        steps.load(shop)
        steps.on_disk(shop)
        steps.second_role(shop)
        steps.search(shop)
        steps.dump_and_restore(shop, Cluster(conf=conf, env=env), kind)
        if kind == "aws":
            outside.open_without_us(shop, conf["envelope.aws_endpoint_url"])
        if kind == "vault":
            outside.open_by_bao(shop, conf["envelope.default_kek"], conf["envelope.vault_jwt_file"])
        if keep:
            left_running(shop)
        else:
            heading("Done; nothing is left running")


def kek_settings(kind, ends, keep):
    """Where the master key is: settings of the extension, and the server's environment."""
    if kind == "file":
        heading("The master key (KEK): a file, for development")
        base = pathlib.Path(tempfile.mkdtemp(prefix="envelope-demo-", dir="/tmp"))
        if not keep:
            ends.callback(shutil.rmtree, base)
        else:
            _left.append(f"rm -rf {base}")
        steps.give_to_server(base)
        directory = base / "kek"
        say(f"It will be made on first use below {directory}, outside the data directory.")
        return {"envelope.file_kek_directory": directory}, {}
    if kind == "vault":
        return in_transit(ends, keep)
    heading("The master key (KEK): in AWS KMS, here played by moto over HTTP")
    moto = kms.Moto(outlive=keep)
    url = moto.url
    if keep:
        _left.append(f"kill {moto.pid}")
    else:
        ends.callback(moto.stop)
        # A proxy between server and KMS counts the requests; it lives in this process, so not when it shall stay up.
        proxy = ends.enter_context(FaultProxy(moto.url))
        url = proxy.url
        # A new key, and its wrap opened before it counts.
        steps.count_requests_at(proxy, 2)
    arn = moto.create_key()
    say(f"Endpoint {url}", f"Key {arn}", "It never leaves the KMS.")
    return {
        "envelope.default_kek": kms.kek(arn),
        "envelope.aws_region": kms.REGION,
        "envelope.aws_endpoint_url": url,
    }, kms.CREDENTIALS


def in_transit(ends, keep):
    """A key of OpenBao's transit engine, and a server that logs in by a signed token."""
    heading("The master key (KEK): in the transit engine of OpenBao, which has the API of HashiCorp Vault")
    bao, files, issuer = OpenBao(outlive=keep), SecretsDir(), Issuer()
    address = bao.address
    if keep:
        _left.append(f"kill {bao.pid}; rm -rf {bao.base} {bao.authority.directory} {files.path}")
    else:
        ends.callback(bao.destroy)
        ends.enter_context(files)
        proxy = ends.enter_context(FaultProxy(bao.url))
        address = f"127.0.0.1:{proxy.port}"
        # The same, after a login, and the wrap tried with another context, which must not open it.
        steps.count_requests_at(proxy, 4)
    bao.create_key("demo")
    bao.key_policy("demo", "demo")
    bao.enable_auth("jwt")
    bao.jwt_role("demo", issuer, "demo")
    say(f"Address {address}", "Key transit/keys/demo, made with derived=true. It never leaves the server.",
        "A policy lets the role `demo` use this key, and nothing else.")
    return {
        "envelope.default_kek": f"vault+http://{address}/transit/keys/demo",
        "envelope.vault_auth": "jwt",
        "envelope.vault_role": "demo",
        "envelope.vault_jwt_file": files.write("jwt", issuer.token("postgres")),
    }, {}


def left_running(cluster):
    heading("Left running")
    say(f"psql -h {cluster.base} -p {cluster.port} -U postgres postgres",
        "end it with: " + "; ".join([f"kill -INT {cluster.postmaster.pid}", *_left, f"rm -rf {cluster.base}"]))


if __name__ == "__main__":
    if sys.argv[1:] not in (["file"], ["aws"], ["vault"]):
        sys.exit("KMS=file, KMS=aws or KMS=vault")
    main(sys.argv[1])
