// The filter of the column chooser: shows only the names that contain the text, and opens their sections while there is one.

function filterNames(form, query) {
  const text = query.trim().toLowerCase();
  for (const group of form.querySelectorAll("fieldset")) {
    const labels = [...group.querySelectorAll("label:has(> input[type=checkbox])")];
    for (const label of labels) label.hidden = text !== "" && !label.title.toLowerCase().includes(text);
    for (const section of group.querySelectorAll("details")) {
      const hasMatch = section.querySelector("label:not([hidden])") !== null;
      section.hidden = !hasMatch;
      if (text) section.dataset.viewWas ??= String(section.open);
      if (text) section.open = hasMatch;
      else if (section.dataset.viewWas) {
        section.open = section.dataset.viewWas === "true";
        delete section.dataset.viewWas;
      }
    }
    group.hidden = text !== "" && labels.every((label) => label.hidden) && !group.querySelector("input[name=columns][size]");
  }
}

document.addEventListener("input", ({ target }) => {
  if (target.matches(".chooser input[type=search]")) filterNames(target.form, target.value);
});

// Enter must not submit the form.
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches?.(".chooser input[type=search]")) event.preventDefault();
});
