// Drag over a chart to see that range: the server draws it anew from all of its points. Double click or Escape resets.
import { forget } from "./chart_data.js";
import { hide, pointedX } from "./crosshair.js";

const SVG = "http://www.w3.org/2000/svg";
/** Less than this is a click, in CSS pixels. */
const LEAST = 6;
let drag = null;
/** The ranges of the charts that are zoomed each by itself, by the figure's id. */
const ranges = new Map();

/** A page of one chart has fields for the range, which its URL keeps: the form draws. */
const rangeFields = () => [...document.querySelectorAll("form.chart-controls input[data-range]")];

function fill([from, to], range) {
  history.pushState(history.state, "", location.href); // the browser's Back leads to what was shown before
  [from.value, to.value] = range ?? ["", ""];
  from.form.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Ask the server for a chart in a range, or for all of it, and put it in place of the one that is shown. */
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
    const answer = await fetch(url);
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("figure.chart-figure");
    const focused = document.activeElement === svg;
    forget(svg);
    hide(svg); // before the focus leaves it: what is removed must not take its neighbours along
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

/** While it is zoomed the live update leaves it alone (data-kept), and there is a button to get out. */
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

/** Let the page replace all charts, which are about to be drawn in another way; gives what `restore` takes. */
export function release() {
  const before = [...ranges];
  for (const figure of document.querySelectorAll("figure.chart-figure[data-kept]")) mark(figure, null);
  ranges.clear();
  return before;
}

/** Zoom into the same ranges again. */
export function restore(before) {
  for (const [id, range] of before) {
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

/** Make one element serve the charts within it, also those that come later. */
export function install(root) {
  const chartAt = (event) => event.target.closest?.("svg.chart[data-plot]");
  root.addEventListener("pointerdown", (event) => {
    const svg = chartAt(event);
    if (!svg || event.button || event.pointerType === "touch") return; // a finger scrolls
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
