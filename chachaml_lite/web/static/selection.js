// Runs that are selected in a list stay so over its orders, filters and pages, as long as the tab is open; a box for all
// of a page, Shift and a click for those between; and a bar that says how many there are.

const list = document.getElementById("chosen");
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
    for (const each of Object.keys(sessionStorage)) if (each.startsWith(prefix)) sessionStorage.removeItem(each);
  } catch {
    // as above
  }
}

const boxes = () => [...list.querySelectorAll("#runs input[type=checkbox][name=ids]")];

/** Those that are selected and not on this page go along with the form. */
function carry(here) {
  const elsewhere = [...selected].filter((id) => !here.has(id));
  let place = document.getElementById("selected-elsewhere");
  if (!place) {
    place = document.createElement("div");
    place.id = "selected-elsewhere";
    place.hidden = true;
    list.append(place);
  }
  place.replaceChildren(
    ...elsewhere.map((id) => Object.assign(document.createElement("input"), { type: "hidden", name: "ids", value: id })),
  );
  return elsewhere.length;
}

function show() {
  const all = boxes();
  const here = new Set(all.map((box) => box.value));
  const elsewhere = carry(here);
  const ticked = all.filter((box) => box.checked).length;
  const whole = document.getElementById("select-all");
  if (whole) {
    whole.checked = all.length > 0 && ticked === all.length;
    whole.indeterminate = ticked > 0 && ticked < all.length;
  }
  list.toggleAttribute("data-view-selected", selected.size > 0);
  const count = list.querySelector(".selected-count");
  if (count) count.textContent = selected.size ? `${selected.size} selected${elsewhere ? ` (${elsewhere} not on this page)` : ""}` : "Selected:";
  const clear = list.querySelector("button.clear");
  if (clear) clear.hidden = !selected.size;
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

function changed() {
  store();
  show();
}

if (list) {
  list.addEventListener("click", ({ target, shiftKey }) => {
    if (target.matches("button.clear")) {
      selected = new Set();
      store();
      apply();
    }
    if (!target.matches("#runs input[type=checkbox][name=ids]")) return;
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
  list.addEventListener("change", ({ target }) => {
    if (target.id === "select-all") {
      for (const box of boxes()) {
        box.checked = target.checked;
        take(box);
      }
    } else if (target.name === "ids") {
      take(target);
    }
    changed();
  });
  apply();
  document.addEventListener("live:updated", apply);
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    selected = load();
    apply();
  });
}

// What is done with the runs of a selection ends it.
document.addEventListener("submit", ({ target }) => {
  if (target.matches(".chosen-acts form.write")) forgetAll();
});
