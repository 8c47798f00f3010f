"""The audit's lines in a server's log."""

import json

PREFIX = "envelope audit: "


class Audit:
    """What a cluster's log is told from now on."""

    def __init__(self, cluster):
        self._log = cluster.log
        self._from = self._log.stat().st_size

    def text(self):
        with open(self._log, "rb") as f:
            f.seek(self._from)
            return f.read().decode("utf-8", "replace")

    def lines(self, *events):
        """The objects, those of these events only if any are named."""
        found = []
        for line in self.text().splitlines():
            _, prefix, rest = line.partition(PREFIX)
            if prefix:
                found.append(json.loads(rest))
        return [line for line in found if not events or line["event"] in events]

    def events(self):
        return [line["event"] for line in self.lines()]
