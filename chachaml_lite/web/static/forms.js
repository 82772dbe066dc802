// Forms that write send the API's JSON themselves, and show what it said in place. Without this script the server does
// the same from the form's fields (web/pages/writes.py); the rules of names are the same.
import { refresh } from "./live.js";
import { isUnsaved, saved } from "./note.js";

function read(form, submitter) {
  const sent = { ids: [], body: null, to: "", then: location.pathname };
  for (const [field, value] of new FormData(form, submitter)) {
    if (field === "to" || field === "then") {
      sent[field] = value;
    } else if (field === "ids") {
      sent.ids.push(value);
    } else if (!field.endsWith(":optional") || value) {
      sent.body ??= {};
      if (field.endsWith(":int")) sent.body[field.slice(0, -4)] = Number.parseInt(value, 10);
      else if (field.endsWith(":null")) sent.body[field.slice(0, -5)] = null;
      else if (/:(true|false)$/.test(field)) sent.body[field.replace(/:(true|false)$/, "")] = field.endsWith(":true");
      else sent.body[field.replace(/:optional$/, "")] = value;
    }
  }
  return sent;
}

async function send(method, path, body) {
  const options = { method };
  if (body) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  if (answer.ok) return;
  if (answer.status === 401) throw new Error("you are logged out: log in in another tab, and send this again");
  const said = await answer.json().catch(() => ({ error: answer.statusText, detail: "" }));
  throw new Error(said.detail ? `${said.error}: ${said.detail}` : said.error);
}

function complain(form, text) {
  let place = form.querySelector(":scope > .refused");
  if (!place) {
    place = document.createElement("p");
    place.className = "refused warn";
    place.setAttribute("role", "alert");
    form.append(place);
  }
  place.textContent = text;
}

async function submit(form, { to, then, ids, body }) {
  const [method, path] = to.split(" ");
  const root = form.action.replace(/\/forms$/, ""); // --url-prefix
  const paths = path.includes("{ids}") ? ids.map((id) => path.replace("{ids}", encodeURIComponent(id))) : [path];
  let done = 0;
  try {
    if (!paths.length) throw new Error("no run is chosen; tick the box of at least one");
    for (const each of paths) {
      await send(method, each.startsWith(`${root}/`) ? each : root + each, body);
      done += 1;
    }
  } catch (fault) {
    const earlier = paths.length > 1 ? ` (${done} of ${paths.length} were done before it)` : "";
    const what = fault instanceof TypeError ? "the server doesn't answer" : fault.message;
    complain(form, what + earlier);
    return;
  }
  saved(form);
  const here = location.pathname + location.search;
  if (then !== here) {
    location.assign(then);
  } else if (isUnsaved()) {
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
  const count = form.querySelectorAll("input[name=ids]:checked").length;
  if (count >= Number(least) && !(most && count > Number(most))) return true;
  const ticked = `${count} ${count === 1 ? "is" : "are"} ticked`;
  complain(form, most ? `tick ${least} to ${most} runs; ${ticked}` : "tick the box of at least one run");
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
  const sent = read(form, submitter); // before the button is disabled, for then its value counts no more
  if (submitter) submitter.disabled = true;
  try {
    await submit(form, sent);
  } finally {
    if (submitter) submitter.disabled = false;
  }
});

// A question that was opened is closed by Escape.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll("details.confirm[open]")) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});
