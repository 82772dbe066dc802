// Sections of charts or metrics that are rendered when they are opened; the URL has the open ones.

/** Handles the sections of the page, including those added later. */
export function install(root) {
  // This event doesn't bubble, so it is handled in the capture phase.
  root.addEventListener(
    "toggle",
    ({ target }) => {
      if (!target.matches?.("details[data-section]")) return;
      const link = target.querySelector(":scope > p > a.loads");
      if (!target.open || !link || link.dataset.requested) return;
      link.dataset.requested = "true";
      const url = new URL(location.href);
      url.searchParams.append("open", target.dataset.section);
      history.replaceState(history.state, "", url);
      document.dispatchEvent(new CustomEvent("charts:changed"));
    },
    true,
  );
}
