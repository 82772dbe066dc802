// Sets the theme chosen by the user before anything is painted; without a choice it is the system's.
(() => {
  const key = "chachaml-theme";
  const themes = ["auto", "light", "dark"];
  const root = document.documentElement;

  function storedTheme() {
    try {
      const theme = localStorage.getItem(key);
      return themes.includes(theme) ? theme : "auto";
    } catch {
      return "auto"; // storage is disabled: the choice lasts as long as the page
    }
  }

  function apply(theme) {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }

  let theme = storedTheme();
  apply(theme);

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => {
      const icon = { auto: "◐", light: "☀", dark: "☾" }[theme];
      button.textContent = icon;
      button.title = `Theme: ${theme}`;
      button.setAttribute("aria-label", `Theme: ${theme}`);
    };
    button.hidden = false;
    show();
    button.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      try {
        localStorage.setItem(key, theme);
      } catch {
        // storage is disabled
      }
      apply(theme);
      show();
    });
  });
})();
