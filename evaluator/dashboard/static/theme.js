// Light or dark: what the system prefers, unless chosen here. Runs before anything is painted, so nothing flashes.
(() => {
  const read = () => {
    try { return localStorage.getItem("theme") || "auto"; } catch { return "auto"; }
  };
  const set = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  set(read());
  document.addEventListener("DOMContentLoaded", () => {
    const pick = document.getElementById("theme");
    pick.value = read();
    pick.addEventListener("change", () => {
      set(pick.value);
      try { localStorage.setItem("theme", pick.value); } catch { /* the choice lasts as long as the page */ }
      document.dispatchEvent(new Event("themechange"));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("themechange")));
  });
})();
