"""Plots as SVG, with nothing to install."""

import math

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 420, 70, 50, 40, 190
COLOURS = ("#1b6ca8", "#c0392b", "#7f8c8d", "#27ae60", "#8e44ad", "#d68910")


def _scale(values, low, high, log):
    """A function from a value to where it stands, and the values that are marked."""
    first, last = min(values), max(values)
    if log:
        first, last = 10 ** math.floor(math.log10(first)), 10 ** math.ceil(math.log10(last))
        marks = [10 ** e for e in range(round(math.log10(first)), round(math.log10(last)) + 1)]
        a, b, f = math.log10(first), math.log10(last), math.log10
    else:
        first = min(0, first)
        step = 10 ** math.floor(math.log10(max(last - first, 1)))
        step = step / 2 if (last - first) / step < 3 else step
        marks = [first + i * step for i in range(int((last - first) / step) + 2)]
        a, b, f = marks[0], marks[-1], float
    return lambda value: low + (f(value) - a) / (b - a) * (high - low), marks


def lines(title, x_label, y_label, series, log=True, shown=lambda value: f"{value:,.0f}", marks=()):
    """An SVG of `series`: {name: [(x, y), …]}; `marks`: [(what begins, x), …]."""
    x_at, x_marks = _scale([x for points in series.values() for x, _ in points], LEFT, WIDTH - RIGHT, log)
    y_at, y_marks = _scale([y for points in series.values() for _, y in points], HEIGHT - BOTTOM, TOP, log)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
           f'font-size="12"><rect width="100%" height="100%" fill="white"/>',
           f'<text x="{LEFT}" y="22" font-size="15">{title}</text>']
    for mark in x_marks:
        x = x_at(mark)
        out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#e3e3e3"/>'
                   f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{shown(mark)}</text>')
    for mark in y_marks:
        y = y_at(mark)
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#e3e3e3"/>'
                   f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown(mark)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{x_label}</text>'
               f'<text x="16" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" '
               f'transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})">{y_label}</text>')
    for number, (name, x) in enumerate(marks):
        # Their names on three lines in turn, since some begin close to each other.
        y = TOP + 12 + 13 * (number % 3)
        out.append(f'<line x1="{x_at(x):.1f}" y1="{TOP}" x2="{x_at(x):.1f}" y2="{HEIGHT - BOTTOM}" stroke="#999" '
                   f'stroke-dasharray="3 3"/><text x="{x_at(x) + 2:.1f}" y="{y}" font-size="9" fill="#666">{name}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in points)
        y = TOP + 14 + 20 * number
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.extend(f'<circle cx="{x_at(px):.1f}" cy="{y_at(py):.1f}" r="3" fill="{colour}"/>' for px, py in points)
        out.append(f'<line x1="{WIDTH - RIGHT + 12}" y1="{y - 4}" x2="{WIDTH - RIGHT + 32}" y2="{y - 4}" '
                   f'stroke="{colour}" stroke-width="2"/><text x="{WIDTH - RIGHT + 38}" y="{y}">{name}</text>')
    return "\n".join([*out, "</svg>\n"])


def bars(title, groups, shown=lambda value: f"{value:,.3g}", whole=None):
    """An SVG of horizontal bars: `groups` is {what is measured: {name: value}}, each with a scale of its own, or up to `whole`."""
    label, row = 360, 18
    height = 46 + sum(row * len(found) + 34 for found in groups.values())
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
           f'font-size="12"><rect width="100%" height="100%" fill="white"/>', f'<text x="12" y="22" font-size="15">{title}</text>']
    y = 36
    for number, (group, found) in enumerate(groups.items()):
        y += 20
        out.append(f'<text x="12" y="{y}" font-weight="bold">{group}</text>')
        most = whole or max(found.values())
        for name, value in found.items():
            y += row
            long = (WIDTH - label - 90) * value / most
            out.append(f'<text x="{label - 8}" y="{y}" text-anchor="end">{name}</text>'
                       f'<rect x="{label}" y="{y - 11}" width="{long:.1f}" height="13" fill="{COLOURS[number % len(COLOURS)]}"/>'
                       f'<text x="{label + long + 6:.1f}" y="{y}">{shown(value)}</text>')
        y += 14
    return "\n".join([*out, "</svg>\n"])
