// Actions of a list's bar on the selected runs, including those on other pages: tag, delete, restore. The user
// stays on the page, which offers to undo a deletion until the tab is closed or the offer is dismissed.
import { deselect, formatRunCount, removeStored, selectedIds } from "./selection.js";

const prefix = "chachaml-trashed ";
const key = `${prefix}${location.pathname}`;
const undo = document.getElementById("undo");

function load() {
  try {
    return JSON.parse(sessionStorage.getItem(key) ?? "[]");
  } catch {
    return []; // storage is disabled: the offer lasts as long as the page
  }
}

let trashedIds = load();

function offerUndo(ids) {
  trashedIds = ids;
  try {
    if (ids.length) sessionStorage.setItem(key, JSON.stringify(ids));
    else sessionStorage.removeItem(key);
  } catch {
    // storage is disabled
  }
  if (!undo) return;
  undo.hidden = !ids.length;
  undo.querySelector("p").textContent = ids.length ? `${formatRunCount(ids.length)} moved to the trash.` : "";
}

/** Withdraws the offer, on all pages, for runs that have left the trash. */
function withdraw(ids) {
  removeStored(prefix, key, ids);
  offerUndo(trashedIds.filter((id) => !ids.includes(id)));
}

function showMessage(text) {
  const place = document.querySelector(".selection-bar .said");
  if (!place) return;
  place.setAttribute("role", "status");
  place.classList.remove("warn");
  place.textContent = text;
}

// Add the runs to the forms' data, whichever script creates it.
document.addEventListener("formdata", ({ target: form, formData }) => {
  if (!form.matches("form.in-place")) return;
  formData.set("then", location.pathname + location.search);
  for (const id of form.closest("#undo") ? trashedIds : selectedIds()) formData.append("ids", id);
});

document.addEventListener("form:sent", ({ target: form, detail: fields }) => {
  if (!form.matches("form.in-place")) return;
  const ids = fields.getAll("ids");
  const { done } = form.querySelector("button").dataset;
  if (done && done !== "tagged") withdraw(ids);
  if (!form.closest("#undo") && done !== "tagged") deselect(ids);
  showMessage(done ? `${formatRunCount(ids.length)} ${done}` : "");
  if (done) return;
  offerUndo(ids);
  undo?.querySelector("button").focus();
});

// The message was about the previous selection.
document.addEventListener("change", ({ target }) => {
  if (target.matches("#chosen input[type=checkbox]")) showMessage("");
});

if (undo) {
  undo.querySelector("button.plain").addEventListener("click", () => offerUndo([]));
  addEventListener("pageshow", () => offerUndo(load()));
}
