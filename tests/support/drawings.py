"""A parser of a chart's SVG: its labels, ticks and paths."""

from __future__ import annotations

import re
from xml.etree import ElementTree

_TOKEN = re.compile(r"([a-zA-Z])|(-?(?:\d+\.?\d*|\.\d+))")
#: The number of coordinates of each command of a path.
_ARGUMENT_COUNTS = {"M": 2, "l": 2, "m": 2, "h": 1, "v": 1, "H": 1, "z": 0}


class Drawing:
    """A parsed chart."""

    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(re.sub(r' xmlns="[^"]*"', "", svg, count=1))
        self.width, self.height = (float(self.root.attrib[name]) for name in ("width", "height"))

    def texts(self) -> list[str]:
        """Return every label, in drawing order."""
        return [element.text or "" for element in self.root.iter("text")]

    def x_ticks(self) -> list[str]:
        """Return the labels below the plot, from left to right."""
        return [e.text or "" for e in self.root.iter("text") if e.get("text-anchor") == "middle"]

    def y_ticks(self) -> list[str]:
        """Return the labels left of the plot, from the bottom up."""
        plot_left = float(self.root.attrib["data-plot"].split()[0])
        labels = [
            e for e in self.root.iter("text") if e.get("text-anchor") == "end" and float(e.attrib["x"]) < plot_left
        ]
        return [e.text or "" for e in labels]

    def paths(self, kind: str) -> list[list[tuple[float, float]]]:
        """Return the points of each subpath of all paths of a class."""
        subpaths = []
        for element in self.root.iter("path"):
            if kind in element.get("class", "").split():
                subpaths += parse_path(element.attrib["d"])
        return subpaths

    def all_points(self) -> list[tuple[float, float]]:
        """Return the points of every path, label and circle."""
        points = [point for e in self.root.iter("path") for subpath in parse_path(e.attrib["d"]) for point in subpath]
        points += [(float(e.attrib["x"]), float(e.attrib["y"])) for e in self.root.iter("text")]
        return points + [(float(e.attrib["cx"]), float(e.attrib["cy"])) for e in self.root.iter("circle")]


def parse_path(d: str) -> list[list[tuple[float, float]]]:
    """Parse a path into the points of each subpath, in absolute coordinates."""
    subpaths: list[list[tuple[float, float]]] = []
    tokens = [match.groups() for match in _TOKEN.finditer(d)]
    assert "".join(a or b for a, b in tokens) == d.replace(",", "").replace(" ", ""), d
    at, command, x, y = 0, "", 0.0, 0.0
    while at < len(tokens):
        if tokens[at][0]:
            command, at = tokens[at][0], at + 1
        arguments = [float(tokens[at + number][1]) for number in range(_ARGUMENT_COUNTS[command])]
        at += len(arguments)
        if command in "Ml":
            x, y = (arguments[0], arguments[1]) if command == "M" else (x + arguments[0], y + arguments[1])
        elif command == "m":
            x, y = x + arguments[0], y + arguments[1]
        elif command in "Hh":
            x = arguments[0] if command == "H" else x + arguments[0]
        elif command == "v":
            y += arguments[0]
        else:
            continue  # z
        if command in "Mm":
            subpaths.append([])
            command = "l"
        subpaths[-1].append((x, y))
    return subpaths
