// Interactive charts: crosshair, zoom, legend, and the form with the settings of all charts of a page.
import { forget } from "./chart_data.js";
import * as brush from "./brush.js";
import * as crosshair from "./crosshair.js";
import * as legend from "./legend.js";
import { adopt, reasonIn } from "./live.js";
import * as pageLegend from "./page_legend.js";
import * as sections from "./sections.js";
import * as zoom from "./zoom.js";

const controls = "form.chart-controls";
/** Selects the two fields for the range of steps, but not the hidden fields that only preserve the page's URL. */
const rangeInputs = "input[data-range]";
const defaults = { x: "step", smoothing: "0" };

function prepare(figure) {
  const svg = figure.querySelector("svg.chart");
  forget(svg);
  svg.setAttribute("tabindex", "0");
  legend.apply(figure);
  crosshair.showAgain(figure);
}

function prepareAll() {
  pageLegend.apply();
  for (const form of document.querySelectorAll(controls)) syncForm(form);
  for (const figure of document.querySelectorAll("figure.chart-figure")) prepare(figure);
}

// -- the form

/** Writes the form's values to the page's URL, without defaults. */
function writeUrl(form) {
  const url = new URL(location.href);
  const data = new FormData(form);
  const ranges = form.querySelectorAll(rangeInputs);
  const fields = [...form.elements].filter((field) => field.name && field.type !== "hidden");
  for (const name of new Set([...fields, ...ranges].map((field) => field.name))) {
    let value = data.get(name);
    if (["from", "to"].includes(name) && !/^-?\d+$/.test(value?.trim() ?? "")) value = ""; // incomplete
    if (value === null || value === "" || value === defaults[name]) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  history.replaceState(history.state, "", url);
}

/** Removes a field that the change of another one makes meaningless: the hidden lines of a previous grouping. */
function forgetField(name) {
  const url = new URL(location.href);
  url.searchParams.delete(name);
  history.replaceState(history.state, "", url);
}

/** Shows an error of the filter next to its box; "" removes the message. */
function showError(reason) {
  const box = document.querySelector(`${controls} input[type=search]`);
  if (!box) return;
  if (reason) box.setAttribute("aria-invalid", "true");
  else box.removeAttribute("aria-invalid");
  let place = box.form.querySelector(":scope > .refused");
  if (!place) {
    place = document.createElement("p");
    place.className = "refused warn";
    place.setAttribute("role", "alert");
    box.form.append(place);
  }
  place.textContent = reason;
}

let isDrawing = false;
let isOutdated = false;
/** The x axis of the charts: ranges of another axis are meaningless. */
let axis = new URL(location.href).searchParams.get("x");
/** The query string of the state that is shown. */
let shownSearch = location.search;

/** Redraws the page for its current URL, with one request at a time, of which the last one counts. */
async function redraw() {
  isOutdated = isDrawing;
  if (isDrawing) return;
  isDrawing = true;
  document.documentElement.toggleAttribute("data-drawing", true);
  try {
    const response = await fetch(location.href);
    if (response.ok) {
      const text = await response.text();
      if (isOutdated) return; // the form was changed again in the meantime
      showError("");
      const ranges = zoom.release();
      adopt(text);
      const now = new URL(location.href).searchParams.get("x");
      if (now === axis) zoom.restore(ranges);
      axis = now;
      shownSearch = location.search;
    } else if (response.status === 400) {
      const reason = reasonIn(await response.text());
      if (!isOutdated) showError(reason);
    }
  } finally {
    isDrawing = false;
    if (isOutdated) redraw();
    else document.documentElement.removeAttribute("data-drawing");
  }
}

let timer = 0;

/** Redraws the page once the user has stopped typing. */
function redrawSoon() {
  clearTimeout(timer);
  timer = setTimeout(redraw, 200);
}

function syncForm(form) {
  for (const button of form.querySelectorAll("[data-without-script]")) button.hidden = true;
  for (const part of form.querySelectorAll("[data-with]")) part.hidden = !form.elements[part.dataset.with].value;
  const axis = form.querySelector("select[name=x]");
  if (!axis) return;
  form.elements.log_x.disabled = axis.value === "wall"; // there is no log axis of dates
  form.querySelector("output").value = form.elements.smoothing.value;
}

// On the document, because the form may only appear with the first metric.
document.addEventListener("input", (event) => {
  const form = event.target.closest(controls);
  if (!form) return;
  if (event.target.name === "x") {
    for (const field of form.querySelectorAll(rangeInputs)) field.value = ""; // they belonged to the other axis
  }
  syncForm(form);
  writeUrl(form);
  if (event.target.dataset.drops) forgetField(event.target.dataset.drops);
  if (event.target.type === "search") redrawSoon();
  else redraw();
});
document.addEventListener("charts:changed", redraw);
// Back and forward through the ranges of zooming.
window.addEventListener("popstate", () => {
  if (location.search === shownSearch) return; // only the fragment changed
  const fields = new URL(location.href).searchParams;
  for (const form of document.querySelectorAll(controls)) {
    for (const field of form.elements) {
      if (!field.name || field.type === "submit") continue;
      if (field.type === "checkbox") field.checked = fields.get(field.name) === field.value;
      else if (field.type !== "hidden" || field.matches(rangeInputs)) {
        field.value = fields.get(field.name) ?? defaults[field.name] ?? "";
      }
    }
    syncForm(form);
  }
  redraw();
});
document.addEventListener("submit", (event) => {
  if (event.target.matches(controls)) event.preventDefault();
});

for (const part of [crosshair, zoom, legend, pageLegend, sections, brush]) part.install(document);
document.addEventListener("live:updated", prepareAll);
document.addEventListener("chart:drawn", (event) => prepare(event.target));
prepareAll();
