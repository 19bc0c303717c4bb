// The card's own parts: the form that changes arguments, the raw JSON on demand, reasons to pick, an undo that ends.
(() => {
  const $ = (id) => document.getElementById(id);
  const detail = (event) => event.detail.target?.id === "desk-detail";

  // --- A form is sent with Ctrl+Enter, as its button would ---
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.repeat) return;
    const form = event.target.closest?.("#card form");
    const button = form && [...form.elements].find((each) => each.matches("button.primary, button.strong, button.danger"));
    if (!button || form.id === "settle-form") return; // that one has several answers
    event.preventDefault();
    if (!button.disabled) form.requestSubmit(button);
  });

  // --- Editing ---
  // A refresh would take away the difference that is being looked at; it stays for as long as the call is the same.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const trigger = event.detail.requestConfig?.elt.getAttribute("hx-trigger");
    if (!detail(event) || !trigger?.includes("nod:refresh") || !$("changed-form")) return;
    const card = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html").getElementById("card");
    if (card?.dataset.version === $("card").dataset.version) event.detail.shouldSwap = false;
  });
  // What comes up by a key or a click has the focus; never a button. At once: whoever has typed or clicked meanwhile
  // is not to find themselves in another field.
  let shown = $("card")?.dataset.form;
  document.addEventListener("htmx:afterSwap", (event) => {
    const form = $("card")?.dataset.form;
    if (!detail(event) || shown === (shown = form)) return;
    if (form === "edit") ($("edit-form").querySelector("[aria-invalid]") || $("edit-form").querySelector("input:not([type=hidden]), textarea, select"))?.focus();
    if (form === "changed") $("what").focus();
    if (form === "edit" || form === "changed") $("card-head").scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || $("keys")?.open) return;
    if ($("edit-form")) $("edit-close").click();
    else if ($("changed-form")) $("changed-form").querySelector("[value=back]").click();
  });

  // --- Reasons that were given lately ---
  document.addEventListener("click", ({ target }) => {
    const button = target.closest?.("[data-reason]");
    if (!button) return;
    const field = $("comment");
    field.value = button.dataset.reason;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.focus();
  });

  // --- An undo that is too late goes away ---
  const skew = Number(document.body.dataset.now) - Date.now() || 0;
  setInterval(() => {
    const form = $("undo-form");
    if (form?.dataset.until && Date.now() + skew > Number(form.dataset.until) * 1000) form.remove();
  }, 1000);

  // --- Raw JSON, when it is opened ---
  function fetchRaw() {
    const body = $("raw")?.open && $("raw").querySelector("[hx-trigger]");
    if (body && !body.firstElementChild) htmx.trigger(body, "nod:raw");
  }
  document.addEventListener("toggle", ({ target }) => { if (target.id === "raw") fetchRaw(); }, true);
  document.addEventListener("htmx:afterSettle", (event) => { if (detail(event)) fetchRaw(); });
})();
