// The legend of a page whose charts share their lines: a click hides a line in all charts, a double click hides all the
// others, and pointing at it, at a row of the table or at a line in a chart highlights it everywhere. The hidden lines
// are in the URL, which can be shared; the server then draws the axes for the remaining ones.

const legend = () => document.getElementById("legend");
const buttons = () => [...(legend()?.querySelectorAll("button[data-line]") ?? [])];
const keyOf = (button) => button.value;

function hiddenKeys() {
  const times = new Map();
  for (const key of new URL(location.href).searchParams.getAll("hide")) times.set(key, (times.get(key) ?? 0) + 1);
  return new Set([...times].filter(([, count]) => count % 2).map(([key]) => key));
}

function writeUrl(keys) {
  const url = new URL(location.href);
  url.searchParams.delete("hide");
  for (const key of keys) url.searchParams.append("hide", key);
  history.replaceState(history.state, "", url);
}

/** Hides the lines of a page that the server has just rendered. */
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
  writeUrl(keys);
  apply();
  document.dispatchEvent(new CustomEvent("charts:changed"));
}

function toggle(key) {
  const keys = hiddenKeys();
  if (!keys.delete(key)) keys.add(key);
  change(keys);
}

/** Hides all lines but one; if it is the only one already, shows all. */
function isolate(key) {
  const others = buttons().map(keyOf).filter((each) => each !== key);
  const hidden = hiddenKeys();
  const isAlone = !hidden.has(key) && others.every((each) => hidden.has(each));
  change(isAlone ? [] : others);
}

let highlighted = "";

/** Highlights a line in all charts, given its index in the legend, or "" for none. `fades`: whether to dim the others. */
function highlight(place, fades) {
  const state = place && `${place} ${fades}`;
  if (state === highlighted) return;
  highlighted = state;
  for (const series of document.querySelectorAll("#charts g.series[data-key]")) {
    const isHighlighted = series.dataset.key === place;
    series.toggleAttribute("data-view-strong", isHighlighted);
    series.toggleAttribute("data-view-faded", Boolean(place) && fades && !isHighlighted);
  }
  for (const button of buttons()) button.toggleAttribute("data-view-strong", button.dataset.line === place);
}

/** Returns the index in the legend of a button or of a run's row in a table; "" for any other element. */
function placeAt(element) {
  const button = element.closest?.("#legend button[data-line]");
  if (button) return button.dataset.line;
  const row = element.closest?.("tr[id^='run-']");
  return (row && buttons().find((each) => keyOf(each) === row.id.slice(4))?.dataset.line) ?? "";
}

/** Handles the legend of the page, even if it is rendered again. */
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
    highlight(placeAt(event.target), true);
  });
  root.addEventListener("focusin", (event) => highlight(placeAt(event.target), true));
  root.addEventListener("chart:pointed", (event) => highlight(event.detail, false));
}
