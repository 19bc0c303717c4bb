// The card: keys, and the half second in which nothing can be decided. The list has list.js.
(() => {
  const QUIET = 500;
  const $ = (id) => document.getElementById(id);
  let changedAt = performance.now();

  // What is being looked at; the same card fetched once more is no new card.
  const look = () => { const card = $("card"); return card ? `${card.dataset.call ?? card.dataset.together} ${card.dataset.seen} ${card.dataset.form}` : ""; };
  let shown = look();
  // A card that is pushed to another place counts as new, too: the pointer may be over another button now.
  const top = () => { const card = $("card"); return card ? Math.round(card.getBoundingClientRect().top + scrollY) : 0; };
  let stood = top();
  const heed = () => { if (stood !== (stood = top())) changedAt = performance.now(); };
  new ResizeObserver(heed).observe(document.body);
  // Whoever has chosen another call means that one, which is on its way; who chose this one again means this one.
  let choosing;
  const isShown = (row) => !!row.dataset.call && row.dataset.call === $("card")?.dataset.call;
  document.addEventListener("htmx:beforeRequest", ({ detail }) => {
    if (detail.target.id !== "desk-detail" || !detail.elt.matches(".row")) return;
    choosing = isShown(detail.elt) ? undefined : detail.xhr;
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => { if (detail.xhr === choosing) choosing = undefined; });
  const armed = () => { heed(); return !choosing && performance.now() - changedAt >= QUIET; };
  const tooSoon = () => nod.warn(choosing ? "Not taken: another call is on its way. Look at it, then decide."
    : "Not taken: the card had only just appeared, or moved. Look at it, then decide.");
  const visible = (element) => !!element && element.getClientRects().length > 0;
  const openPanel = () => document.querySelector(".panel:not([hidden])");

  // --- Nothing is decided by accident ---
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-decision]") || armed()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    tooSoon();
  }, true);

  // --- The forms behind "Trust…" and "Deny…" ---
  function open(id) {
    document.querySelectorAll(".panel").forEach((panel) => { panel.hidden = panel.id !== id; });
    $("bar-row").hidden = true;
    $(id).querySelector("textarea, select, input:not([type=hidden])")?.focus();
  }
  function close() {
    const panel = openPanel();
    if (!panel) return false;
    panel.hidden = true;
    $("bar-row").hidden = false;
    document.activeElement?.blur();
    return true;
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-opens], [data-closes], [data-keys]");
    if (!link) return;
    event.preventDefault();
    if (link.dataset.opens) open(link.dataset.opens);
    else if (link.dataset.closes) close();
    else $("keys").showModal();
  });

  // --- What trust would have covered ---
  function preview() {
    const past = [...document.querySelectorAll("#would li")];
    const same = [...document.querySelectorAll("#trust-form [name=trust_same]:checked")].map((box) => box.value);
    const reach = $("trust-reach");
    if (reach) reach.textContent = same.length ? `while ${same.join(" and ")} ${same.length > 1 ? "stay" : "stays"} the same` : "whatever its arguments";
    past.filter((item) => !("never" in item.dataset)).forEach((item) => {
      const other = JSON.parse(item.dataset.differs).filter((name) => same.includes(name));
      item.classList.toggle("not", !!other.length);
      item.querySelector(".not-why").textContent = other.length ? `other ${other.join(", ")}` : "";
    });
    const sum = $("would-sum");
    if (!sum) return;
    const covered = past.filter((item) => !item.matches(".not"));
    const denied = covered.filter((item) => "denied" in item.dataset).length;
    sum.firstChild.textContent = `Would have covered ${covered.length} of the last ${past.length} calls of `;
    $("would-denied").textContent = denied ? `; ${denied} of these ${denied === 1 ? "was" : "were"} denied` : "";
  }
  document.addEventListener("change", ({ target }) => { if (target.name === "trust_same") preview(); });

  // --- Keys ---
  const inField = (target) => target.closest?.("input, textarea, select, [contenteditable]");
  function scrollFirst() {
    const top = document.querySelector(".top").getBoundingClientRect().bottom;
    const head = $("card-head").getBoundingClientRect();
    if (head.top >= top - 1 && head.top < innerHeight - 40) return false;
    scrollTo({ top: scrollY + $("card").getBoundingClientRect().top - top });
    return true;
  }
  function press(id) {
    if (id === "approve-form" && $("changed-form")) id = "changed-form";
    const button = $(id) || document.querySelector(`[data-opens="${id}"]`);
    if (!visible($("card")) || !button || openPanel()) return;
    if (!armed()) return tooSoon();
    if (scrollFirst()) return;
    const asks = button.querySelector("input:not([type=hidden]), textarea");
    if (button.matches("a")) button.click();
    else if (button.matches("form:not(.panel)")) asks ? asks.focus() : button.requestSubmit(button.querySelector(".primary"));
    else open(id);
  }
  const KEYS = {
    a: () => press("approve-form"),
    d: () => $("deny-form") && press("deny-form"),
    e: () => $("edit-link") && press("edit-link"),
    t: () => $("trust-form") && press("trust-form"),
    r: () => { const raw = $("raw"); if (visible(raw)) raw.open = !raw.open; else $("whole")?.focus(); },
    j: () => nodList.move(1),
    k: () => nodList.move(-1),
    n: () => nodList.showHeld(),
    s: () => $("take-form")?.requestSubmit(),
    "?": () => $("keys").showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !$("keys").open && close()) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || $("keys").open) return;
    if (inField(event.target)) return;
    const act = KEYS[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // --- Around a swap ---
  document.addEventListener("htmx:afterSwap", ({ detail }) => {
    preview();
    if ($("bar-row")) $("bar-row").hidden = !!openPanel(); // the form that was open has done its work
    if (shown !== (shown = look())) { changedAt = performance.now(); stood = top(); }
    if (detail.target.id === "desk-detail" && $("outcome")) nod.say($("outcome").textContent.replace(/\s+/g, " ").trim());
  });
})();
