// Stores the last settings of pages in this browser: the columns, order and sparkline of each list, and the grouping of
// an experiment's curves; the settings of charts for each experiment, on all its pages; and for each metric whether
// less of it is better, as chosen in a comparison. A page whose URL lacks one of these redirects to the URL that has
// it: the URL determines what is shown, always takes precedence, and can be shared.
const bestKey = "chachaml-best";
const charts = () => document.querySelector("form.chart-controls[data-experiment]");

function listKey(name, url) {
  return `${name} ${url.pathname} ${url.searchParams.get("experiment") ?? ""}`;
}

/** Settings that are stored together: `key` returns the key, `isHere` whether this page has them. */
const views = [
  {
    fields: ["columns", "order_by", "spark"],
    key: (url) => listKey("chachaml-view", url),
    isHere: () => document.querySelector("details.chooser#columns") !== null,
  },
  {
    fields: ["by", "band"],
    key: (url) => listKey("chachaml-groups", url),
    isHere: () => charts()?.elements.by !== undefined,
  },
  {
    fields: ["x", "log_x", "log_y", "smoothing"],
    key: () => (charts() ? `chachaml-charts ${charts().dataset.experiment}` : ""),
    isHere: () => charts() !== null,
  },
];

function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // storage is disabled: nothing is stored
  }
}

function write(key, text) {
  try {
    if (text) localStorage.setItem(key, text);
    else localStorage.removeItem(key);
  } catch {
    // storage is disabled
  }
}

const hasFields = (url, { fields }) => fields.some((name) => url.searchParams.has(name));

function settingsIn(url, { fields }) {
  return new URLSearchParams([...url.searchParams].filter(([name, text]) => fields.includes(name) && text)).toString();
}

// -- an error page

/** Removes stored settings that the server doesn't accept any more, so that the page can be opened again. */
function removeRejected(url) {
  const keys = views.slice(0, 2).map((view) => view.key(url));
  try {
    keys.push(...Object.keys(localStorage).filter((key) => key.startsWith("chachaml-charts ")));
  } catch {
    return; // storage is disabled
  }
  for (const key of keys) {
    const stored = read(key);
    if (stored && views.some((view) => settingsIn(url, view) === stored)) write(key, "");
  }
}

// -- lists and charts

/** Adds to `url` the stored settings that it lacks. */
function restoreViews(url) {
  for (const view of views) {
    if (!view.isHere() || hasFields(url, view)) continue;
    for (const [name, text] of new URLSearchParams(read(view.key(url)) ?? "")) url.searchParams.append(name, text);
  }
}

function rememberView(view) {
  let hasChanged = false;
  const remember = () => {
    const url = new URL(location.href);
    hasChanged ||= hasFields(url, view); // the charts' form changes the URL without loading a page
    if (hasChanged && view.isHere()) write(view.key(url), settingsIn(url, view));
  };
  remember();
  addEventListener("pagehide", remember);
  return () => removeEventListener("pagehide", remember);
}

function rememberViews() {
  const [forgetList] = views.map((view) => (view.isHere() ? rememberView(view) : () => {}));
  const [list] = views;
  if (!list.isHere()) return;
  // A link to the same page with its defaults (Reset columns, a head) is a choice, too.
  document.getElementById("main").addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || url.pathname !== location.pathname || hasFields(url, list)) return;
    if (url.searchParams.has("ids") || url.hash) return;
    forgetList();
    write(list.key(url), "");
  });
}

// -- comparisons

/** Stores the directions of metrics in the URL, if any; else adds the stored ones to `url`. */
function restoreBest(url) {
  const directions = new Map(JSON.parse(read(bestKey) ?? "[]"));
  const urlDirections = url.searchParams.getAll("best").filter((text) => /^(least|most):./s.test(text));
  if (urlDirections.length) {
    for (const text of urlDirections) directions.set(text.slice(text.indexOf(":") + 1), text.slice(0, text.indexOf(":")));
    write(bestKey, JSON.stringify([...directions].slice(-200)));
    return;
  }
  for (const button of document.querySelectorAll("button.way[name=best]")) {
    const key = button.value.slice(button.value.indexOf(":") + 1);
    const now = { "↓": "least", "↑": "most" }[button.textContent.trim()];
    if (directions.has(key) && directions.get(key) !== now) url.searchParams.append("best", `${directions.get(key)}:${key}`);
  }
}

const url = new URL(location.href);
if (document.querySelector("#main > p[role=alert]")) {
  removeRejected(url);
} else {
  const isOfSelectedRuns = url.searchParams.has("ids") && !charts(); // such a page is only viewed once
  if (!isOfSelectedRuns) restoreViews(url);
  restoreBest(url);
  if (url.href !== location.href) location.replace(url);
  else if (!isOfSelectedRuns) rememberViews();
}
