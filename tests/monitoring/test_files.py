"""The files of monitoring/ by themselves: what promtool says, and that they agree with each other and with the page."""

import re

import pytest
import yaml
from harness import document, place

from . import files, programs

TESTS = sorted((place.ROOT / "tests" / "monitoring").glob("rules-test*.yml"))


def page():
    return files.PAGE.read_text()


def test_prometheus_takes_the_rules():
    assert f"{len(files.alerts())} rules found" in programs.promtool("check", "rules", files.RULES)


def test_prometheus_takes_the_pages_configuration(tmp_path):
    text, *_ = document.blocks("monitoring.md", "From nothing to alerts", "yaml")
    conf = tmp_path / "prometheus.yml"
    conf.write_text(text.replace("/etc/prometheus/rules.yml", str(files.RULES)))
    assert "1 rule files found" in programs.promtool("check", "config", conf)


def test_alerts_fire_where_they_must():
    programs.promtool("test", "rules", *TESTS)


@pytest.mark.parametrize("alert", files.alerts())
def test_each_alert_has_both_tests(alert):
    """One where it fires, and one where it does not."""
    tests = [rule for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]
             for rule in test["alert_rule_test"]]
    assert {bool(rule["exp_alerts"]) for rule in tests if rule["alertname"] == alert} == {True, False}


@pytest.mark.parametrize("alert", files.alerts())
def test_each_alert_has_its_place_on_the_page(alert):
    rule = files.alerts()[alert]
    assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{alert.lower()}"
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    section = page().partition(f"\n### {alert}\n")[2].partition("\n#")[0]
    assert "**What to do.**" in section


def test_alerts_and_panels_ask_for_what_there_is():
    known = set(files.metrics())
    expressions = [rule["expr"] for rule in files.alerts().values()]
    expressions += [target["expr"] for panel in files.panels() for target in panel["targets"]]
    asked = files.named(" ".join(expressions))
    assert asked <= known, asked - known


def test_the_page_tells_of_every_metric():
    rows = re.findall(r"^\| `(envelope_\w+)` \| (\w+) \| ([^|]*) \|", page(), re.M)
    assert {name: kind.upper() for name, kind, _ in rows} == {name: kind for name, (kind, _, _) in files.metrics().items()}
    # With its unit, which its name tells as well.
    for name, _, unit in rows:
        assert ("seconds" in unit) == ("_seconds" in name) and ("bytes" in unit) == ("_bytes" in name), name


def test_no_label_grows_with_use():
    """A key's id, a time, a message or a process would be a series more each time."""
    labels = {label for _, _, labels in files.metrics().values() for label in labels}
    assert labels == {"datname", "kek", "operation", "outcome", "provider", "purpose", "relation", "severity", "state", "version"}


def test_the_dashboard_is_one_that_grafana_takes():
    board = files.dashboard()
    assert board["schemaVersion"] >= 42 and board["title"] and board["uid"] and "id" not in board
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource" and variables["datasource"]["query"] == "prometheus"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert all(variable["datasource"] == source for name, variable in variables.items() if name != "datasource")
    for panel in files.panels():
        assert panel["datasource"] == source and panel["targets"], panel["title"]
        assert all(target["datasource"] == source for target in panel["targets"]), panel["title"]
        used = set(re.findall(r"\$(\w+)", "".join(target["expr"] for target in panel["targets"])))
        assert used <= set(variables) | {"__rate_interval"}, panel["title"]


def test_no_panel_covers_another():
    taken = {}
    for panel in files.dashboard()["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for cell in [(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]:
            assert cell not in taken, (panel["title"], taken[cell])
            taken[cell] = panel["title"]
