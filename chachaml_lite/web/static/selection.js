// The selection of runs in a list, which survives changes of order, filter and page while the tab is open. There is a
// box for all runs of a page, Shift and a click for a range, and a bar with the number of selected runs.

/** Selects the boxes of runs, and the box for all runs of a page. */
const each = "#chosen input[type=checkbox]";
const prefix = "chachaml-selected ";
/** The trash has a selection of its own. */
const key = `${prefix}${location.pathname} ${new URLSearchParams(location.search).get("deleted") ?? ""}`;

function load() {
  try {
    return new Set(JSON.parse(sessionStorage.getItem(key) ?? "[]"));
  } catch {
    return new Set(); // storage is disabled: the selection lasts as long as the page
  }
}

let selected = load();
let last = null; // the last box that was clicked

function store() {
  try {
    if (selected.size) sessionStorage.setItem(key, JSON.stringify([...selected]));
    else sessionStorage.removeItem(key);
  } catch {
    // storage is disabled
  }
}

/** Clears every list's selection, because its runs are about to change. */
function forgetAll() {
  try {
    for (const other of Object.keys(sessionStorage)) if (other.startsWith(prefix)) sessionStorage.removeItem(other);
  } catch {
    // storage is disabled
  }
}

const boxes = () => [...document.querySelectorAll(`${each}[name=ids]`)];

/** Returns a number of runs in words. */
export function formatRunCount(count) {
  return `${count.toLocaleString("en")} ${count === 1 ? "run" : "runs"}`;
}

/** Returns the ids of the selected runs, on this page and on others. */
export function selectedIds() {
  return [...selected];
}

/** Returns the ids of the selected runs that are not on this page. */
function elsewhere() {
  const here = new Set(boxes().map((box) => box.value));
  return selectedIds().filter((id) => !here.has(id));
}

/** Removes ids from the stored lists whose keys start with `prefix`, except the list `own`. */
export function removeStored(prefix, own, ids) {
  try {
    for (const other of Object.keys(sessionStorage)) {
      if (!other.startsWith(prefix) || other === own) continue;
      const remaining = JSON.parse(sessionStorage.getItem(other)).filter((id) => !ids.includes(id));
      sessionStorage.setItem(other, JSON.stringify(remaining));
    }
  } catch {
    // storage is disabled
  }
}

/** Removes runs from all selections that are no longer in any list. */
export function deselect(ids) {
  removeStored(prefix, key, ids);
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
  for (const place of bar.querySelectorAll("[data-selected]")) place.textContent = formatRunCount(selected.size);
}

/** Ticks the boxes of the selected runs, after the server has rendered them. */
function apply() {
  for (const box of boxes()) box.checked = selected.has(box.value);
  show();
}

function readBox(box) {
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
      readBox(box);
    }
  }
  last = target;
});
document.addEventListener("change", ({ target }) => {
  if (!target.matches(each)) return;
  if (target.id === "select-all") {
    for (const box of boxes()) {
      box.checked = target.checked;
      readBox(box);
    }
  } else {
    readBox(target);
  }
  store();
  show();
});
// Submit the selected runs on other pages with the list's form, too.
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

// An action on the selected runs clears the selection.
document.addEventListener("submit", ({ target }) => {
  if (target.matches(".chosen-acts form.write")) forgetAll();
});
