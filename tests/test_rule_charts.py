"""Charts: ticks at round numbers, gaps, bands, markers, and a drawing that stays within its box for any points."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.drawings import Drawing

from chachaml_lite.tracking.series.curves import AXES, View, curve_of
from chachaml_lite.tracking.series.points import Series
from chachaml_lite.tracking.series.summary import Number
from chachaml_lite.web import charts
from chachaml_lite.web.charts import Chart, Dot, Line, Style, line_chart, scatter_chart, sparkline
from chachaml_lite.web.charts.lines import digits_of
from chachaml_lite.web.charts.scales import Scale, integer_scale, padded_scale
from chachaml_lite.web.charts.svg import STANDALONE_COLORS
from chachaml_lite.web.charts.ticks import Ticks, number_ticks
from chachaml_lite.web.charts.times import calendar_ticks, duration_ticks

NAN, INF = math.nan, math.inf
HOUR, DAY = 3_600_000, 86_400_000
NOON = 1_763_985_600_000  # 2025-11-24 12:00 UTC
STYLE = Path(charts.__file__).resolve().parents[1] / "static" / "style.css"


def make_series(values: list[Number], steps: list[int] | None = None, times: list[int] | None = None) -> Series:
    series = Series()
    places = list(range(len(values)))
    series.extend(
        values, places if steps is None else steps, [NOON + at * 1000 for at in places] if times is None else times
    )
    return series


def make_chart(*all_series: Series, **options: object) -> Chart:
    style = Style(**options)  # type: ignore[arg-type]
    view = View(style.x, style.log_x, style.start, style.stop, smoothing=style.smoothing)
    lines = [Line(f"metric {at}", curve_of(series, view, NOON), at) for at, series in enumerate(all_series)]
    return line_chart(lines, "a title", style)


def list_labels(ticks: Ticks) -> list[str]:
    return [tick.label for tick in ticks.ticks]


# -- ticks

NUMBERS: list[tuple[Scale, int, list[str], str]] = [
    (Scale(0, 10), 5, ["0", "2", "4", "6", "8", "10"], ""),
    (Scale(0, 100), 4, ["0", "50", "100"], ""),
    (Scale(0.1, 0.9), 4, ["0.2", "0.4", "0.6", "0.8"], ""),
    (Scale(-1.0, 1.0), 4, ["−1", "−0.5", "0", "0.5", "1"], ""),
    (Scale(0, 1_000_000), 5, ["0", "0.2M", "0.4M", "0.6M", "0.8M", "1M"], ""),
    (Scale(0, 20_000), 4, ["0", "5,000", "10,000", "15,000", "20,000"], ""),
    (Scale(0, 3e9), 3, ["0", "1G", "2G", "3G"], ""),
    (Scale(0, 3e13), 3, ["0", "10T", "20T", "30T"], ""),
    (Scale(0, 3e15), 3, ["0", "1e15", "2e15", "3e15"], ""),
    (Scale(0, 120_000), 4, ["0", "50k", "100k"], ""),
    (Scale(0, 100_000), 5, ["0", "20k", "40k", "60k", "80k", "100k"], ""),
    (Scale(0, 1e12), 5, ["0", "0.2T", "0.4T", "0.6T", "0.8T", "1T"], ""),
    (Scale(0, 1e-4), 5, ["0", "0.00002", "0.00004", "0.00006", "0.00008", "0.0001"], ""),
    (Scale(0, 3e-7), 3, ["0", "1e−7", "2e−7", "3e−7"], ""),
    (Scale(-1.7e308, 1.7e308), 4, ["−1e308", "0", "1e308"], ""),
    (Scale(0, 5e-324), 2, ["0", "5e−324"][:1], ""),
    (Scale(1.0, 1 + 4.5e-12), 5, ["0", "1e−12", "2e−12", "3e−12", "4e−12"], "1 +"),
    (Scale(2**63 - 8, 2**63 - 1), 4, ["800", "802", "804", "806"], "9,223,372,036,854,775,000 +"),
    (Scale(-(2**63), 2**63 - 1), 4, ["−5e18", "0", "5e18"], ""),
    (Scale(1, 1000, True), 5, ["1", "10", "100", "1,000"], ""),
    (Scale(1e-6, 1e6, True), 5, ["1e−6", "1e−3", "1", "1e3", "1e6"], ""),
    (Scale(1e-300, 1e300, True), 4, ["1e−200", "1", "1e200"], ""),
    (Scale(1, 1e9, True), 4, ["1", "1k", "1M", "1G"], ""),
    (Scale(2.4, 11, True), 5, ["3", "5", "7", "10"], ""),
    (Scale(2, 60, True), 5, ["2", "5", "10", "20", "50"], ""),
    (Scale(5e-324, 1.7e308, True), 4, ["1e−200", "1", "1e200"], ""),
    (Scale(100.0, 104.0, True), 4, ["100", "101", "102", "103", "104"], ""),
]


@pytest.mark.parametrize(("scale", "most", "expected", "caption"), NUMBERS, ids=str)
def test_ticks_are_at_round_numbers(scale: Scale, most: int, expected: list[str], caption: str) -> None:
    ticks = number_ticks(scale, most)
    assert (list_labels(ticks), ticks.caption) == (expected, caption)
    places = [tick.fraction for tick in ticks.ticks]
    assert places == sorted(places) and all(0 <= place <= 1 for place in places)


def test_tick_is_at_the_place_of_its_label() -> None:
    assert [tick.fraction for tick in number_ticks(Scale(0, 10), 5).ticks] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert [tick.fraction for tick in number_ticks(Scale(1, 1000, True), 5).ticks] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1]
    )


def test_ticks_of_steps_are_whole() -> None:
    assert list_labels(number_ticks(integer_scale(0, 2), 10, is_whole=True)) == ["0", "1", "2"]
    assert list_labels(number_ticks(integer_scale(7, 7), 6, is_whole=True)) == ["6", "7", "8"]


DURATIONS = [
    (0, 0.9, 5, ["0", "200 ms", "400 ms", "600 ms", "800 ms"]),
    (0, 2, 4, ["0", "500 ms", "1 s", "1.5 s", "2 s"]),
    (0, 50, 5, ["0", "10 s", "20 s", "30 s", "40 s", "50 s"]),
    (0, 90, 4, ["0", "30 s", "1 min", "1 min 30 s"]),
    (0, 1500, 5, ["0", "5 min", "10 min", "15 min", "20 min", "25 min"]),
    (0, 2.4 * 3600, 5, ["0", "30 min", "1 h", "1 h 30 min", "2 h"]),
    (0, 30 * 3600, 5, ["0", "6 h", "12 h", "18 h", "1 d", "1 d 6 h"]),
    (0, 12 * 86400, 4, ["0", "5 d", "10 d"]),
    (-7200, 7200, 4, ["−2 h", "−1 h", "0", "1 h", "2 h"]),
]


@pytest.mark.parametrize(("low", "high", "most", "expected"), DURATIONS)
def test_durations_have_units_of_time(low: float, high: float, most: int, expected: list[str]) -> None:
    assert list_labels(duration_ticks(integer_scale(int(low * 1000), int(high * 1000)), most)) == expected


CALENDAR = [
    (NOON, NOON + 900, 5, ["12:00:00", "12:00:00.2", "12:00:00.4", "12:00:00.6", "12:00:00.8"], "2025-11-24, UTC"),
    (NOON, NOON + 30_000, 3, ["12:00:00", "12:00:10", "12:00:20", "12:00:30"], "2025-11-24, UTC"),
    (NOON, NOON + 3 * HOUR, 3, ["12:00", "13:00", "14:00", "15:00"], "2025-11-24, UTC"),
    (NOON, NOON + DAY, 4, ["12:00", "18:00", "Nov 25", "06:00", "12:00"], "2025-11-24 to 2025-11-25, UTC"),
    (NOON, NOON + 4 * DAY, 4, ["Nov 25", "Nov 26", "Nov 27", "Nov 28"], "2025, UTC"),
    (NOON, NOON + 18 * DAY, 4, ["Nov 26", "Dec 1", "Dec 6", "Dec 11"], "2025, UTC"),
    (NOON, NOON + 150 * DAY, 5, ["Dec", "2026", "Feb", "Mar", "Apr"], "2025 to 2026, UTC"),
    (NOON, NOON + 1500 * DAY, 5, ["2026", "2027", "2028", "2029", "2030"], "2025 to 2030, UTC"),
    (0, 200 * 365 * DAY, 4, ["2000", "2100"], "1970 to 2169, UTC"),
    (0, 2**62, 4, ["0", "2e18", "4e18"], "ms since 1970"),
]


@pytest.mark.parametrize(("low", "high", "most", "expected", "caption"), CALENDAR)
def test_wall_time_has_calendar_ticks(low: int, high: int, most: int, expected: list[str], caption: str) -> None:
    ticks = calendar_ticks(Scale(low, high), most)
    assert (list_labels(ticks), ticks.caption) == (expected, caption)


# -- lines


def test_chart_is_an_image_with_a_name_ticks_and_a_line() -> None:
    drawing = Drawing(make_chart(make_series([float(at) for at in range(11)])).svg)
    assert (drawing.root.get("role"), drawing.root.get("aria-label")) == ("img", "a title")
    assert "metric 0: 10 at step 10, the last; least 0 at step 0" in (drawing.root.findtext("desc") or "")
    assert (drawing.x_ticks(), drawing.y_ticks()) == (["0", "2", "4", "6", "8", "10"], ["0", "2", "4", "6", "8", "10"])
    left, top, right, bottom = map(float, drawing.root.attrib["data-plot"].split())
    (line,) = drawing.paths("line")
    assert line[0] == pytest.approx((left, bottom), abs=0.06)
    assert line[-1][0] == pytest.approx(right, abs=0.06) and top < line[-1][1] < top + 10
    (series,) = drawing.root.iter("g")
    assert series.get("class") == "series s1"
    assert (series.get("data-at"), series.get("data-label")) == ("0 1 1 1 1 1 1 1 1 1 1", "metric 0")
    assert series.get("data-values") == "0 1 2 3 4 5 6 7 8 9 10"


def test_non_finite_values_are_gaps_and_markers() -> None:
    chart = make_chart(make_series([1, 2, NAN, 3, INF, 4, 5, -INF, *range(20)]))
    drawing = Drawing(chart.svg)
    assert [len(stretch) for stretch in drawing.paths("line")] == [2, 2, 20]
    assert len(drawing.paths("dots")) == 1  # the 3, alone between two gaps
    _, top, _, bottom = map(float, drawing.root.attrib["data-plot"].split())
    marks = drawing.paths("odd")
    assert [len(mark) for mark in marks] == [2, 2, 3, 3]  # a cross of two strokes, two triangles
    assert all(top <= y <= bottom for mark in marks for _, y in mark)
    assert chart.notes == ("NaN at step 2", "∞ at step 4", "−∞ at step 7")


def test_thinned_series_has_a_band_from_min_to_max() -> None:
    values = [math.sin(at / 500) for at in range(10_000)]
    values[5003] = 9.0
    chart = make_chart(make_series(list(values)))
    assert chart.notes == ("10,000 points, drawn as 402: means, min to max shaded",)
    drawing = Drawing(chart.svg)
    (band,), (line,) = drawing.paths("band"), drawing.paths("line")
    assert len(band) == 2 * len(line)
    assert min(y for _, y in band) < min(y for _, y in line) - 50  # the spike is in the band
    assert not Drawing(make_chart(make_series([float(at) for at in range(300)])).svg).paths("band")


def test_smoothed_line_has_the_raw_one_behind_it() -> None:
    drawing = Drawing(make_chart(make_series([at % 2 for at in range(100)]), smoothing=0.9).svg)
    (raw,), (line,) = drawing.paths("raw"), drawing.paths("line")
    swings = [max(y for _, y in path[50:]) - min(y for _, y in path[50:]) for path in (raw, line)]
    assert swings[1] < swings[0] / 5
    kinds = [element.get("class") for element in drawing.root.iter("path")]
    assert kinds.index("raw") < kinds.index("line")


@pytest.mark.parametrize(
    ("values", "options", "note"),
    [
        ([1, 0, -1, 5], {"log_y": True}, "values of 0 and less aren't on the log axis"),
        ([1, 2, 3], {"log_x": True}, "steps of 0 and less aren't on the log axis"),
        ([1, 2, 3], {"log_x": True, "x": "relative"}, "times of 0 and less aren't on the log axis"),
        ([1, NAN, NAN, NAN], {}, "NaN at step 1 and 2 more"),
        ([1, NAN], {"x": "relative"}, "NaN at 1 s"),
        ([1, NAN], {"x": "wall"}, "NaN at 2025-11-24 12:00:01 UTC"),
        ([1, 2, 3, 4], {"start": 1, "stop": 2}, "2 of 4 points in this range"),
    ],
)
def test_note_counts_the_points_left_out(values: list[Number], options: dict[str, object], note: str) -> None:
    assert note in make_chart(make_series(values), **options).notes


def test_last_of_several_points_at_a_step_is_drawn() -> None:
    chart = make_chart(make_series([1, 2, 3], [0, 0, 0]))
    assert chart.notes[0] == "1 of 3 points, the last at each step"
    assert len(Drawing(chart.svg).paths("dots")) == 1


def test_chart_without_finite_values_says_so() -> None:
    for chart in (
        make_chart(make_series([NAN])),
        make_chart(make_series([])),
        make_chart(),
    ):
        assert "no finite value here" in Drawing(chart.svg).texts()


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        ([-1, -2, 0], {"log_y": True}, "all values are 0 or less: a log axis has no place for them"),
        ([-(at + 1) for at in range(2000)], {"log_y": True}, "all values are 0 or less"),
        ([-1, NAN, -2], {"log_y": True}, "all values are 0 or less"),
        ([NAN, INF], {"log_y": True}, "no finite value here"),
        ([5], {"log_x": True}, "all steps are 0 or less: a log axis has no place for them"),
        ([5], {"log_x": True, "x": "relative"}, "all times are 0 or less"),
    ],
)
def test_empty_log_axis_gives_the_reason(values: list[Number], options: dict[str, object], reason: str) -> None:
    texts = Drawing(make_chart(make_series(values), **options).svg).texts()
    assert any(reason in text for text in texts), texts


def test_hostile_names_are_escaped() -> None:
    name = "</svg><script>alert(1)</script>\"'&\x00\x1b\ud800"
    for standalone in (False, True):
        curve = curve_of(make_series([1, 2]), View())
        svg = line_chart([Line(name, curve)], name, Style(standalone=standalone)).svg
        drawing = Drawing(svg)
        assert not list(drawing.root.iter("script")) and "\ufffd" in svg
        dots = [Dot(name, name, 1, href='/runs/"><script>'), Dot(name, "b", 2)]
        drawing = Drawing(scatter_chart(dots, name, x_name=name, y_name=name, standalone=standalone).svg)
        assert not list(drawing.root.iter("script"))
    Drawing(sparkline([1, 2], label=name))


def test_standalone_chart_needs_no_style_sheet() -> None:
    svg = make_chart(make_series([1, 2, 3]), make_series([3, 2, 1]), standalone=True).svg
    drawing = Drawing(svg)
    assert svg.startswith("<svg xmlns=")
    assert not re.search(r"class=|style|data-", svg)
    assert drawing.texts()[0] == "a title" and {"metric 0", "metric 1"} <= set(drawing.texts())
    assert drawing.root.findtext("title") == "a title"


@pytest.mark.parametrize(
    "values", [[0, 1], [123_000, 123_999], [1e-5, 1.00001e-5], [-2_500_000, 7], [0.123456, 0.1235]]
)
def test_axis_labels_fit_beside_the_plot(values: list[Number]) -> None:
    drawing = Drawing(make_chart(make_series(values)).svg)
    plot_left = float(drawing.root.attrib["data-plot"].split()[0])
    axis_labels = [each for each in drawing.root.iter("text") if each.get("text-anchor") == "end"]
    beside = {each.text or "": float(each.attrib["x"]) for each in axis_labels if float(each.attrib["x"]) < plot_left}
    assert beside
    for label, end in beside.items():
        assert end - 6 * len(label) >= 0, label


#: The largest integer that a metric can be: it must fit into a double.
LARGEST = int(sys.float_info.max)
POINTS = st.lists(
    st.tuples(
        st.one_of(
            st.floats(),
            st.integers(-LARGEST, LARGEST),
            st.sampled_from([0.0, 1.0, 1 + 1e-12, -0.0, 5e-324, 1.7976931348623157e308, -1.7e308, LARGEST, -LARGEST]),
        ),
        st.one_of(st.integers(-5, 20), st.integers(-(2**63), 2**63 - 1)),
        st.one_of(st.integers(NOON, NOON + 10**7), st.integers(-(2**63), 2**63 - 1)),
    ),
    max_size=40,
)
ANY_INTEGER = st.one_of(st.integers(), st.integers(-LARGEST, LARGEST), st.sampled_from([LARGEST, -LARGEST]))
ENDS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-5, 20))


@settings(max_examples=300, deadline=None)
@given(
    every=st.lists(POINTS, max_size=3),
    x=st.sampled_from(AXES),
    logs=st.tuples(st.booleans(), st.booleans()),
    smoothing=st.sampled_from([0, 0.6, 0.99]),
    buckets=st.sampled_from([3, 300]),
    ends=st.tuples(ENDS, ENDS),
    standalone=st.booleans(),
)
def test_line_chart_stays_within_its_box_for_any_points(
    every: list[list[tuple[Number, int, int]]],
    x: str,
    logs: tuple[bool, bool],
    smoothing: float,
    buckets: int,
    ends: tuple[int | None, int | None],
    standalone: bool,
) -> None:
    start, stop = ends
    view = View(x, logs[0], start, stop, buckets, smoothing=smoothing)
    style = Style(x, *logs, smoothing, standalone=standalone, start=start, stop=stop)
    lines = []
    for at, points in enumerate(every):
        series = make_series(*[list(column) for column in zip(*points, strict=True)] or [[]])
        curve = curve_of(series, view, NOON)
        assert list(curve.xs) == sorted(curve.xs) and len(curve.xs) <= buckets + 3
        lines.append(Line(f"m{at}", curve, at))
    chart = line_chart(lines, "t", style)
    drawing = Drawing(chart.svg)
    for across, down in drawing.all_points():
        assert -0.1 <= across <= drawing.width + 0.1 and -0.1 <= down <= drawing.height + 0.1
    if lines:
        sparkline(lines[0].curve.ys)


@settings(max_examples=150, deadline=None)
@given(
    dots=st.lists(
        st.tuples(
            st.one_of(st.none(), st.booleans(), st.text(max_size=30), ANY_INTEGER, st.floats(allow_nan=False)),
            st.one_of(st.none(), st.sampled_from(["NaN", "Infinity"]), ANY_INTEGER, st.floats(allow_nan=False)),
        ),
        max_size=12,
    ),
    logs=st.tuples(st.booleans(), st.booleans()),
)
def test_scatter_chart_stays_within_its_box_for_any_values(
    dots: list[tuple[object, object]], logs: tuple[bool, bool]
) -> None:
    chart_dots = [
        Dot("run", x if x not in (INF, -INF) else "Infinity", y if y not in (INF, -INF) else "NaN") for x, y in dots
    ]
    drawing = Drawing(scatter_chart(chart_dots, "t", x_name="lr", y_name="loss", log_x=logs[0], log_y=logs[1]).svg)
    for across, down in drawing.all_points():
        assert -0.1 <= across <= drawing.width + 0.1 and -0.1 <= down <= drawing.height + 0.1


def test_scatter_chart_gives_each_word_its_own_place() -> None:
    dots = [Dot("a", "adam", 1), Dot("b", "sgd", 2), Dot("c", "adam", 3), Dot("d", None, 4), Dot("e", "sgd", "NaN")]
    chart = scatter_chart(dots, "t", x_name="optimizer", y_name="loss")
    drawing = Drawing(chart.svg)
    across = [float(circle.attrib["cx"]) for circle in drawing.root.iter("circle")]
    assert len(across) == 3 and across[0] == across[2] < across[1]
    assert drawing.x_ticks() == ["adam", "sgd"]
    assert chart.notes == ("2 of 5 runs have no value that can be shown here",)


def test_scatter_chart_reads_numeric_text_as_numbers() -> None:
    dots = [Dot("a", "0.001", 1), Dot("b", 0.1, 2), Dot("c", "1e-5", 3), Dot("d", "NaN", 4)]
    chart = scatter_chart(dots, "t", x_name="lr", y_name="loss", log_x=True)
    across = {circle[0].text: float(circle.attrib["cx"]) for circle in Drawing(chart.svg).root.iter("circle")}
    assert sorted(across, key=across.__getitem__) == ["c: 1e-5, 3", "a: 0.001, 1", "b: 0.1, 2"]
    assert chart.notes == ("1 of 4 runs have no value that can be shown here",)


def test_sparkline_has_gaps_and_a_dot_at_its_end() -> None:
    drawing = Drawing(sparkline([1, 2, NAN, 3, 4, 5], label="loss"))
    assert [len(stretch) for stretch in drawing.paths("line")] == [2, 3]
    assert drawing.paths("dots")[0][0][0] == pytest.approx(93)
    assert drawing.root.get("aria-label") == "loss"
    assert sparkline([]) == sparkline([NAN]) == ""


# -- scales


@pytest.mark.parametrize(
    "pair", [(0.0, 0.0), (5.0, 5.0), (-3.0, -3.0), (1e308, 1e308), (1.7e308, 1.7976931348623157e308)]
)
def test_single_value_has_padding_around_it(pair: tuple[float, float]) -> None:
    scale = padded_scale(*pair)
    assert scale.low <= pair[0] <= pair[1] <= scale.high and scale.low < scale.high
    assert math.isfinite(scale.low) and math.isfinite(scale.high)


def test_axis_does_not_cross_zero_if_no_value_does() -> None:
    assert (padded_scale(0.0, 10.0).low, padded_scale(0.01, 10.0).low, padded_scale(-10.0, 0.0).high) == (0, 0, 0)
    assert padded_scale(5.0, 10.0).low == pytest.approx(4.8)


# -- colors


def to_linear_rgb(color: str) -> list[float]:
    """Return the linear red, green and blue of a color such as #1f6fb5."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def compute_luminance(color: str) -> float:
    """Return the relative luminance of a color, as WCAG 2.2 defines it."""
    red, green, blue = to_linear_rgb(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def compute_contrast(one: str, other: str) -> float:
    brighter, darker = sorted((compute_luminance(one), compute_luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def read_page_colors() -> tuple[list[str], list[str]]:
    """Return the colors of series in style.css, light and dark."""
    pairs = re.findall(r"--series-\d+: light-dark\((#\w+), (#\w+)\);", STYLE.read_text())
    return [light for light, _ in pairs], [dark for _, dark in pairs]


def test_line_colors_have_contrast_in_light_and_in_dark_mode() -> None:
    """WCAG 2.2 requires 3:1 for graphics (1.4.11)."""
    pages = re.search(r"--page: light-dark\((#\w+), (#\w+)\);", STYLE.read_text())
    assert pages is not None
    for page, series in zip(pages.groups(), read_page_colors(), strict=True):
        assert len(series) == len(STANDALONE_COLORS)
        assert all(compute_contrast(color, page) >= 3 for color in series), page
    for color in STANDALONE_COLORS:
        assert compute_contrast(color, "#ffffff") >= 3 and compute_contrast(color, "#0d1117") >= 3, color


#: Perception of red, green and blue light by type of vision (Machado, Oliveira, Fernandes 2009, "A
#: Physiologically-based Model for Simulation of Color Vision Deficiency", the matrices for a severity of 1.0).
VISIONS = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def to_perceived_lab(color: str, vision: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """Convert a color as perceived to CIELAB, where distances match perceived differences."""
    light = [sum(share * part for share, part in zip(row, to_linear_rgb(color), strict=True)) for row in vision]
    red, green, blue = (min(1.0, max(0.0, part)) for part in light)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("vision", VISIONS.values(), ids=VISIONS)
def test_line_colors_differ_also_with_color_blindness(vision: tuple[tuple[float, ...], ...]) -> None:
    for colors in (*read_page_colors(), STANDALONE_COLORS):
        lab_colors = [to_perceived_lab(color, vision) for color in colors]
        distances = [math.dist(one, other) for at, one in enumerate(lab_colors) for other in lab_colors[:at]]
        assert min(distances) >= 9
        assert min(math.dist(one, other) for at, one in enumerate(lab_colors[:4]) for other in lab_colors[:at]) >= 14


@pytest.mark.parametrize(
    ("low", "high", "digits"),
    [(0, 1, 5), (-1, 1, 5), (0, 1e300, 5), (999_999, 1_000_001, 11), (1e6, 1e6 + 2e-4, 15), (1, 1, 5), (0, 0, 5)],
)
def test_digits_suffice_to_distinguish_the_values_of_an_axis(low: float, high: float, digits: int) -> None:
    assert digits_of(low, high) == digits


def test_values_at_the_pointer_equal_the_logged_values() -> None:
    values: list[Number] = [1_000_000 + step * 1e-6 for step in range(20)]
    assert read_pointer_values(values) == pytest.approx(values, abs=1e-9)
    assert read_pointer_values([0.0, 1_238_567.0]) == [0, 1_238_567]


def read_pointer_values(values: list[Number]) -> list[float]:
    (series,) = Drawing(make_chart(make_series(values)).svg).root.iter("g")
    return [float(text) for text in series.attrib["data-values"].split()]
