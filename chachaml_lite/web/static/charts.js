// Charts come to life: crosshair, zoom, legend, and the form that says how all of a page are drawn.
import { forget } from "./chart_data.js";
import * as crosshair from "./crosshair.js";
import * as legend from "./legend.js";
import { morph } from "./live.js";
import * as zoom from "./zoom.js";

const root = document.getElementById("charts");
const form = document.querySelector("form.chart-controls");
const usual = { x: "step", smoothing: "0" };

function furnish(figure) {
  const svg = figure.querySelector("svg.chart");
  forget(svg);
  svg.setAttribute("tabindex", "0");
  legend.apply(figure);
  crosshair.showAgain(figure);
}

function furnishAll() {
  for (const figure of document.querySelectorAll("figure.chart-figure")) furnish(figure);
}

// -- the form

/** What the form says becomes the page's URL, without what is usual. */
function keep() {
  const url = new URL(location.href);
  const chosen = new FormData(form);
  for (const name of ["x", "smoothing", "log_x", "log_y"]) {
    const value = chosen.get(name);
    if (value === null || Number(value) === 0 || value === usual[name]) url.searchParams.delete(name);
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
      for (const figure of root.querySelectorAll("figure.chart-figure")) zoom.release(figure);
      for (const id of ["charts", "values"]) {
        const old = document.getElementById(id);
        if (old) morph(old, fresh.getElementById(id));
      }
      furnishAll();
    }
  } finally {
    drawing = false;
    if (again) redraw();
  }
}

function agree() {
  form.elements.log_x.disabled = form.elements.x.value === "wall"; // the calendar has no log axis
  form.querySelector("output").value = form.elements.smoothing.value;
}

if (form && root) {
  form.querySelector("[data-without-script]").hidden = true;
  agree();
  form.addEventListener("input", () => {
    agree();
    keep();
    redraw();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
}

for (const part of [crosshair, zoom, legend]) part.install(document);
document.addEventListener("live:updated", furnishAll);
document.addEventListener("chart:drawn", (event) => furnish(event.target));
furnishAll();
