// A vertical line in a chart at the pointer, with the value of each series there; the arrow keys move it, too.
import { chartOf, formatValue, formatX, nearest, xAt, xPosition, yPosition } from "./chart_data.js";

const SVG = "http://www.w3.org/2000/svg";
/** The crosshairs that are shown, by the figure's id, because the server may replace everything else. */
const crosshairs = new Map();

function svgElement(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const isHidden = (element) => element.hasAttribute("data-view-hidden");
const visibleLines = (chart) => chart.lines.filter((line) => line.xs.length && !isHidden(line.element));
/** The most rows of a tooltip. */
const MOST_ROWS = 10;

/** Shows the values at the point nearest to `x`. `isAnnounced`: to screen readers; `height`: of the pointer. */
function show(svg, x, isAnnounced = false, height = null) {
  const chart = chartOf(svg);
  const lines = visibleLines(chart);
  hide(svg);
  if (!lines.length) return;
  const near = lines.map((line) => line.xs[nearest(line.xs, x)]);
  const at = near.reduce((best, each) => (distance(each, x) < distance(best, x) ? each : best));
  const place = xPosition(chart, at);
  const cross = drawLine(svg, place);
  const tip = document.createElement("div");
  tip.className = "tip";
  if (isAnnounced) tip.setAttribute("role", "status");
  const points = lines.map((line) => pointOf(chart, line, at)).sort((one, other) => order(other) - order(one));
  const closest = height === null || points.length < 2 ? null : closestTo(points, height);
  const heading = document.createElement("b");
  heading.textContent = formatX(chart.axis, at);
  const listedPoints = points.slice(0, MOST_ROWS);
  if (closest && !listedPoints.includes(closest)) listedPoints[MOST_ROWS - 1] = closest;
  tip.append(heading, ...listedPoints.map((point) => row(chart, point, at, point === closest)));
  if (points.length > listedPoints.length) {
    const rest = document.createElement("small");
    rest.className = "rest";
    rest.textContent = `and ${points.length - listedPoints.length} more lines`;
    tip.append(rest);
  }
  for (const point of points.length > 40 ? listedPoints : points) dot(cross, chart, point);
  svg.parentElement.append(tip);
  beside(svg, tip, place);
  drawInOtherCharts(svg, chart, at);
  crosshairs.set(svg.closest("figure").id, { x: at, isAnnounced });
  if (height !== null) svg.dispatchEvent(new CustomEvent("chart:pointed", { bubbles: true, detail: closest?.line.key ?? "" }));
}

const order = (point) => (Number.isNaN(point.value) ? -Infinity : point.value);

function drawLine(svg, place) {
  const { top, bottom } = chartOf(svg).plot;
  const cross = svgElement("g", { class: "crosshair" });
  cross.append(svgElement("path", { class: "pointed", d: `M${place},${top}V${bottom}` }));
  svg.append(cross);
  return cross;
}

/** Marks the same x in the other charts of a page whose charts share their lines. */
function drawInOtherCharts(svg, chart, at) {
  if (!document.getElementById("legend")) return;
  for (const other of document.querySelectorAll("#charts svg.chart[data-plot]")) {
    if (other === svg || !other.getClientRects().length) continue;
    for (const old of other.querySelectorAll(".crosshair")) old.remove();
    const there = chartOf(other);
    if (there.axis !== chart.axis || at < there.x[0] || at > there.x[1]) continue;
    drawLine(other, xPosition(there, at));
  }
}

function pointOf(chart, line, at) {
  const place = nearest(line.xs, at);
  const value = (line.smooth ?? line.values)[place];
  return { line, place, value, y: yPosition(chart, value) };
}

/** Returns the point nearest to the pointer's height, or null if none has a height. */
function closestTo(points, height) {
  const near = points.filter((point) => !Number.isNaN(point.y));
  return near.reduce((best, each) => (!best || Math.abs(each.y - height) < Math.abs(best.y - height) ? each : best), null);
}

function colorOf(line) {
  return [...line.element.classList].find((name) => /^s\d+$/.test(name));
}

function dot(cross, chart, { line, place, y }) {
  if (y >= chart.plot.top - 1 && y <= chart.plot.bottom + 1) {
    cross.append(svgElement("circle", { class: colorOf(line), cx: xPosition(chart, line.xs[place]), cy: y, r: 3.5 }));
  }
}

const distance = (one, other) => (one > other ? one - other : other - one);

function row(chart, { line, place, value }, at, isClosest) {
  const element = document.createElement("div");
  element.className = colorOf(line);
  element.toggleAttribute("data-closest", isClosest);
  const name = document.createElement("span");
  name.textContent = line.label;
  const amount = document.createElement("strong");
  // A value read from a path is as precise as the path: a quarter of a unit, of about 200.
  amount.textContent = chart.isSketch ? `≈ ${formatValue(Number(value.toPrecision(4)), 4)}` : formatValue(value, chart.digits);
  element.append(name, amount);
  const notes = [];
  const isMean = line.hasMeans && place > 0 && place < line.xs.length - 1;
  if (line.smooth) notes.push(`${isMean ? "mean" : "raw"} ${formatValue(line.values[place], chart.digits)}`);
  else if (isMean) notes.push("mean");
  if (line.counts) notes.push(line.counts[place] === 1 ? "1 run" : `mean of ${line.counts[place]} runs`);
  if (line.xs[place] !== at && !chart.isSketch) notes.push(`at ${formatX(chart.axis, line.xs[place])}`);
  if (notes.length) {
    const note = document.createElement("small");
    note.textContent = notes.join(", ");
    element.append(note);
  }
  return element;
}

/** Positions the values next to the line, on the side with enough space. */
function beside(svg, tip, place) {
  const scale = svg.clientWidth / svg.viewBox.baseVal.width;
  const x = place * scale;
  const onLeft = x + tip.offsetWidth + 12 > svg.clientWidth;
  tip.style.left = `${Math.max(0, onLeft ? x - tip.offsetWidth - 10 : x + 10)}px`;
  tip.style.top = `${chartOf(svg).plot.top * scale}px`;
}

export function hide(svg) {
  const figure = svg.closest("figure");
  if (!figure) return; // it has just been replaced
  for (const old of figure.querySelectorAll(".crosshair, .tip")) old.remove();
  crosshairs.delete(figure.id);
  if (!document.getElementById("legend")) return;
  for (const old of document.querySelectorAll("#charts .crosshair")) old.remove();
}

/** Returns the vertical position of the pointer in the view box. */
function pointedHeight(svg, event) {
  const box = svg.getBoundingClientRect();
  return ((event.clientY - box.top) / box.height) * svg.viewBox.baseVal.height;
}

/** Returns the x under the pointer. */
export function pointedX(svg, event) {
  const box = svg.getBoundingClientRect();
  return xAt(chartOf(svg), ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width);
}

/** Shows the crosshair again after the server changed the chart. */
export function showAgain(figure) {
  const previous = crosshairs.get(figure.id);
  const svg = figure.querySelector("svg.chart");
  if (previous) show(svg, previous.x, previous.isAnnounced);
}

function move(svg, key, many) {
  const chart = chartOf(svg);
  const xs = [...new Set(visibleLines(chart).flatMap((line) => line.xs))].sort((a, b) => (a < b ? -1 : 1));
  if (!xs.length) return;
  const here = crosshairs.get(svg.closest("figure").id);
  const place = here ? nearest(xs, here.x) : key === "ArrowLeft" ? xs.length : -1;
  const by = many ? 10 : 1;
  const to = { ArrowLeft: place - by, ArrowRight: place + by, Home: 0, End: xs.length - 1 }[key];
  show(svg, xs[Math.min(xs.length - 1, Math.max(0, to))], true);
}

/** Handles the charts within an element, including those added later. */
export function install(root) {
  const chartAt = (event) => event.target.closest?.("svg.chart[data-plot]");
  root.addEventListener("pointermove", (event) => {
    const svg = chartAt(event);
    if (svg) show(svg, pointedX(svg, event), false, pointedHeight(svg, event));
  });
  // Lifting a finger keeps the crosshair: a tap shows the values, and a tap elsewhere hides them.
  root.addEventListener("pointerup", (event) => {
    const svg = event.pointerType === "touch" && chartAt(event);
    if (svg) show(svg, pointedX(svg, event), false, pointedHeight(svg, event));
  });
  root.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch") return;
    for (const svg of document.querySelectorAll("svg.chart[data-plot]")) {
      if (crosshairs.has(svg.closest("figure")?.id) && svg !== chartAt(event)) hide(svg);
    }
  });
  root.addEventListener("pointerout", (event) => {
    const svg = chartAt(event);
    if (!svg || svg.contains(event.relatedTarget) || event.pointerType === "touch") return;
    hide(svg);
    svg.dispatchEvent(new CustomEvent("chart:pointed", { bubbles: true, detail: "" }));
  });
  root.addEventListener("focusout", (event) => {
    const svg = chartAt(event);
    if (svg) hide(svg);
  });
  root.addEventListener("keydown", (event) => {
    const svg = chartAt(event);
    if (!svg || event.ctrlKey || event.altKey || event.metaKey) return;
    if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) {
      event.preventDefault();
      move(svg, event.key, event.shiftKey);
    }
    if (event.key === "Escape") hide(svg);
  });
}
