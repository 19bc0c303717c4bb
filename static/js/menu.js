// The header's menu opens and closes without a script; with one it also closes where people expect it to.
(() => {
  const menu = document.getElementById("menu");
  if (!menu) return;
  document.addEventListener("click", ({ target }) => { if (!menu.contains(target)) menu.open = false; });
  document.addEventListener("focusin", ({ target }) => { if (!menu.contains(target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector("summary").focus();
  });
})();
