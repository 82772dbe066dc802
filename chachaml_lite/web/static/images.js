// A slider for the images of a series, which shows each of them in place of the page's own. Without it they are links.
// The next page is another document: the slider gets the focus there, so that the arrow keys continue to work.
const strip = document.getElementById("steps");
const key = "chachaml-step";
if (strip) {
  const links = [...strip.querySelectorAll("a")];
  const picture = document.querySelector(".picture img");
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: links.length - 1, step: 1 });
  slider.value = links.findIndex((link) => link.hasAttribute("aria-current"));
  slider.setAttribute("aria-label", "Step");
  const output = document.createElement("output");
  const show = () => {
    const link = links[slider.value];
    for (const each of links) each.toggleAttribute("aria-current", each === link);
    output.value = link.dataset.step;
    if (picture) {
      picture.src = link.dataset.image;
      picture.alt = link.title;
    }
    link.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  slider.addEventListener("input", show);
  slider.addEventListener("change", () => {
    const { href, pathname } = links[slider.value];
    try {
      sessionStorage.setItem(key, pathname);
    } catch {
      // storage is disabled: the focus is at the beginning of the page
    }
    location.replace(href);
  });
  output.value = links[slider.value]?.dataset.step ?? "";
  const line = document.createElement("p");
  line.className = "slider";
  line.append(slider, output);
  strip.before(line);
  try {
    if (sessionStorage.getItem(key) === location.pathname) slider.focus({ preventScroll: true });
    sessionStorage.removeItem(key);
  } catch {
    // storage is disabled
  }
}
