// The names in a legend are buttons that hide and show their series.

/** The names of each figure's hidden series, which stay hidden when the server redraws the chart. */
const hidden = new Map();

/** Hides the chosen series of a figure that the server has just rendered. */
export function apply(figure) {
  const names = hidden.get(figure.id) ?? new Set();
  for (const series of figure.querySelectorAll("g.series")) {
    // The live update ignores attributes with this prefix.
    series.toggleAttribute("data-view-hidden", names.has(series.dataset.label));
  }
  for (const button of figure.querySelectorAll(".legend button")) {
    button.disabled = false;
    button.setAttribute("aria-pressed", String(!names.has(button.title)));
  }
}

/** Handles the legends within an element, including those added later. */
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
