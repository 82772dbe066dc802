// A note, or a description, in its editor: what is being written stays while the page keeps up and is not lost by a
// link; Ctrl+Enter saves it; and who saves over what somebody else has written meanwhile is told so before.
const editors = "details.editor";

function keep(editor) {
  const area = editor.querySelector("textarea");
  editor.toggleAttribute("data-kept", editor.open || area.value !== area.defaultValue);
  return area;
}

/** Whether something on this page is written and not saved. */
export function isUnsaved() {
  return [...document.querySelectorAll(`${editors} textarea`)].some((area) => area.value !== area.defaultValue);
}

/** What a form held is stored now. */
export function saved(form) {
  for (const area of form.querySelectorAll("textarea")) area.defaultValue = area.value;
}

// It doesn't bubble, so it is caught on its way down.
document.addEventListener(
  "toggle",
  ({ target }) => {
    if (!target.matches(editors)) return;
    const area = keep(target);
    if (target.open) area.focus();
  },
  true,
);

document.addEventListener("live:kept", ({ target, detail: fresh }) => {
  if (!target.matches(editors) || target.querySelector(".meanwhile")) return;
  if (fresh.querySelector("textarea").defaultValue === target.querySelector("textarea").defaultValue) return;
  const told = document.createElement("p");
  told.className = "meanwhile warn";
  told.setAttribute("role", "status");
  told.textContent = `${target.dataset.what} has been changed in the meantime, as shown above. Saving replaces it with yours.`;
  target.querySelector("form").append(told);
});

window.addEventListener("beforeunload", (event) => {
  if (isUnsaved()) event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !event.target.matches("[data-save]")) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});
