// Interactive charts: crosshair, zoom, legend, and the form with the settings of all charts of a page.
import { forget } from "./chart_data.js";
import * as brush from "./brush.js";
import * as crosshair from "./crosshair.js";
import * as legend from "./legend.js";
import { reasonIn, take } from "./live.js";
import * as pageLegend from "./page_legend.js";
import * as sections from "./sections.js";
import * as zoom from "./zoom.js";

const controls = "form.chart-controls";
/** The two fields of a form for the range of steps; not the hidden ones that only keep the page's URL. */
const ofRange = "input[data-range]";
const usual = { x: "step", smoothing: "0" };

function furnish(figure) {
  const svg = figure.querySelector("svg.chart");
  forget(svg);
  svg.setAttribute("tabindex", "0");
  legend.apply(figure);
  crosshair.showAgain(figure);
}

function furnishAll() {
  pageLegend.apply();
  for (const form of document.querySelectorAll(controls)) agree(form);
  for (const figure of document.querySelectorAll("figure.chart-figure")) furnish(figure);
}

// -- the form

/** Writes the form's values to the page's URL, without defaults. */
function keep(form) {
  const url = new URL(location.href);
  const chosen = new FormData(form);
  const ranges = form.querySelectorAll(ofRange);
  const fields = [...form.elements].filter((field) => field.name && field.type !== "hidden");
  for (const name of new Set([...fields, ...ranges].map((field) => field.name))) {
    let value = chosen.get(name);
    if (["from", "to"].includes(name) && !/^-?\d+$/.test(value?.trim() ?? "")) value = ""; // incomplete
    if (value === null || value === "" || value === usual[name]) url.searchParams.delete(name);
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

/** Shows, next to the box for names, why the typed filter can't be drawn; "" removes the message. */
function complain(reason) {
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

let drawing = false;
let again = false;
/** The x axis of the charts: ranges of another axis are meaningless. */
let axis = new URL(location.href).searchParams.get("x");
/** The query string of the state that is shown. */
let shownSearch = location.search;

/** Redraws the page for its current URL, with one request at a time, of which the last one counts. */
async function redraw() {
  again = drawing;
  if (drawing) return;
  drawing = true;
  document.documentElement.toggleAttribute("data-drawing", true);
  try {
    const answer = await fetch(location.href);
    if (answer.ok) {
      const text = await answer.text();
      if (again) return; // outdated: the form was changed again meanwhile
      complain("");
      const zoomed = zoom.release();
      take(text);
      const now = new URL(location.href).searchParams.get("x");
      if (now === axis) zoom.restore(zoomed);
      axis = now;
      shownSearch = location.search;
    } else if (answer.status === 400) {
      const reason = reasonIn(await answer.text());
      if (!again) complain(reason);
    }
  } finally {
    drawing = false;
    if (again) redraw();
    else document.documentElement.removeAttribute("data-drawing");
  }
}

let soon = 0;

/** Redraws the page once the user has stopped typing. */
function redrawSoon() {
  clearTimeout(soon);
  soon = setTimeout(redraw, 200);
}

function agree(form) {
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
    for (const field of form.querySelectorAll(ofRange)) field.value = ""; // they belonged to the other axis
  }
  agree(form);
  keep(form);
  if (event.target.dataset.drops) forgetField(event.target.dataset.drops);
  if (event.target.type === "search") redrawSoon();
  else redraw();
});
document.addEventListener("charts:changed", redraw);
// Back and forward through the ranges of zooming.
window.addEventListener("popstate", () => {
  if (location.search === shownSearch) return; // only the fragment changed
  const said = new URL(location.href).searchParams;
  for (const form of document.querySelectorAll(controls)) {
    for (const field of form.elements) {
      if (!field.name || field.type === "submit") continue;
      if (field.type === "checkbox") field.checked = said.get(field.name) === field.value;
      else if (field.type !== "hidden" || field.matches(ofRange)) {
        field.value = said.get(field.name) ?? usual[field.name] ?? "";
      }
    }
    agree(form);
  }
  redraw();
});
document.addEventListener("submit", (event) => {
  if (event.target.matches(controls)) event.preventDefault();
});

for (const part of [crosshair, zoom, legend, pageLegend, sections, brush]) part.install(document);
document.addEventListener("live:updated", furnishAll);
document.addEventListener("chart:drawn", (event) => furnish(event.target));
furnishAll();
