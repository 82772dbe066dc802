// How a list was last looked at (columns, order, sparkline, how curves are drawn) is remembered in this browser, for each
// experiment; and of a metric whether less of it is better, as chosen in a comparison. A page whose URL says nothing of it
// goes on to the URL that does: the URL is what is shown, always wins, and is what is shared.
const fields = ["columns", "order_by", "spark", "x", "log_x", "log_y", "smoothing"];
const bestKey = "chachaml-best";

function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // storage is switched off: nothing is remembered
  }
}

function write(key, text) {
  try {
    if (text) localStorage.setItem(key, text);
    else localStorage.removeItem(key);
  } catch {
    // as above
  }
}

// -- lists

const keyOf = (url) => `chachaml-view ${url.pathname} ${url.searchParams.get("experiment") ?? ""}`;
const says = (url) => fields.some((name) => url.searchParams.has(name));

function viewOf(url) {
  return new URLSearchParams([...url.searchParams].filter(([name, text]) => fields.includes(name) && text)).toString();
}

function rememberList() {
  const began = new URL(location.href);
  if (began.searchParams.has("ids")) return;
  const key = keyOf(began);
  const kept = read(key);
  if (!document.querySelector("details.chooser")) {
    if (kept && viewOf(began) === kept) write(key, ""); // the server takes it no more
    return;
  }
  if (!says(began) && kept) {
    for (const [name, text] of new URLSearchParams(kept)) began.searchParams.append(name, text);
    location.replace(began);
    return;
  }
  let changed = says(began);
  const remember = () => {
    const url = new URL(location.href);
    changed ||= says(url); // the form of the charts changes the URL without another page
    if (changed) write(keyOf(url), viewOf(url));
  };
  remember();
  addEventListener("pagehide", remember);
  // A link of the page to itself as it is by default (Reset columns, a head) is a choice, too.
  document.getElementById("main").addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || url.pathname !== location.pathname || says(url)) return;
    if (url.searchParams.has("ids") || url.hash) return;
    removeEventListener("pagehide", remember);
    write(keyOf(url), "");
  });
}

// -- comparisons

function rememberBest() {
  const url = new URL(location.href);
  const chosen = new Map(JSON.parse(read(bestKey) ?? "[]"));
  const said = url.searchParams.getAll("best").filter((text) => /^(least|most):./s.test(text));
  if (said.length) {
    for (const text of said) chosen.set(text.slice(text.indexOf(":") + 1), text.slice(0, text.indexOf(":")));
    write(bestKey, JSON.stringify([...chosen].slice(-200)));
    return;
  }
  for (const button of document.querySelectorAll("button.way[name=best]")) {
    const key = button.value.slice(button.value.indexOf(":") + 1);
    const now = { "↓": "least", "↑": "most" }[button.textContent.trim()];
    if (chosen.has(key) && chosen.get(key) !== now) url.searchParams.append("best", `${chosen.get(key)}:${key}`);
  }
  if (url.searchParams.has("best")) location.replace(url);
}

rememberList();
if (document.querySelector("button.way[name=best]")) rememberBest();
