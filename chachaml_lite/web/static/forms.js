// Submits forms that write, so that errors are shown in place and the user's input is kept. Without this script the
// browser submits them to the same action (web/pages/writes.py), and an error is a page of its own.
import { refresh } from "./live.js";
import { isUnsaved, markSaved } from "./note.js";

/** Posts a form's fields, as the browser would. Throws an Error with the reason if they are rejected. */
async function send(action, fields) {
  const headers = { Accept: "application/json" }; // for errors; the next page is not fetched here
  const response = await fetch(action, { method: "POST", headers, body: new URLSearchParams(fields), redirect: "manual" });
  if (response.ok || response.type === "opaqueredirect") return;
  if (response.status === 401) throw new Error("you are logged out: log in in another tab, and send this again");
  const { error, detail } = await response.json().catch(() => ({ error: response.statusText }));
  throw new Error(detail ? `${error}: ${detail}` : error);
}

/** Returns the visible place for a message: next to the button in the bar of a list; null for other forms. */
function placeInBar(form) {
  const place = form.id === "chosen" ? document.querySelector(".selection-bar .said") : null;
  place?.classList.add("warn");
  place?.setAttribute("role", "alert");
  return place;
}

function showError(form, text) {
  let place = form.querySelector(":scope > .refused") ?? placeInBar(form);
  if (!place) {
    place = document.createElement("p");
    place.className = "refused warn";
    place.setAttribute("role", "alert");
    form.append(place);
  }
  place.textContent = text;
}

async function submit(form, fields) {
  try {
    await send(form.action, fields);
  } catch (fault) {
    showError(form, fault instanceof TypeError ? "server unreachable" : fault.message);
    return;
  }
  markSaved(form);
  form.dispatchEvent(new CustomEvent("form:sent", { bubbles: true, detail: fields }));
  const here = location.pathname + location.search;
  const then = fields.get("then");
  if (then !== here) {
    location.assign(then);
  } else if (form.matches(".in-place") || isUnsaved()) {
    // Reloading would lose unsaved text elsewhere on the page.
    form.reset();
    form.closest("details")?.removeAttribute("open");
    await refresh();
  } else {
    location.reload();
  }
}

/** Returns whether enough, and not too many, boxes are ticked for a button of a list; if not, shows a message. */
function hasValidCount(form, { least, most }) {
  const count = new FormData(form).getAll("ids").length;
  if (count >= Number(least) && !(most && count > Number(most))) return true;
  const selectedText = `${count} ${count === 1 ? "is" : "are"} selected`;
  showError(form, most ? `select ${least} to ${most} runs; ${selectedText}` : "select at least one run");
  return false;
}

document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  form.querySelector(":scope > .refused")?.remove();
  if (submitter?.dataset.least && !hasValidCount(form, submitter.dataset)) {
    event.preventDefault();
    return;
  }
  if (!form.matches("form.write") || event.defaultPrevented) return;
  event.preventDefault();
  const fields = new FormData(form, submitter); // before the button is disabled, which would drop its value
  if (submitter) submitter.disabled = true;
  try {
    await submit(form, fields);
  } finally {
    if (submitter) submitter.disabled = false;
  }
});

// Opening a form by its button focuses its first field. (A form that the live update opens doesn't take the focus.)
document.addEventListener("toggle", (event) => {
  const { target: details } = event;
  if (!details.matches?.("details.confirm[open]") || document.activeElement !== details.querySelector("summary")) return;
  details.querySelector("input:not([type=hidden]), textarea, select")?.focus();
}, true);

// Escape closes an open confirmation.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll("details.confirm[open]")) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});
