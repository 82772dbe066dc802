"""A chart's SVG taken apart: what a test wants to know of it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

_TOKEN = re.compile(r"([a-zA-Z])|(-?(?:\d+\.?\d*|\.\d+))")
_TAKES = {"M": 2, "l": 2, "m": 2, "h": 1, "v": 1, "H": 1, "z": 0}


class Drawing:
    """A chart as a parser of XML sees it."""

    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(re.sub(r' xmlns="[^"]*"', "", svg, count=1))
        self.width, self.height = (float(self.root.attrib[name]) for name in ("width", "height"))

    def texts(self) -> list[str]:
        """Every label, in the order of drawing."""
        return [element.text or "" for element in self.root.iter("text")]

    def x_ticks(self) -> list[str]:
        """The labels below the plot, from left to right."""
        return [e.text or "" for e in self.root.iter("text") if e.get("text-anchor") == "middle"]

    def y_ticks(self) -> list[str]:
        """The labels left of the plot, from the bottom up."""
        plot_left = float(self.root.attrib["data-plot"].split()[0])
        found = [
            e for e in self.root.iter("text") if e.get("text-anchor") == "end" and float(e.attrib["x"]) < plot_left
        ]
        return [e.text or "" for e in found]

    def paths(self, kind: str) -> list[list[tuple[float, float]]]:
        """The stretches of all paths of a class, each as its points."""
        found = []
        for element in self.root.iter("path"):
            if kind in element.get("class", "").split():
                found += parse_path(element.attrib["d"])
        return found

    def all_points(self) -> list[tuple[float, float]]:
        """Return the points of everything that is drawn."""
        points = [point for e in self.root.iter("path") for stretch in parse_path(e.attrib["d"]) for point in stretch]
        points += [(float(e.attrib["x"]), float(e.attrib["y"])) for e in self.root.iter("text")]
        return points + [(float(e.attrib["cx"]), float(e.attrib["cy"])) for e in self.root.iter("circle")]


def parse_path(d: str) -> list[list[tuple[float, float]]]:
    """The points of a path, stretch by stretch, in absolute coordinates."""
    found: list[list[tuple[float, float]]] = []
    tokens = [match.groups() for match in _TOKEN.finditer(d)]
    assert "".join(a or b for a, b in tokens) == d.replace(",", "").replace(" ", ""), d
    at, command, x, y = 0, "", 0.0, 0.0
    while at < len(tokens):
        if tokens[at][0]:
            command, at = tokens[at][0], at + 1
        taken = [float(tokens[at + number][1]) for number in range(_TAKES[command])]
        at += len(taken)
        if command in "Ml":
            x, y = (taken[0], taken[1]) if command == "M" else (x + taken[0], y + taken[1])
        elif command == "m":
            x, y = x + taken[0], y + taken[1]
        elif command in "Hh":
            x = taken[0] if command == "H" else x + taken[0]
        elif command == "v":
            y += taken[0]
        else:
            continue  # z
        if command in "Mm":
            found.append([])
            command = "l"
        found[-1].append((x, y))
    return found
