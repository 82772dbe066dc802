// Live update: the page requests itself periodically and adopts the changes within elements [data-live].
//
// So only the server's templates determine how anything looks. While nothing has changed, a request only costs the
// server a look at its counters (304); a hidden tab sends none.
const everyMs = 2000;
const patienceMs = 30_000;
/** The pause between requests, as a multiple of the last response time: a busy server gets fewer requests. */
const patience = 10;
const connection = document.getElementById("connection");
let etag = document.querySelector("meta[name=etag]")?.content;
let delay = everyMs;
let retryMs = 0;
let paused = false;
let refused = "";

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
    // The user is working in it.
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
  const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  const coming = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    while (at && at.id && !coming.has(at.id) && !isTicked(at)) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
    const same = child.id ? known.get(child.id) : at && !at.id && at.nodeName === child.nodeName ? at : null;
    if (same) {
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      morph(same, child);
    } else {
      const added = old.insertBefore(child, at);
      if (added.id && known.size) added.classList.add("arrived");
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    if (!isTicked(gone)) gone.remove();
  }
}

/** Returns whether a node is a selected row, which stays even if newer ones have pushed it off the page. */
function isTicked(node) {
  return node.nodeName === "TR" && node.querySelector("input[name=ids]:checked") !== null;
}

/** Adopts the differences of a page that the server has just rendered. */
export function take(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  // A nested part is updated with the outer one: a second update would compare it with an emptied one.
  const parts = [...fresh.querySelectorAll("[data-live]")].filter((part) => !part.parentElement.closest("[data-live]"));
  if (!parts.length && document.querySelector("[data-live]")) {
    say("this page has changed; reload it");
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

function say(text) {
  if (connection.textContent !== text) connection.textContent = text;
}

/** Requests the page once; returns whether to continue. `isPatient`: a rendering of a moment ago is acceptable. */
async function ask(isPatient) {
  const headers = etag ? { "If-None-Match": `"${etag}"` } : {};
  if (isPatient) headers["Cache-Control"] = `max-age=${everyMs / 1000}`;
  const asked = location.href;
  const began = performance.now();
  const answer = await fetch(asked, { headers, cache: "no-store" });
  retryMs = Math.max(patience * (performance.now() - began), 1000 * (Number(answer.headers.get("Retry-After")) || 0));
  if (location.href !== asked) return true; // outdated: the form was changed meanwhile
  if (answer.redirected || answer.status === 401) {
    say("logged out; reload the page");
    return false;
  }
  if (answer.status === 404) {
    say("this no longer exists");
    return false;
  }
  if (answer.ok) {
    const text = await answer.text();
    if (location.href !== asked) return true;
    take(text);
    etag = answer.headers.get("ETag")?.replace(/^W\//, "").replaceAll('"', "");
    refused = "";
  } else if (answer.status === 503 && answer.headers.has("Retry-After")) {
    return true; // it is busy with other clients, and the page is not very outdated
  } else if (answer.status >= 400 && answer.status < 500) {
    refused = reasonIn(await answer.text()) || "this page can't be shown at its current URL; reload it";
  } else if (answer.status !== 304) {
    throw new Error(answer.statusText);
  }
  return true;
}

/** Adopts all changes immediately, without reloading the page. */
export async function refresh() {
  await ask(false);
}

async function round() {
  paused = document.hidden;
  if (paused) return;
  let goOn = true;
  try {
    goOn = await ask(true);
    if (goOn) say(refused);
    delay = Math.min(patienceMs, Math.max(everyMs, retryMs));
  } catch {
    say("server unreachable");
    delay = Math.min(patienceMs, delay * 2);
  }
  if (goOn) setTimeout(round, delay);
}

if (document.querySelector("[data-live]")) {
  setTimeout(round, everyMs);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && paused) round();
  });
}
