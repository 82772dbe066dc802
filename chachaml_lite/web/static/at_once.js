// A select of a form [data-at-once] is sent when it changes. The page that follows is another document: there the same
// select has the focus again, so that whoever goes through its options by the keyboard can go on.
const key = "chachaml-changed";

document.addEventListener("change", ({ target }) => {
  const form = target.closest?.("form[data-at-once]");
  if (!form || target.nodeName !== "SELECT") return;
  try {
    sessionStorage.setItem(key, JSON.stringify([location.pathname, target.name]));
  } catch {
    // storage is switched off: the focus is at the beginning of the page
  }
  form.requestSubmit();
});

try {
  const [path, name] = JSON.parse(sessionStorage.getItem(key) ?? "[]");
  sessionStorage.removeItem(key);
  if (path === location.pathname) {
    document.querySelector(`form[data-at-once] select[name="${CSS.escape(name)}"]`)?.focus({ preventScroll: true });
  }
} catch {
  // as above
}

// A form of selects alone needs its button no more.
for (const button of document.querySelectorAll("form[data-at-once] button[data-without-script]")) button.hidden = true;
