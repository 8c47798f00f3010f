"""What stands in monitoring/, as tests read it."""

import json
import re

import yaml
from harness import place

HERE = place.ROOT / "monitoring"
QUERIES, RULES, DASHBOARD = HERE / "queries.yaml", HERE / "rules.yml", HERE / "dashboard.json"
PAGE = place.ROOT / "docs" / "monitoring.md"
NAME = re.compile(r"\benvelope_\w+")
# What an expression asks for is a series of a histogram, or the metric itself.
SERIES_OF_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def metrics():
    """Each metric that the queries bring: its usage, its description, and its labels."""
    found = {}
    for namespace, query in yaml.safe_load(QUERIES.read_text()).items():
        columns = {name: column for entry in query["metrics"] for name, column in entry.items()}
        labels = {name for name, column in columns.items() if column["usage"] == "LABEL"}
        found.update({f"{namespace}_{name}": (column["usage"], column["description"], labels)
                      for name, column in columns.items() if name not in labels})
    return found


def alerts():
    """The alert rules by name."""
    return {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}


def dashboard():
    return json.loads(DASHBOARD.read_text())


def panels():
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def named(expression):
    """The metrics of ours that an expression asks for."""
    known = metrics()
    return {name if name in known else SERIES_OF_HISTOGRAM.sub("", name) for name in NAME.findall(expression)}


def asked(expression, window):
    """A panel's expression as Grafana asks it, with all instances and databases chosen, over `window`."""
    expression = re.sub(r"\$(instance|datname)\b", ".*", expression).replace("$__rate_interval", window)
    assert "$" not in expression, expression
    return expression
