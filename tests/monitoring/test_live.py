"""Queries, panels and alerts against a real exporter and Prometheus, which have watched a cluster at work."""

import os
import pathlib
import re

import psycopg
import pytest
from harness.cluster import Cluster

from . import draw, files, programs
from .scene import TABLES, WINDOW, dsn, flags, make_role

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# A KEK's own name holds one, on AWS.
KEK = re.compile(r'kek="[^"]*"')


def exported(scene):
    """Lines of the exporter's answer that are ours."""
    return [line for line in scene.exporter.metrics().splitlines() if line.startswith("envelope_")]


def series(scene):
    return {line.rsplit(" ", 1)[0] for line in exported(scene)}


def test_the_exporter_brings_every_metric(scene):
    found = {re.split(r"[{ ]", line)[0] for line in exported(scene)}
    found = {name if name in files.metrics() else files.SERIES_OF_HISTOGRAM.sub("", name) for name in found}
    assert found == set(files.metrics())
    # It says so where a query or a column of its answer fails.
    assert "pg_exporter_last_scrape_error 0\n" in scene.exporter.metrics()
    assert not re.search(r"Error running query|Unexpected error|Unparseable|Missing column", scene.exporter.log()), scene.exporter.log()


def test_prometheus_likes_the_names(scene):
    """Counters end in _total, units are base units, and the like."""
    ours = [line for line in scene.exporter.metrics().splitlines() if re.match(r"(# (HELP|TYPE) )?envelope_", line)]
    programs.promtool("check", "metrics", stdin="\n".join(ours) + "\n")


def test_metrics_are_of_their_kind(scene):
    told = dict(re.findall(r"^# TYPE (envelope_\w+) (\w+)$", scene.exporter.metrics(), re.M))
    assert told == {name: usage.lower() for name, (usage, _, _) in files.metrics().items()}


def test_figures_are_the_views(scene):
    """What the exporter tells is what a superuser sees."""
    told = "\n".join(exported(scene))
    for name in ("sealed", "opened"):
        [value] = re.findall(rf'^envelope_database_values_{name}_total{{datname="shop",.*}} (\S+)$', told, re.M)
        [(seen,)] = scene.sql(f"SELECT sum(values_{name}) FROM envelope.stats_cluster WHERE datname = 'shop'")
        assert float(value) == seen > 50 * len(TABLES)


def test_the_histogram_adds_up(scene):
    """Its last bucket is its count, and the count is that of the requests."""
    for operation, count in scene.sql("SELECT operation, sum(requests) FROM envelope.stats_kms WHERE kek = %s "
                                      "AND outcome <> 'cancelled' GROUP BY 1", (scene.kek,)):
        pattern = rf'^envelope_kms_request_duration_seconds_(bucket|count){{.*kek="{re.escape(scene.kek)}",operation="{operation}".*}} (\S+)$'
        told = re.findall(pattern, scene.exporter.metrics(), re.M)
        values = [float(value) for _, value in told]
        assert values == sorted(values) and values[-2] == values[-1] == count


def test_prometheus_keeps_them(scene):
    [(_, up)] = scene.prometheus.at("min(min_over_time(pg_up[1m]))")
    [(_, scrapes)] = scene.prometheus.at("max(max_over_time(pg_exporter_last_scrape_error[1m]))")
    assert (up, scrapes) == (1, 0)


