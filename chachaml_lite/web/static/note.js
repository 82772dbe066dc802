// The note in its editor: what is being written stays while the page keeps up, and Ctrl+Enter saves it.
function keep(editor) {
  const area = editor.querySelector("textarea");
  editor.toggleAttribute("data-kept", editor.open || area.value !== area.defaultValue);
  return area;
}

// It doesn't bubble, so it is caught on its way down.
document.addEventListener(
  "toggle",
  ({ target }) => {
    if (!target.matches("details.editor")) return;
    const area = keep(target);
    if (target.open) area.focus();
  },
  true,
);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !event.target.matches("[data-save]")) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});
