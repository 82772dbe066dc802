// Brushing: drag along an axis of parallel coordinates to select the runs of the table. The brush is a condition in the
// page's URL, as in a query; a click on the axis removes it.

const SVG = "http://www.w3.org/2000/svg";
/** A shorter drag is a click; in units of the view box. */
const LEAST = 4;
let drag = null;

const quote = (text) => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;

function heightOf(svg, event) {
  const box = svg.getBoundingClientRect();
  const [top, bottom] = svg.dataset.ends.split(" ").map(Number);
  const at = ((event.clientY - box.top) / box.height) * svg.viewBox.baseVal.height;
  return Math.min(bottom, Math.max(top, at));
}

/** Returns the condition for a range of an axis, or "" if it contains nothing. */
function condition(svg, axis, from, to) {
  const [top, bottom] = svg.dataset.ends.split(" ").map(Number);
  const { field, low, high, words } = axis.dataset;
  if (words) {
    const all = JSON.parse(words);
    const step = (bottom - top) / all.length;
    const selectedWords = all.filter((_, place) => top + step * (place + 0.5) >= from && top + step * (place + 0.5) <= to);
    return selectedWords.length ? `${field} in (${selectedWords.map(quote).join(", ")})` : "";
  }
  const value = (height) => {
    const share = (bottom - height) / (bottom - top);
    const [least, most] = [Number(low), Number(high)];
    const exact = "log" in axis.dataset ? least * (most / least) ** share : least + (most - least) * share;
    return String(Number(exact.toPrecision(4)));
  };
  return `${field} >= ${value(to)} and ${field} <= ${value(from)}`;
}

function writeBrush(field, text) {
  const url = new URL(location.href);
  const others = url.searchParams.getAll("brush").filter((each) => !each.startsWith(`${field} `));
  url.searchParams.delete("brush");
  url.searchParams.delete("offset");
  for (const each of [...others, ...(text ? [text] : [])]) url.searchParams.append("brush", each);
  if (url.href === location.href) return;
  history.replaceState(history.state, "", url);
  document.dispatchEvent(new CustomEvent("charts:changed"));
}

/** Handles the axes within an element, including those added later. */
export function install(root) {
  root.addEventListener("pointerdown", (event) => {
    const axis = event.target.closest?.("svg.parallel .coordinate");
    if (!axis || event.button) return;
    event.preventDefault();
    const svg = axis.closest("svg");
    const band = document.createElementNS(SVG, "rect");
    const hit = axis.querySelector(".hit");
    band.setAttribute("class", "selection");
    band.setAttribute("x", Number(hit.getAttribute("x")) + 6);
    band.setAttribute("width", 16);
    axis.append(band);
    hit.setPointerCapture(event.pointerId);
    drag = { svg, axis, band, start: heightOf(svg, event) };
  });
  root.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const position = heightOf(drag.svg, event);
    drag.band.setAttribute("y", Math.min(position, drag.start));
    drag.band.setAttribute("height", Math.abs(position - drag.start));
  });
  root.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { svg, axis, band, start } = drag;
    drag = null;
    band.remove();
    const end = heightOf(svg, event);
    const [from, to] = [Math.min(start, end), Math.max(start, end)];
    writeBrush(axis.dataset.field, to - from < LEAST ? "" : condition(svg, axis, from, to));
  });
  root.addEventListener("pointercancel", () => {
    drag?.band.remove();
    drag = null;
  });
}