def queries():
    """All that the dashboard asks, and for what: panels, annotations, and the lists to choose from."""
    board = files.dashboard()
    yield from ((panel["title"], target["expr"]) for panel in files.panels() for target in panel["targets"])
    yield from ((note["name"], note["expr"]) for note in board["annotations"]["list"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            [(metric, label)] = re.findall(r"^label_values\((.+), (\w+)\)$", variable["query"]["query"])
            yield variable["name"], f"count by ({label}) ({metric})"


QUERIES = list(queries())


@pytest.mark.parametrize("title, expression", QUERIES, ids=[f"{title}-{n}" for n, (title, _) in enumerate(QUERIES)])
def test_the_dashboard_has_something_to_show(scene, title, expression):
    found = scene.prometheus.over(files.asked(expression, WINDOW), scene.start, scene.end)
    assert any(value == value for _, points in found for _, value in points), expression


def test_every_rule_is_evaluated(scene):
    rules = {rule["name"]: rule for rule in scene.prometheus.rules()}
    assert set(rules) == set(files.alerts())
    assert {rule["health"] for rule in rules.values()} == {"ok"}, rules


def came_up(scene):
    """The alerts that were pending or fired while the scene was played."""
    seen = scene.prometheus.over('ALERTS{alertname=~"Envelope.+"}', scene.start, scene.end)
    return {labels["alertname"] for labels, _ in seen}


def test_alerts_saw_what_happened(scene):
    assert came_up(scene) >= {"EnvelopeKmsDown", "EnvelopeKekFallover", "EnvelopeRefusalsRising", "EnvelopeColumnNotProtected",
                              "EnvelopeKeyPastCryptoperiod"}


def test_alerts_saw_nothing_else(scene):
    assert not came_up(scene) & {"EnvelopeFiguresMissing", "EnvelopeLeaseTableFull", "EnvelopeKeyCryptoperiodEnds"}


def test_rotations_add_no_series(scene):
    def rotate():
        scene.sql("SELECT envelope.rotate_key('customers')")
        scene.sql("INSERT INTO customers (secret) VALUES ('under the new key')")

    rotate()
    before = series(scene)
    for _ in range(3):
        rotate()
    assert series(scene) == before
    assert not [line for line in before if UUID.search(KEK.sub("", line))]


def databases(lines, metric):
    """Those for which a metric is told."""
    return {re.search(r'datname="(\w*)"', line)[1] for line in lines if line.startswith(metric + "{")}


def test_one_database_and_more(scene):
    assert databases(exported(scene), "envelope_database_values_sealed_total") == {"shop", "crm"}
    assert databases(exported(scene), "envelope_table_values_sealed_total") == {"shop"}
    assert databases(exported(scene), "envelope_info") == {"shop"}
    [more] = re.findall(r"add `(--[^`]+)`", files.PAGE.read_text())
    with programs.Exporter(dsn(scene.cluster, "shop"), *flags(), *more.split()) as exporter:
        lines = exporter.metrics().splitlines()
    assert databases(lines, "envelope_table_values_sealed_total") == databases(lines, "envelope_info") == {"shop", "crm"}
    # What is of the whole server is told once, or the exporter would answer with an error.
    assert len([line for line in lines if line.startswith("envelope_leases_slots")]) == 1


def test_without_preload():
    """Figures of all backends are missing, and the alert that says so looks for just that. The others are there."""
    with Cluster() as cluster:
        cluster.create_database("shop")
        make_role(cluster)
        with programs.Exporter(dsn(cluster, "shop"), *flags()) as exporter:
            told = exporter.metrics()
            assert "preload" in exporter.log(), exporter.log()
    assert "\nenvelope_info{" in told and "\nenvelope_lint_findings{" in told
    assert "\nenvelope_leases_slots" not in told


def test_the_role_sees_no_key(scene):
    """It may read nothing of what a key or a value could be taken from."""
    refused = scene.cluster.sql("""
        SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'envelope'::regnamespace AND c.relkind IN ('r', 'v')
        AND has_table_privilege('prometheus', c.oid, 'SELECT') AND c.relname IN ('data_key', 'wrapped_key', 'keyring')""", dbname="shop")
    assert not refused
    with scene.cluster.connect("shop", "prometheus") as c:
        for query in ("SELECT * FROM customers", "SELECT envelope_encrypt_text('customers', 'x')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                c.execute(query)


def test_pictures(scene, tmp_path):
    """Drawn where CHARTS says."""
    directory = pathlib.Path(os.environ.get("CHARTS") or tmp_path)
    draw.pictures(scene, directory)
    assert {path.name for path in directory.glob("*.svg")} >= set(draw.PICTURES.values())
