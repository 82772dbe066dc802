// The one legend of a page whose charts have their lines in common: a click hides a line in every chart, a double click
// leaves it alone, and pointing at it, at a row of the table or at a chart's line brings it out everywhere. What is hidden
// stands in the URL, so that it can be shared; the server then draws the axes for what is left.

const legend = () => document.getElementById("legend");
const buttons = () => [...(legend()?.querySelectorAll("button[data-line]") ?? [])];
const keyOf = (button) => button.value;

function hiddenKeys() {
  const times = new Map();
  for (const key of new URL(location.href).searchParams.getAll("hide")) times.set(key, (times.get(key) ?? 0) + 1);
  return new Set([...times].filter(([, count]) => count % 2).map(([key]) => key));
}

function keep(keys) {
  const url = new URL(location.href);
  url.searchParams.delete("hide");
  for (const key of keys) url.searchParams.append("hide", key);
  history.replaceState(history.state, "", url);
}

/** Bring the page, as the server has just made it, to what is hidden. */
export function apply() {
  if (!legend()) return;
  const hidden = hiddenKeys();
  const lines = new Set();
  for (const button of buttons()) {
    button.setAttribute("aria-pressed", String(!hidden.has(keyOf(button))));
    if (hidden.has(keyOf(button))) lines.add(button.dataset.line);
  }
  for (const series of document.querySelectorAll("#charts g.series[data-key]")) {
    series.toggleAttribute("data-view-hidden", lines.has(series.dataset.key));
  }
}

function change(keys) {
  keep(keys);
  apply();
  document.dispatchEvent(new CustomEvent("charts:changed"));
}

function toggle(key) {
  const keys = hiddenKeys();
  if (!keys.delete(key)) keys.add(key);
  change(keys);
}

/** Hide all lines but one; where it is alone already, show all. */
function isolate(key) {
  const others = buttons().map(keyOf).filter((each) => each !== key);
  const hidden = hiddenKeys();
  const isAlone = !hidden.has(key) && others.every((each) => hidden.has(each));
  change(isAlone ? [] : others);
}

let brought = "";

/** Bring a line out in every chart, by its place in the legend; "" for none. `fades`: whether the others step back. */
function bringOut(place, fades) {
  const sign = place && `${place} ${fades}`;
  if (sign === brought) return;
  brought = sign;
  for (const series of document.querySelectorAll("#charts g.series[data-key]")) {
    const isIt = series.dataset.key === place;
    series.toggleAttribute("data-view-strong", isIt);
    series.toggleAttribute("data-view-faded", Boolean(place) && fades && !isIt);
  }
  for (const button of buttons()) button.toggleAttribute("data-view-strong", button.dataset.line === place);
}

/** The place in the legend that an element stands for: a button of it, or a run's row in a table; "" for none. */
function placeAt(element) {
  const button = element.closest?.("#legend button[data-line]");
  if (button) return button.dataset.line;
  const row = element.closest?.("tr[id^='run-']");
  return (row && buttons().find((each) => keyOf(each) === row.id.slice(4))?.dataset.line) ?? "";
}

/** Serve the legend of the page, also when it is made anew. */
export function install(root) {
  root.addEventListener("click", (event) => {
    const button = event.target.closest("#legend button[data-line]");
    if (!button) return;
    event.preventDefault();
    toggle(keyOf(button));
  });
  root.addEventListener("dblclick", (event) => {
    const button = event.target.closest("#legend button[data-line]");
    if (button) isolate(keyOf(button));
  });
  root.addEventListener("pointerover", (event) => {
    if (event.target.closest?.("svg.chart")) return;
    bringOut(placeAt(event.target), true);
  });
  root.addEventListener("focusin", (event) => bringOut(placeAt(event.target), true));
  root.addEventListener("chart:pointed", (event) => bringOut(event.detail, false));
}
