// Keyboard shortcuts: rows, search, and the elements with a data-key.
const help = document.getElementById("help");
let awaitsTarget = false; // after g

function isTyping(target) {
  return target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}

function rows() {
  return [...document.querySelectorAll("main table tbody tr[id]")];
}

function current() {
  return document.querySelector("tr[data-view-current]"); // the live update ignores such attributes
}

function move(by) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(current());
  const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
  current()?.removeAttribute("data-view-current");
  next.setAttribute("data-view-current", "");
  next.scrollIntoView({ block: "nearest" });
  (next.querySelector("a") ?? next).focus({ preventScroll: true });
}

/** Follows the link in the page's head with this key; returns whether there is one. */
function go(key) {
  const link = document.querySelector(`a[data-go="${CSS.escape(key)}"]`);
  if (link) location.assign(link.href);
  return link !== null;
}

const actions = {
  "/": () => {
    const box = document.querySelector("main input[type=search]");
    if (box) box.focus();
    else go("s");
  },
  j: () => move(1),
  k: () => move(-1),
  Enter: () => current()?.querySelector("a")?.click(),
  x: () => current()?.querySelector("input[type=checkbox]")?.click(),
  "?": () => help.showModal(),
  g: () => {
    awaitsTarget = true;
    setTimeout(() => (awaitsTarget = false), 1500);
  },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (help.open) return;
  // On a link or a button Enter keeps its usual function.
  if (event.key === "Enter" && event.target.closest("a, button, summary, input")) return;
  if (awaitsTarget && go(event.key)) {
    event.preventDefault();
    return;
  }
  awaitsTarget = false;
  const element = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  const action = element ? () => (element.matches("input") ? element.focus() : element.click()) : actions[event.key];
  if (action) {
    action();
    event.preventDefault();
  }
});

const button = document.getElementById("keys");
button.hidden = false;
button.addEventListener("click", () => help.showModal());
