// Forms that write are sent by this script, so that what is refused is said in place, and what was typed stays. Without
// it the browser sends them to the same action (web/pages/writes.py), and an error is a page of its own.
import { refresh } from "./live.js";
import { isUnsaved, saved } from "./note.js";

/** Post a form's fields, as the browser would. Throws an Error that says what was refused. */
async function send(action, fields) {
  const headers = { Accept: "application/json" }; // of errors; the page that follows is not fetched here
  const answer = await fetch(action, { method: "POST", headers, body: new URLSearchParams(fields), redirect: "manual" });
  if (answer.ok || answer.type === "opaqueredirect") return;
  if (answer.status === 401) throw new Error("you are logged out: log in in another tab, and send this again");
  const { error, detail } = await answer.json().catch(() => ({ error: answer.statusText }));
  throw new Error(detail ? `${error}: ${detail}` : error);
}

/** Where it is in sight: beside the button, which stands in the bar of a list; null for other forms. */
function placeInBar(form) {
  const place = form.id === "chosen" ? document.querySelector(".selection-bar .said") : null;
  place?.classList.add("warn");
  place?.setAttribute("role", "alert");
  return place;
}

function complain(form, text) {
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
    complain(form, fault instanceof TypeError ? "server unreachable" : fault.message);
    return;
  }
  saved(form);
  form.dispatchEvent(new CustomEvent("form:sent", { bubbles: true, detail: fields }));
  const here = location.pathname + location.search;
  const then = fields.get("then");
  if (then !== here) {
    location.assign(then);
  } else if (form.matches(".in-place") || isUnsaved()) {
    // Loaded again, the page would lose what is being written elsewhere on it.
    form.reset();
    form.closest("details")?.removeAttribute("open");
    await refresh();
  } else {
    location.reload();
  }
}

/** Whether as many boxes are ticked as a button of a list takes; if not, it is said. */
function suffices(form, { least, most }) {
  const count = new FormData(form).getAll("ids").length;
  if (count >= Number(least) && !(most && count > Number(most))) return true;
  const ticked = `${count} ${count === 1 ? "is" : "are"} selected`;
  complain(form, most ? `select ${least} to ${most} runs; ${ticked}` : "select at least one run");
  return false;
}

document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  form.querySelector(":scope > .refused")?.remove();
  if (submitter?.dataset.least && !suffices(form, submitter.dataset)) {
    event.preventDefault();
    return;
  }
  if (!form.matches("form.write") || event.defaultPrevented) return;
  event.preventDefault();
  const fields = new FormData(form, submitter); // before the button is disabled, for then its value counts no more
  if (submitter) submitter.disabled = true;
  try {
    await submit(form, fields);
  } finally {
    if (submitter) submitter.disabled = false;
  }
});

// Whoever opens a form by its button goes on in its first field. (One that the live update opens again keeps the focus.)
document.addEventListener("toggle", (event) => {
  const { target: details } = event;
  if (!details.matches?.("details.confirm[open]") || document.activeElement !== details.querySelector("summary")) return;
  details.querySelector("input:not([type=hidden]), textarea, select")?.focus();
}, true);

// A question that was opened is closed by Escape.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll("details.confirm[open]")) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});
