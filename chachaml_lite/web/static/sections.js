// Sections of charts or metrics that are made when they are opened: the URL says which are open.

/** Serve sections of the page, also those that come later. */
export function install(root) {
  // It doesn't bubble, so it is caught on its way down.
  root.addEventListener(
    "toggle",
    ({ target }) => {
      if (!target.matches?.("details[data-section]")) return;
      const link = target.querySelector(":scope > p > a.loads");
      if (!target.open || !link || link.dataset.asked) return;
      link.dataset.asked = "true";
      const url = new URL(location.href);
      url.searchParams.append("open", target.dataset.section);
      history.replaceState(history.state, "", url);
      document.dispatchEvent(new CustomEvent("charts:changed"));
    },
    true,
  );
}
