// Zoom: drag over a chart to see a range, which the server draws from all its points. Double click or Escape resets it.
import { forget } from "./chart_data.js";
import { hide, pointedX } from "./crosshair.js";

const SVG = "http://www.w3.org/2000/svg";
/** A shorter drag is a click; in CSS pixels. */
const LEAST = 6;
let drag = null;
/** The ranges of charts that are zoomed individually, by the figure's id. */
const ranges = new Map();

/** Returns the fields for the range on a page of one chart, whose form draws it and keeps the range in the URL. */
const rangeFields = () => [...document.querySelectorAll("form.chart-controls input[data-range]")];

function fill([from, to], range) {
  history.pushState(history.state, "", location.href); // the browser's Back returns to the previous range
  [from.value, to.value] = range ?? ["", ""];
  from.form.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Requests a chart for a range, or for all of it, from the server, and replaces the current one. */
async function draw(figure, range) {
  const fields = rangeFields();
  if (fields.length) return fill(fields, range);
  const svg = figure.querySelector("svg.chart");
  const url = new URL(figure.dataset.page, location.href);
  const { width, height } = svg.viewBox.baseVal;
  url.searchParams.set("width", Math.round(width));
  url.searchParams.set("height", Math.round(height));
  if (range) {
    url.searchParams.set("from", range[0]);
    url.searchParams.set("to", range[1]);
  }
  figure.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(url);
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("figure.chart-figure");
    const focused = document.activeElement === svg;
    forget(svg);
    hide(svg); // before it loses the focus, whose handler would remove the same elements while svg is being replaced
    svg.replaceWith(fresh.querySelector("svg.chart"));
    figure.querySelector(".notes").replaceWith(fresh.querySelector(".notes"));
    mark(figure, range);
    if (focused) figure.querySelector("svg.chart").setAttribute("tabindex", "0");
    figure.dispatchEvent(new CustomEvent("chart:drawn", { bubbles: true }));
    if (focused) figure.querySelector("svg.chart").focus({ preventScroll: true });
  } finally {
    figure.removeAttribute("aria-busy");
  }
}

/** Marks a chart as zoomed, which the live update ignores (data-kept), and adds a button to reset it. */
function mark(figure, range) {
  const isZoomed = Boolean(range);
  if (isZoomed) ranges.set(figure.id, range);
  else ranges.delete(figure.id);
  figure.toggleAttribute("data-kept", isZoomed);
  const old = figure.querySelector(".zoom-out");
  if (isZoomed && !old) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "zoom-out";
    button.textContent = "Whole range";
    button.addEventListener("click", () => reset(figure));
    figure.querySelector("figcaption").append(button);
  } else if (!isZoomed) {
    old?.remove();
  }
}

export function reset(figure) {
  if (figure.hasAttribute("data-kept") || rangeFields()[0]?.value) return draw(figure, null);
}

/** Releases all zoomed charts, which are about to be drawn with other settings; returns the ranges for `restore`. */
export function release() {
  const previous = [...ranges];
  for (const figure of document.querySelectorAll("figure.chart-figure[data-kept]")) mark(figure, null);
  ranges.clear();
  return previous;
}

/** Zooms into the same ranges again. */
export function restore(previous) {
  for (const [id, range] of previous) {
    const figure = document.getElementById(id);
    if (figure) draw(figure, range);
  }
}

function stretch(event) {
  const { svg, band, startX } = drag;
  const box = svg.getBoundingClientRect();
  const [left, top, right, bottom] = svg.dataset.plot.split(" ").map(Number);
  const scale = svg.viewBox.baseVal.width / box.width;
  const [from, to] = [startX, event.clientX].map((x) => Math.min(right, Math.max(left, (x - box.left) * scale))).sort((a, b) => a - b);
  band.setAttribute("x", from);
  band.setAttribute("y", top);
  band.setAttribute("width", to - from);
  band.setAttribute("height", bottom - top);
}

/** Handles the charts within an element, including those added later. */
export function install(root) {
  const chartAt = (event) => event.target.closest?.("svg.chart[data-plot]");
  root.addEventListener("pointerdown", (event) => {
    const svg = chartAt(event);
    if (!svg || event.button || event.pointerType === "touch") return; // a finger scrolls the page
    const band = document.createElementNS(SVG, "rect");
    band.setAttribute("class", "selection");
    svg.append(band);
    svg.setPointerCapture(event.pointerId);
    drag = { svg, band, startX: event.clientX, from: pointedX(svg, event) };
  });
  root.addEventListener("pointermove", (event) => {
    if (drag) stretch(event);
  });
  root.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { svg, band, startX, from } = drag;
    drag = null;
    band.remove();
    const to = pointedX(svg, event);
    if (Math.abs(event.clientX - startX) < LEAST || from === to) return;
    draw(svg.closest("figure"), from < to ? [from, to] : [to, from]);
  });
  root.addEventListener("pointercancel", () => {
    drag?.band.remove();
    drag = null;
  });
  root.addEventListener("dblclick", (event) => {
    const svg = chartAt(event);
    if (svg) reset(svg.closest("figure"));
  });
  root.addEventListener("keydown", (event) => {
    const figure = event.target.closest?.("figure.chart-figure");
    if (figure && event.key === "Escape") reset(figure);
  });
}
