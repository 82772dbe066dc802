// Live update: the page requests itself periodically and adopts the changes within elements [data-live].
//
// So the page's appearance is defined in one place, the server's templates. While nothing has changed, a request only
// costs the server a look at its counters (304); a hidden tab sends none.
const intervalMs = 2000;
const maxPauseMs = 30_000;
/** The pause between requests, as a multiple of the last response time: a busy server gets fewer requests. */
const pauseFactor = 10;
const connection = document.getElementById("connection");
let etag = document.querySelector("meta[name=etag]")?.content;
let pauseMs = intervalMs;
let retryMs = 0;
let isPaused = false;
let problem = "";

/** Turns `old` into `fresh`, keeping the user's state: focus, ticked boxes, opened details, typed text. */
export function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return old;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = fresh.nodeValue;
    return old;
  }
  if (old.hasAttribute("data-kept") || (old.open && old.hasAttribute("data-kept-open"))) {
    // The user is editing this element.
    old.dispatchEvent(new CustomEvent("live:kept", { bubbles: true, detail: fresh }));
    return old;
  }
  for (const { name } of [...old.attributes]) {
    // A focused chart would lose the focus together with its tabindex.
    if (!fresh.hasAttribute(name) && !["open", "checked", "tabindex"].includes(name) && !name.startsWith("data-view")) {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !(name === "open" && old.nodeName === "DETAILS")) old.setAttribute(name, value);
  }
  if (["INPUT", "TEXTAREA", "SELECT"].includes(old.nodeName)) return old; // keep the user's input
  morphChildren(old, fresh);
  return old;
}

function morphChildren(old, fresh) {
  const oldById = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  const freshIds = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    while (at && at.id && !freshIds.has(at.id) && !isTicked(at)) {
      const removed = at;
      at = at.nextSibling;
      removed.remove();
    }
    const same = child.id ? oldById.get(child.id) : at && !at.id && at.nodeName === child.nodeName ? at : null;
    if (same) {
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      morph(same, child);
    } else {
      const added = old.insertBefore(child, at);
      if (added.id && oldById.size) added.classList.add("arrived");
    }
  }
  while (at) {
    const removed = at;
    at = at.nextSibling;
    if (!isTicked(removed)) removed.remove();
  }
}

/** Returns whether a node is a selected row, which stays even if newer ones have pushed it off the page. */
function isTicked(node) {
  return node.nodeName === "TR" && node.querySelector("input[name=ids]:checked") !== null;
}

/** Updates the page to a new rendering from the server. */
export function adopt(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  // A nested part is updated with the outer one: a second update would compare it with an emptied one.
  const parts = [...fresh.querySelectorAll("[data-live]")].filter((part) => !part.parentElement.closest("[data-live]"));
  if (!parts.length && document.querySelector("[data-live]")) {
    showStatus("this page has changed; reload it");
    return;
  }
  for (const part of parts) {
    const old = document.getElementById(part.id);
    if (old) morph(old, part);
  }
  document.title = fresh.title;
  document.dispatchEvent(new CustomEvent("live:updated"));
}

/** Returns the reason on an error page, or "". */
export function reasonIn(text) {
  const fault = new DOMParser().parseFromString(text, "text/html").querySelector("#main > p[role=alert]");
  return fault?.textContent ?? "";
}

function showStatus(text) {
  if (connection.textContent !== text) connection.textContent = text;
}

/** Requests the page once; returns whether to continue. `isPatient`: a rendering of a moment ago is acceptable. */
async function poll(isPatient) {
  const headers = etag ? { "If-None-Match": `"${etag}"` } : {};
  if (isPatient) headers["Cache-Control"] = `max-age=${intervalMs / 1000}`;
  const requestedUrl = location.href;
  const start = performance.now();
  const response = await fetch(requestedUrl, { headers, cache: "no-store" });
  retryMs = Math.max(pauseFactor * (performance.now() - start), 1000 * (Number(response.headers.get("Retry-After")) || 0));
  if (location.href !== requestedUrl) return true; // outdated: the form was changed in the meantime
  if (response.redirected || response.status === 401) {
    showStatus("logged out; reload the page");
    return false;
  }
  if (response.status === 404) {
    showStatus("this no longer exists");
    return false;
  }
  if (response.ok) {
    const text = await response.text();
    if (location.href !== requestedUrl) return true;
    adopt(text);
    etag = response.headers.get("ETag")?.replace(/^W\//, "").replaceAll('"', "");
    problem = "";
  } else if (response.status === 503 && response.headers.has("Retry-After")) {
    return true; // it is busy with other clients, and the page is not very outdated
  } else if (response.status >= 400 && response.status < 500) {
    problem = reasonIn(await response.text()) || "this page can't be shown at its current URL; reload it";
  } else if (response.status !== 304) {
    throw new Error(response.statusText);
  }
  return true;
}

/** Updates the page immediately, without reloading it. */
export async function refresh() {
  await poll(false);
}

async function pollRegularly() {
  isPaused = document.hidden;
  if (isPaused) return;
  let shouldContinue = true;
  try {
    shouldContinue = await poll(true);
    if (shouldContinue) showStatus(problem);
    pauseMs = Math.min(maxPauseMs, Math.max(intervalMs, retryMs));
  } catch {
    showStatus("server unreachable");
    pauseMs = Math.min(maxPauseMs, pauseMs * 2);
  }
  if (shouldContinue) setTimeout(pollRegularly, pauseMs);
}

if (document.querySelector("[data-live]")) {
  setTimeout(pollRegularly, intervalMs);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && isPaused) pollRegularly();
  });
}
