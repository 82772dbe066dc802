// The names in a legend are buttons that hide and show their series.

/** The hidden series of each figure, by their names: they stay hidden when the server draws the chart anew. */
const hidden = new Map();

/** Bring a figure, as the server has just made it, to what was chosen. */
export function apply(figure) {
  const names = hidden.get(figure.id) ?? new Set();
  for (const series of figure.querySelectorAll("g.series")) {
    // An attribute whose name begins so is left alone by the live update.
    series.toggleAttribute("data-view-hidden", names.has(series.dataset.label));
  }
  for (const button of figure.querySelectorAll(".legend button")) {
    button.disabled = false;
    button.setAttribute("aria-pressed", String(!names.has(button.title)));
  }
}

/** Make one element serve the legends within it, also those that come later. */
export function install(root) {
  root.addEventListener("click", (event) => {
    const button = event.target.closest("figure .legend button");
    if (!button) return;
    const figure = button.closest("figure");
    const names = hidden.get(figure.id) ?? new Set();
    if (!names.delete(button.title)) names.add(button.title);
    hidden.set(figure.id, names);
    apply(figure);
  });
}
