#!/usr/bin/env python3
"""A guided tour: a table whose names are sealed, from COPY to a restored dump. `demo.py file|aws`.

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
from harness.proxy import FaultProxy


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
        steps.count_requests_at(proxy)
    arn = moto.create_key()
    say(f"Endpoint {url}", f"Key {arn}", "It never leaves the KMS.")
    return {
        "envelope.default_kek": kms.kek(arn),
        "envelope.aws_region": kms.REGION,
        "envelope.aws_endpoint_url": url,
    }, kms.CREDENTIALS


def left_running(cluster):
    heading("Left running")
    say(f"psql -h {cluster.base} -p {cluster.port} -U postgres postgres",
        "end it with: " + "; ".join([f"kill -INT {cluster.postmaster.pid}", *_left, f"rm -rf {cluster.base}"]))


if __name__ == "__main__":
    if sys.argv[1:] not in (["file"], ["aws"]):
        sys.exit("KMS=file or KMS=aws")
    main(sys.argv[1])
