// Submits a form [data-auto-submit] when one of its selects changes. The next page is another document: the same select
// gets the focus there, so that people can continue through its options with the keyboard.
const key = "chachaml-changed";

document.addEventListener("change", ({ target }) => {
  const form = target.closest?.("form[data-auto-submit]");
  if (!form || target.nodeName !== "SELECT") return;
  try {
    sessionStorage.setItem(key, JSON.stringify([location.pathname, target.name]));
  } catch {
    // storage is disabled: the focus is at the beginning of the page
  }
  form.requestSubmit();
});

try {
  const [path, name] = JSON.parse(sessionStorage.getItem(key) ?? "[]");
  sessionStorage.removeItem(key);
  if (path === location.pathname) {
    document.querySelector(`form[data-auto-submit] select[name="${CSS.escape(name)}"]`)?.focus({ preventScroll: true });
  }
} catch {
  // storage is disabled
}

// A form with nothing but selects doesn't need its button.
for (const button of document.querySelectorAll("form[data-auto-submit] button[data-without-script]")) button.hidden = true;
