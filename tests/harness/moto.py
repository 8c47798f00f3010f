"""AWS KMS as moto plays it, over HTTP."""

import os
import signal
import tempfile
import urllib.request

import boto3

from . import place, process

REGION = "eu-central-1"
OTHER_REGION = "us-east-1"
# Moto takes any; the SDK wants some.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


class Moto:
    """A moto server on a free port. It does not count requests: put a FaultProxy in front."""

    def __init__(self, outlive=False):
        self.port = process.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = tempfile.TemporaryFile()
        env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}
        self._server = process.spawn([place.VENV_BIN / "moto_server", "-H", "127.0.0.1", "-p", self.port],
                                     env=env, log=self._log, outlive=outlive)
        self.pid = self._server.pid
        try:
            process.wait_until(self._answers, "moto start")
        except BaseException:
            self.stop()
            raise

    def _answers(self):
        if self._server.poll() is not None:
            self._log.seek(0)
            raise RuntimeError("moto did not start:\n" + self._log.read().decode(errors="replace"))
        try:
            urllib.request.urlopen(self.url + "/moto-api/data.json", timeout=2).close()
            return True
        except OSError:
            return False

    def client(self, endpoint=None, region=REGION):
        return boto3.client("kms", endpoint_url=endpoint or self.url, region_name=region,
                            aws_access_key_id="testing", aws_secret_access_key="testing")

    def create_key(self, region=REGION):
        """A new symmetric master key; its ARN."""
        return self.client(region=region).create_key()["KeyMetadata"]["Arn"]

    def stop(self):
        if self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(10)
            except Exception:
                self._server.kill()
                self._server.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def kek(arn):
    """The URI by which the extension names a KMS key."""
    return f"aws-kms://{arn}"


def cli_env(endpoint):
    """The environment in which the stock `aws` command talks to an endpoint."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", **CREDENTIALS,
            "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": endpoint}
