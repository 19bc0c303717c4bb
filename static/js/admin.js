// Django's lists to choose from hang their hints on elements that nothing reads aloud, since they have no role.
addEventListener("load", () => {
  for (const hint of document.querySelectorAll(".help-tooltip[aria-label]")) hint.setAttribute("role", "img");
});
