// How much waits, in the tab's title and on its icon.
(() => {
  const icon = document.querySelector("link[rel=icon]");
  const plain = icon.href;
  const title = document.title.replace(/^\(\d+\) /, "");
  let shown;
  function show() {
    const badge = document.getElementById("pending");
    const count = Number(badge?.dataset.count ?? 0);
    if (count === shown) return;
    shown = count;
    document.title = `${count ? `(${count}) ` : ""}${title}`;
    icon.href = count ? `/approvals/favicon.svg?n=${Math.min(count, 100)}` : plain;
  }
  document.addEventListener("htmx:afterSettle", show);
  document.addEventListener("nod:counted", show);
  show();
})();
