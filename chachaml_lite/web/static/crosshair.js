// A line across a chart at the pointer, with the value of each series there; the arrow keys move it too.
import { across, chartOf, nearest, shownValue, shownX, up, xAt } from "./chart_data.js";

const SVG = "http://www.w3.org/2000/svg";
/** What is shown on which chart: by the figure's id, for the server may replace the rest. */
const shown = new Map();

function svgElement(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const visible = (chart) => chart.lines.filter((line) => line.xs.length && !line.element.hasAttribute("data-view-hidden"));

/** Show the values at the point nearest to `x`. `told`: a screen reader says them. */
function show(svg, x, told = false) {
  const chart = chartOf(svg);
  const lines = visible(chart);
  hide(svg);
  if (!lines.length) return;
  const near = lines.map((line) => line.xs[nearest(line.xs, x)]);
  const at = near.reduce((best, each) => (distance(each, x) < distance(best, x) ? each : best));
  const place = across(chart, at);
  const cross = svgElement("g", { class: "crosshair" });
  cross.append(svgElement("path", { class: "pointed", d: `M${place},${chart.plot.top}V${chart.plot.bottom}` }));
  const tip = document.createElement("div");
  tip.className = "tip";
  if (told) tip.setAttribute("role", "status");
  const rows = lines.map((line) => row(chart, line, at, cross));
  const heading = document.createElement("b");
  heading.textContent = shownX(chart.axis, at);
  tip.append(heading, ...rows.slice(0, 25));
  svg.append(cross);
  svg.parentElement.append(tip);
  beside(svg, tip, place);
  shown.set(svg.closest("figure").id, { x: at, told });
}

const distance = (one, other) => (one > other ? one - other : other - one);

function row(chart, line, at, cross) {
  const place = nearest(line.xs, at);
  const value = (line.smooth ?? line.values)[place];
  const y = up(chart, value);
  const color = [...line.element.classList].find((name) => /^s\d+$/.test(name));
  if (y >= chart.plot.top - 1 && y <= chart.plot.bottom + 1) {
    cross.append(svgElement("circle", { class: color, cx: across(chart, line.xs[place]), cy: y, r: 3.5 }));
  }
  const made = document.createElement("div");
  made.className = color;
  const name = document.createElement("span");
  name.textContent = line.label;
  const amount = document.createElement("strong");
  amount.textContent = shownValue(value, chart.digits);
  made.append(name, amount);
  const notes = [];
  const isMean = line.hasMeans && place > 0 && place < line.xs.length - 1;
  if (line.smooth) notes.push(`${isMean ? "mean" : "raw"} ${shownValue(line.values[place], chart.digits)}`);
  else if (isMean) notes.push("mean");
  if (line.xs[place] !== at) notes.push(`at ${shownX(chart.axis, line.xs[place])}`);
  if (notes.length) {
    const note = document.createElement("small");
    note.textContent = notes.join(", ");
    made.append(note);
  }
  return made;
}

/** Put the values beside the line, on the side where there is room. */
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
  shown.delete(figure.id);
}

/** The x under a pointer. */
export function pointedX(svg, event) {
  const box = svg.getBoundingClientRect();
  return xAt(chartOf(svg), ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width);
}

/** Show what was shown before the server changed the chart. */
export function showAgain(figure) {
  const before = shown.get(figure.id);
  const svg = figure.querySelector("svg.chart");
  if (before) show(svg, before.x, before.told);
}

function move(svg, key, many) {
  const chart = chartOf(svg);
  const xs = [...new Set(visible(chart).flatMap((line) => line.xs))].sort((a, b) => (a < b ? -1 : 1));
  if (!xs.length) return;
  const here = shown.get(svg.closest("figure").id);
  const place = here ? nearest(xs, here.x) : key === "ArrowLeft" ? xs.length : -1;
  const by = many ? 10 : 1;
  const to = { ArrowLeft: place - by, ArrowRight: place + by, Home: 0, End: xs.length - 1 }[key];
  show(svg, xs[Math.min(xs.length - 1, Math.max(0, to))], true);
}

/** Make one element serve the charts within it, also those that come later. */
export function install(root) {
  const chartAt = (event) => event.target.closest?.("svg.chart[data-plot]");
  root.addEventListener("pointermove", (event) => {
    const svg = chartAt(event);
    if (svg) show(svg, pointedX(svg, event));
  });
  root.addEventListener("pointerout", (event) => {
    const svg = chartAt(event);
    if (svg && !svg.contains(event.relatedTarget)) hide(svg);
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
