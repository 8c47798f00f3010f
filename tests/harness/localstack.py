"""AWS KMS as LocalStack plays it: what key states, key ids and replicas do in AWS, which moto leaves out."""

import functools
import pathlib
import shutil
import signal
import subprocess
import tempfile
import urllib.request

import boto3

from . import place, process

REGION = "us-east-1"
OTHER_REGION = "us-west-2"


@functools.cache
def _python():
    """Of the venv that LocalStack is in, which is made when it is not there."""
    done = subprocess.run([place.ROOT / "tests/setup/localstack.sh"], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(done.stdout.strip()) / "bin/python"


class LocalStack:
    """A server on a free port, with the KMS alone. It does not count requests: put a FaultProxy in front."""

    def __init__(self):
        self.port = process.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="envelope-localstack-", dir="/tmp"))
        self._log = self.base / "log"
        env = {
            "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": self.base, "TMPDIR": self.base,
            "LOCALSTACK_VOLUME_DIR": self.base, "GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            # Its other gateway listens on all addresses, whatever it is told.
            "GATEWAY_SERVER": "hypercorn",
            "SERVICES": "kms", "STRICT_SERVICE_LOADING": "1", "DISABLE_EVENTS": "1", "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DNS_ADDRESS": "0",
        }
        with open(self._log, "wb") as log:
            self._server = process.spawn([_python(), "-m", "localstack.runtime.main"], env=env, log=log)
        self.pid = self._server.pid
        try:
            process.wait_until(self._answers, "LocalStack start", seconds=180)
        except BaseException:
            self.stop()
            raise

    def _answers(self):
        if self._server.poll() is not None:
            raise RuntimeError("LocalStack did not start:\n" + self._log.read_text(errors="replace"))
        try:
            urllib.request.urlopen(self.url + "/_localstack/health", timeout=5).close()
            return True
        except OSError:
            return False

    def client(self, endpoint=None, region=REGION):
        return boto3.client("kms", endpoint_url=endpoint or self.url, region_name=region,
                            aws_access_key_id="testing", aws_secret_access_key="testing")

    def create_key(self, region=REGION, **options):
        """A new symmetric master key; its ARN."""
        return self.client(region=region).create_key(**options)["KeyMetadata"]["Arn"]

    def stop(self):
        if self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(10)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
