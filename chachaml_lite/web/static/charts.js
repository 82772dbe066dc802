// Charts come to life: crosshair, zoom, legend, and the form that says how all of a page are drawn.
import { forget } from "./chart_data.js";
import * as crosshair from "./crosshair.js";
import * as legend from "./legend.js";
import { morph } from "./live.js";
import * as zoom from "./zoom.js";

const controls = "form.chart-controls";
const usual = { x: "step", smoothing: "0" };

function furnish(figure) {
  const svg = figure.querySelector("svg.chart");
  forget(svg);
  svg.setAttribute("tabindex", "0");
  legend.apply(figure);
  crosshair.showAgain(figure);
}

function furnishAll() {
  for (const form of document.querySelectorAll(controls)) agree(form);
  for (const figure of document.querySelectorAll("figure.chart-figure")) furnish(figure);
}

// -- the form

/** What the form says becomes the page's URL, without what is usual. */
function keep(form) {
  const url = new URL(location.href);
  const chosen = new FormData(form);
  for (const name of ["x", "smoothing", "log_x", "log_y", "from", "to"]) {
    let value = chosen.get(name);
    if (["from", "to"].includes(name) && !/^-?\d+$/.test(value?.trim() ?? "")) value = ""; // half typed, it is no range
    if (value === null || value === "" || value === usual[name]) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  history.replaceState(history.state, "", url);
}

let drawing = false;
let again = false;

/** Have the page's charts drawn as its URL says now; one request at a time, and the last one counts. */
async function redraw() {
  again = drawing;
  if (drawing) return;
  drawing = true;
  try {
    const answer = await fetch(location.href);
    if (answer.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const figure of document.querySelectorAll("figure.chart-figure")) zoom.release(figure);
      for (const id of ["charts", "values"]) {
        const old = document.getElementById(id);
        const drawn = fresh.getElementById(id);
        if (old && drawn) morph(old, drawn);
      }
      furnishAll();
    }
  } finally {
    drawing = false;
    if (again) redraw();
  }
}

function agree(form) {
  form.querySelector("[data-without-script]").hidden = true;
  form.elements.log_x.disabled = form.elements.x.value === "wall"; // the calendar has no log axis
  form.querySelector("output").value = form.elements.smoothing.value;
}

// On the document, for the form may come with the first metric.
document.addEventListener("input", (event) => {
  const form = event.target.closest(controls);
  if (!form) return;
  if (event.target.name === "x" && form.elements.from) {
    form.elements.from.value = form.elements.to.value = ""; // they were on the other axis
  }
  agree(form);
  keep(form);
  redraw();
});
document.addEventListener("submit", (event) => {
  if (event.target.matches(controls)) event.preventDefault();
});

for (const part of [crosshair, zoom, legend]) part.install(document);
document.addEventListener("live:updated", furnishAll);
document.addEventListener("chart:drawn", (event) => furnish(event.target));
furnishAll();
