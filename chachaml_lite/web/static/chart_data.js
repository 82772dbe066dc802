// Reads a chart from its svg element: its axes, the points of its lines, and their positions.

const charts = new WeakMap();
const number = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 6 });
const whole = new Intl.NumberFormat("en-US");

/** Returns the chart of an svg element, cached until `forget` is called because the server changed it. */
export function chartOf(svg) {
  if (!charts.has(svg)) charts.set(svg, read(svg));
  return charts.get(svg);
}

export function forget(svg) {
  charts.delete(svg);
}

function read(svg) {
  const [left, top, right, bottom] = svg.dataset.plot.split(" ").map(Number);
  const chart = {
    axis: svg.dataset.axis,
    plot: { left, top, right, bottom },
    // Steps have 64 bits; a JavaScript number is exact up to 53.
    x: svg.dataset.x.split(" ").map(BigInt),
    y: svg.dataset.y.split(" ").map(Number),
    logX: svg.dataset.log.includes("x"),
    logY: svg.dataset.log.includes("y"),
    digits: Math.max(6, Number(svg.dataset.digits)), // needed to distinguish its values
  };
  const sketch = svg.querySelector("g.sketch");
  chart.isSketch = Boolean(sketch);
  chart.lines = [...svg.querySelectorAll("g.series")].map((element) => (sketch ? readSketch(element, chart) : readLine(element)));
  return chart;
}

/** Returns the label of a line in the page's legend. */
function legendLabel(place) {
  return document.querySelector(`#legend [data-line="${CSS.escape(place)}"]`)?.title ?? place;
}

/** Returns a line of a sketch: its values aren't in the page, but are read from its path, in quarters of a unit. */
function readSketch(element, chart) {
  const xs = [];
  const values = [];
  let [x, y] = [0, 0];
  for (const [, command, first, second] of element
    .querySelector("path.line")
    .getAttribute("d")
    .matchAll(/([Mlh]?)(-?\d+)(?:,?(-?\d+))?/g)) {
    if (command === "h") continue;
    [x, y] = command === "M" ? [Number(first), Number(second)] : [x + Number(first), y + Number(second)];
    xs.push(xAt(chart, x / 4));
    values.push(valueAt(chart, y / 4));
  }
  return { element, key: element.dataset.key, label: legendLabel(element.dataset.key), xs, values };
}

function readLine(element) {
  const { key, label, at, values, smooth, counts } = element.dataset;
  let last = 0n;
  return {
    element,
    key,
    label,
    counts: counts?.split(" ").map(Number),
    xs: at ? at.split(" ").map((distance) => (last += BigInt(distance))) : [],
    values: values ? values.split(" ").map(Number) : [],
    smooth: smooth?.split(" ").map(Number),
    hasMeans: "means" in element.dataset, // except for its first and last value, which are points
  };
}

/** Returns the position of an x, in units of the view box. */
export function xPosition(chart, x) {
  const [low, high] = chart.x;
  const share = chart.logX
    ? Math.log(Number(x) / Number(low)) / Math.log(Number(high) / Number(low))
    : Number(x - low) / Number(high - low);
  return chart.plot.left + share * (chart.plot.right - chart.plot.left);
}

/** Returns the x at a position in the view box, clamped to the axis. */
export function xAt(chart, place) {
  const { left, right } = chart.plot;
  const share = Math.min(1, Math.max(0, (place - left) / (right - left)));
  const [low, high] = chart.x;
  if (chart.logX) return BigInt(Math.round(Number(low) * (Number(high) / Number(low)) ** share));
  return low + BigInt(Math.round(Number(high - low) * share));
}

/** Returns the vertical position of a value, in units of the view box; NaN if it can't be shown. */
export function yPosition(chart, value) {
  const [low, high] = chart.y;
  const share = chart.logY
    ? Math.log(value / low) / Math.log(high / low)
    : (value / 2 - low / 2) / (high / 2 - low / 2);
  return chart.plot.bottom - share * (chart.plot.bottom - chart.plot.top);
}

/** Returns the value at a vertical position in the view box. */
function valueAt(chart, place) {
  const { top, bottom } = chart.plot;
  const share = (bottom - place) / (bottom - top);
  const [low, high] = chart.y;
  return chart.logY ? low * (high / low) ** share : low + (high - low) * share;
}

/** Returns the index of a line's point that is nearest to an x; -1 if the line has none. */
export function nearest(xs, x) {
  let [low, high] = [0, xs.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - xs[low - 1] <= xs[low] - x ? low - 1 : xs.length ? low : -1;
}

export function formatValue(value, digits) {
  if (Number.isNaN(value)) return "not finite";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e12) return whole.format(value);
  if (size < 1e-4 || size >= 1e7) return value.toExponential(digits - 2).replace(/\.?0+e/, "e");
  return value.toLocaleString("en-US", { maximumSignificantDigits: digits });
}

export function formatX(axis, x) {
  if (axis === "wall") return moment(Number(x));
  return axis === "step" ? `step ${x.toLocaleString("en-US")}` : duration(Number(x));
}

// In UTC, like the axis that the server draws.
function moment(ms) {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

function duration(ms) {
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms < 60_000) return `${number.format(ms / 1000)} s`;
  const seconds = Math.round(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count);
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count)
    .map((part) => part.join(" "))
    .join(" ");
}
