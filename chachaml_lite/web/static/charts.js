// Charts come to life: crosshair, zoom, legend, and the form that says how all of a page are drawn.
import { forget } from "./chart_data.js";
import * as brush from "./brush.js";
import * as crosshair from "./crosshair.js";
import * as legend from "./legend.js";
import { reasonIn, take } from "./live.js";
import * as pageLegend from "./page_legend.js";
import * as sections from "./sections.js";
import * as zoom from "./zoom.js";

const controls = "form.chart-controls";
/** The two fields of a form that say the range of steps; not those that it merely keeps of the page's URL. */
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

/** What the form says becomes the page's URL, without what is usual. */
function keep(form) {
  const url = new URL(location.href);
  const chosen = new FormData(form);
  const ranges = form.querySelectorAll(ofRange);
  const fields = [...form.elements].filter((field) => field.name && field.type !== "hidden");
  for (const name of new Set([...fields, ...ranges].map((field) => field.name))) {
    let value = chosen.get(name);
    if (["from", "to"].includes(name) && !/^-?\d+$/.test(value?.trim() ?? "")) value = ""; // half typed, it is no range
    if (value === null || value === "" || value === usual[name]) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  history.replaceState(history.state, "", url);
}

/** What a field's change makes meaningless: what was hidden of other lines. */
function forgetField(name) {
  const url = new URL(location.href);
  url.searchParams.delete(name);
  history.replaceState(history.state, "", url);
}

/** Say beside the box for names why nothing is drawn for what is typed; "" where all is well. */
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
/** What the charts are drawn over: ranges of another axis mean nothing. */
let axis = new URL(location.href).searchParams.get("x");
/** The query string of what is shown. */
let shownSearch = location.search;

/** Have the page drawn as its URL says now; one request at a time, and the last one counts. */
async function redraw() {
  again = drawing;
  if (drawing) return;
  drawing = true;
  document.documentElement.toggleAttribute("data-drawing", true);
  try {
    const answer = await fetch(location.href);
    if (answer.ok) {
      const text = await answer.text();
      if (again) return; // it is of the page as it was before its form was changed once more
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

/** The same, when somebody who types has stopped. */
function redrawSoon() {
  clearTimeout(soon);
  soon = setTimeout(redraw, 200);
}

function agree(form) {
  for (const button of form.querySelectorAll("[data-without-script]")) button.hidden = true;
  for (const part of form.querySelectorAll("[data-with]")) part.hidden = !form.elements[part.dataset.with].value;
  const axis = form.querySelector("select[name=x]");
  if (!axis) return;
  form.elements.log_x.disabled = axis.value === "wall"; // the calendar has no log axis
  form.querySelector("output").value = form.elements.smoothing.value;
}

// On the document, for the form may come with the first metric.
document.addEventListener("input", (event) => {
  const form = event.target.closest(controls);
  if (!form) return;
  if (event.target.name === "x") {
    for (const field of form.querySelectorAll(ofRange)) field.value = ""; // they were on the other axis
  }
  agree(form);
  keep(form);
  if (event.target.dataset.drops) forgetField(event.target.dataset.drops);
  if (event.target.type === "search") redrawSoon();
  else redraw();
});
document.addEventListener("charts:changed", redraw);
// Back and forward, over the ranges that were zoomed into.
window.addEventListener("popstate", () => {
  if (location.search === shownSearch) return; // a place within the page
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
