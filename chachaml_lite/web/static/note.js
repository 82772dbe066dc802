// The editor of a note or a description: unsaved text survives the live update and is not lost by following a link;
// Ctrl+Enter saves it; and a warning appears if someone else has saved another text in the meantime.
const editors = "details.editor";

function protect(editor) {
  const area = editor.querySelector("textarea");
  editor.toggleAttribute("data-kept", editor.open || area.value !== area.defaultValue);
  return area;
}

/** Returns whether there is unsaved text on this page. */
export function isUnsaved() {
  return [...document.querySelectorAll(`${editors} textarea`)].some((area) => area.value !== area.defaultValue);
}

/** Marks the text of a form as saved. */
export function markSaved(form) {
  for (const area of form.querySelectorAll("textarea")) area.defaultValue = area.value;
}

// This event doesn't bubble, so it is handled in the capture phase.
document.addEventListener(
  "toggle",
  ({ target }) => {
    if (!target.matches(editors)) return;
    const area = protect(target);
    if (target.open) area.focus();
  },
  true,
);

document.addEventListener("live:kept", ({ target, detail: fresh }) => {
  if (!target.matches(editors) || target.querySelector(".meanwhile")) return;
  if (fresh.querySelector("textarea").defaultValue === target.querySelector("textarea").defaultValue) return;
  const warning = document.createElement("p");
  warning.className = "meanwhile warn";
  warning.setAttribute("role", "status");
  warning.textContent = `${target.dataset.what} has been changed in the meantime, as shown above. Saving replaces it with yours.`;
  target.querySelector("form").append(warning);
});

window.addEventListener("beforeunload", (event) => {
  if (isUnsaved()) event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !event.target.matches("[data-save]")) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});
