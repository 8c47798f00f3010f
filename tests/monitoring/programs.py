"""promtool, and the exporter and Prometheus as the tests' own processes."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

import yaml
from harness import process

# Where tests/setup/monitoring.sh unpacks them.
BIN = pathlib.Path(os.environ["ENVELOPE_MONITORING"]) / "usr" / "bin"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}


def promtool(*args, stdin=""):
    """What it printed, if it found nothing wrong."""
    done = subprocess.run([BIN / "promtool", *map(str, args)], input=stdin, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return done.stdout


class _Program:
    """A program that answers by HTTP on a free port, with a directory of its own."""

    def __init__(self, *argv, env=(), ready="/"):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="envelope-", dir="/tmp"))
        self.port = process.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = self.base / "log"
        with open(self._log, "wb") as log:
            self._process = process.spawn([BIN / argv[0], *argv[1:], f"--web.listen-address=127.0.0.1:{self.port}"],
                                          env={**ENVIRONMENT, **dict(env)}, log=log)
        try:
            process.wait_until(lambda: self._answers(ready), f"{argv[0]} answers")
        except BaseException:
            self.stop()
            raise

    def _answers(self, path):
        assert self._process.poll() is None, self.log()
        try:
            self.get(path)
            return True
        except OSError:
            return False

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read().decode()

    def log(self):
        return self._log.read_text(errors="replace")

    def stop(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Exporter(_Program):
    """postgres_exporter with these flags."""

    def __init__(self, dsn, *flags):
        super().__init__("prometheus-postgres-exporter", *flags, env={"DATA_SOURCE_NAME": dsn})

    def metrics(self):
        return self.get("/metrics")


class Prometheus(_Program):
    """It scrapes the exporter each second, and has the rules."""

    def __init__(self, exporter, rules):
        self._conf = pathlib.Path(tempfile.mkdtemp(prefix="envelope-", dir="/tmp"))
        conf = self._conf / "prometheus.yml"
        conf.write_text(yaml.safe_dump({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "postgres", "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}]}],
        }))
        super().__init__("prometheus", f"--config.file={conf}", f"--storage.tsdb.path={self._conf}/data", ready="/-/ready")

    def stop(self):
        super().stop()
        shutil.rmtree(self._conf, ignore_errors=True)

    def _api(self, what, **arguments):
        try:
            answer = json.loads(self.get(f"/api/v1/{what}?{urllib.parse.urlencode(arguments)}"))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{arguments}: {error.read().decode()}") from error
        assert answer["status"] == "success" and not answer.get("warnings"), answer
        return answer["data"]

    def at(self, expression, when=None):
        """Labels and value of each series at a moment, or now."""
        arguments = {"query": expression} | ({"time": when} if when else {})
        return [(row["metric"], float(row["value"][1])) for row in self._api("query", **arguments)["result"]]

    def over(self, expression, start, end):
        """Labels and points of each series, second by second."""
        rows = self._api("query_range", query=expression, start=start, end=end, step=1)["result"]
        return [(row["metric"], [(float(at), float(value)) for at, value in row["values"]]) for row in rows]

    def rules(self):
        return [rule for group in self._api("rules")["groups"] for rule in group["rules"]]
