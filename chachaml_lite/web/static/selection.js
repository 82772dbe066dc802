// Runs that are selected in a list stay so over its orders, filters and pages, as long as the tab is open; a box for all
// of a page, Shift and a click for those between; and a bar that says how many there are.

/** A box of a run, or that for all of a page. */
const each = "#chosen input[type=checkbox]";
const prefix = "chachaml-selected ";
/** The trash has a selection of its own. */
const key = `${prefix}${location.pathname} ${new URLSearchParams(location.search).get("deleted") ?? ""}`;

function load() {
  try {
    return new Set(JSON.parse(sessionStorage.getItem(key) ?? "[]"));
  } catch {
    return new Set(); // storage is switched off: the selection lasts as long as the page
  }
}

let selected = load();
let last = null; // the box that was clicked last

function store() {
  try {
    if (selected.size) sessionStorage.setItem(key, JSON.stringify([...selected]));
    else sessionStorage.removeItem(key);
  } catch {
    // as above
  }
}

/** Forget every list's selection: the runs are about to be others. */
function forgetAll() {
  try {
    for (const other of Object.keys(sessionStorage)) if (other.startsWith(prefix)) sessionStorage.removeItem(other);
  } catch {
    // as above
  }
}

const boxes = () => [...document.querySelectorAll(`${each}[name=ids]`)];

/** A number of runs in words. */
export function counted(count) {
  return `${count.toLocaleString("en")} ${count === 1 ? "run" : "runs"}`;
}

/** The ids of the runs that are selected, on this page and on others. */
export function selectedIds() {
  return [...selected];
}

/** The ids of those that are not on this page. */
function elsewhere() {
  const here = new Set(boxes().map((box) => box.value));
  return selectedIds().filter((id) => !here.has(id));
}

/** Forget runs that are in no list any more. */
export function deselect(ids) {
  try {
    for (const other of Object.keys(sessionStorage)) {
      if (!other.startsWith(prefix) || other === key) continue;
      const left = JSON.parse(sessionStorage.getItem(other)).filter((id) => !ids.includes(id));
      sessionStorage.setItem(other, JSON.stringify(left));
    }
  } catch {
    // as above
  }
  for (const id of ids) selected.delete(id);
  store();
  apply();
}

function show() {
  const all = boxes();
  const others = elsewhere().length;
  const ticked = all.filter((box) => box.checked).length;
  const whole = document.getElementById("select-all");
  if (whole) {
    whole.checked = all.length > 0 && ticked === all.length;
    whole.indeterminate = ticked > 0 && ticked < all.length;
  }
  const bar = document.getElementById("selection-bar");
  if (!bar) return;
  bar.hidden = !all.length && !selected.size;
  bar.toggleAttribute("data-view-selected", selected.size > 0);
  const beside = others ? ` (${others.toLocaleString("en")} not on this page)` : "";
  bar.querySelector(".selected-count").textContent = selected.size
    ? `${selected.size.toLocaleString("en")} selected${beside}`
    : "Selected:";
  bar.querySelector("button.clear").hidden = !selected.size;
  for (const place of bar.querySelectorAll("[data-selected]")) place.textContent = counted(selected.size);
}

/** Bring the boxes, as the server has just made them, to what is selected. */
function apply() {
  for (const box of boxes()) box.checked = selected.has(box.value);
  show();
}

function take(box) {
  if (box.checked) selected.add(box.value);
  else selected.delete(box.value);
}

document.addEventListener("click", ({ target, shiftKey }) => {
  if (target.matches(".selection-bar button.clear")) {
    selected = new Set();
    store();
    apply();
  }
  if (!target.matches(`${each}[name=ids]`)) return;
  const all = boxes();
  if (shiftKey && last && all.includes(last)) {
    const [from, to] = [all.indexOf(last), all.indexOf(target)].sort((a, b) => a - b);
    for (const box of all.slice(from, to + 1)) {
      box.checked = target.checked;
      take(box);
    }
  }
  last = target;
});
document.addEventListener("change", ({ target }) => {
  if (!target.matches(each)) return;
  if (target.id === "select-all") {
    for (const box of boxes()) {
      box.checked = target.checked;
      take(box);
    }
  } else {
    take(target);
  }
  store();
  show();
});
// Those that are selected and not on this page go along with the list's form.
document.addEventListener("formdata", ({ target: form, formData }) => {
  if (form.id !== "chosen") return;
  for (const id of elsewhere()) formData.append("ids", id);
});
document.addEventListener("live:updated", apply);
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  selected = load();
  apply();
});
apply();

// What is done with the runs of a selection ends it.
document.addEventListener("submit", ({ target }) => {
  if (target.matches(".chosen-acts form.write")) forgetAll();
});
