"""The pictures of docs/monitoring.md: panels of the dashboard, by their own queries, over a scene."""

import math
import re

from bench import plot

from . import files
from .scene import WINDOW

# Panels, and what each is drawn as.
PICTURES = {
    "Requests by outcome": "requests.svg",
    "How long requests take": "latency.svg",
    "Values a second": "values.svg",
    "Where backends get keys from": "keys.svg",
}
UNITS = {"reqps": "requests a second", "s": "seconds", "ops": "a second"}


def pictures(scene, directory):
    directory.mkdir(parents=True, exist_ok=True)
    for panel in files.panels():
        if panel["title"] in PICTURES:
            (directory / PICTURES[panel["title"]]).write_text(picture(scene, panel))


def picture(scene, panel):
    """An SVG of a panel of lines, with the phases of the scene marked."""
    series = {}
    for target in panel["targets"]:
        for labels, points in scene.prometheus.over(files.asked(target["expr"], WINDOW), scene.start, scene.end):
            series[legend(target["legendFormat"], labels)] = [
                (at - scene.start, value) for at, value in points if math.isfinite(value)]
    shown = {name: points for name, points in series.items() if any(value for _, value in points)}
    marks = [(name, at - scene.start) for name, at in scene.phases.items()]
    return plot.lines(panel["title"], "seconds", UNITS[panel["fieldConfig"]["defaults"]["unit"]], shown, log=False,
                      shown=lambda value: f"{value:g}", marks=marks)


def legend(form, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), form)
