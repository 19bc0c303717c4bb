// What every page needs: morphs that keep what people typed and opened, drafts that survive an expired login,
// ages that tick, and a sentence when the server did not answer.
(() => {
  const TYPED = "textarea, select, input:not([type=hidden])";
  const $ = (id) => document.getElementById(id);

  // A refresh never closes what is open, nor overwrites what is being typed.
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, element) => {
    if (name === "open" && element.matches("details, dialog")) return false;
    if (name === "value" && element.matches(TYPED)) return false;
    if (name === "hidden" && element.matches(".panel, #bar-row, .drafts-back")) return false;
    return true;
  };

  // --- Drafts: typed text lives in this tab until it was sent ---
  const slot = (field) => `nod:draft:${document.body.dataset.person}:${field.dataset.draft}`;
  const drafts = (root) => root.querySelectorAll("[data-draft]");
  const restore = (root) =>
    drafts(root).forEach((field) => {
      const kept = sessionStorage.getItem(slot(field));
      if (!kept || (field.value && field.value !== field.defaultValue)) return;
      field.value = kept;
      const told = kept !== field.defaultValue && field.form?.querySelector(".drafts-back");
      if (told) told.hidden = false;
    });
  document.addEventListener("click", ({ target }) => {
    if (!target.matches?.("[data-anew]")) return;
    drafts(target.form).forEach((field) => {
      sessionStorage.removeItem(slot(field));
      field.value = field.defaultValue;
    });
    target.closest(".drafts-back").hidden = true;
    drafts(target.form)[0]?.focus();
    enable();
  });
  document.addEventListener("input", ({ target }) => {
    if (target.dataset?.draft) sessionStorage.setItem(slot(target), target.value);
    enable();
  });
  const sent = new WeakMap();
  document.addEventListener("htmx:beforeRequest", ({ detail }) => {
    if (detail.elt.tagName === "FORM") drafts(detail.elt).forEach((field) => sent.set(field, field.value));
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    const { status } = detail.xhr; // detail.successful is not there yet where the answer is a redirect
    if (status < 200 || status > 299 || detail.elt.tagName !== "FORM") return;
    drafts(detail.elt).forEach((field) => {
      // What was typed while the request was on its way is a draft of its own.
      if (sessionStorage.getItem(slot(field)) === sent.get(field)) sessionStorage.removeItem(slot(field));
      if (field.value === sent.get(field)) field.value = "";
    });
    enable();
  });

  // --- Answers that come too late ---
  // While a choice or decision is on its way, and for what was asked before its answer, a refresh would show the past,
  // or take away the form whose answer is to come: it is asked for anew afterwards. Of two choices the later one
  // counts. (hx-sync could abort requests, but each abort logs an error.)
  const asked = new WeakMap(); // request -> when
  const acted = new WeakMap(); // target -> {xhr, ended, missed}: the last choice or decision
  const isRefresh = (detail) => !!detail.elt.getAttribute("hx-trigger")?.includes("nod:refresh");
  document.addEventListener("htmx:beforeRequest", ({ detail }) => {
    asked.set(detail.xhr, performance.now());
    if (!isRefresh(detail)) acted.set(detail.target, { xhr: detail.xhr, ended: Infinity, missed: false });
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    const last = acted.get(detail.target);
    if (last?.xhr !== detail.xhr) return;
    last.ended = Math.min(last.ended, performance.now());
    if (last.missed) setTimeout(nodRefresh, htmx.config.defaultSettleDelay + 1); // what was swapped in listens by then
    last.missed = false;
  });
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    const last = acted.get(detail.target);
    if (!last) return;
    if (detail.xhr === last.xhr) {
      last.ended = performance.now();
      return;
    }
    const refresh = detail.requestConfig && isRefresh(detail.requestConfig);
    if (refresh && asked.get(detail.xhr) >= last.ended) return;
    detail.shouldSwap = false;
    if (refresh && last.ended === Infinity) last.missed = true;
    else if (refresh) nodRefresh();
    else if (wrote(detail) && detail.xhr.status >= 400) nod.warn("What you did before was not taken. Look at that page again.");
  });

  // --- Buttons that wait for a text ---
  const given = (field) => {
    const text = field?.value.trim();
    return field?.dataset.word ? text === field.dataset.word : !!text;
  };
  document.addEventListener("change", ({ target }) => {
    const error = target.dataset?.word && $(target.getAttribute("aria-describedby"));
    if (error) error.textContent = !target.value || given(target) ? "" : "Not the same word: capitals and spaces count.";
  });
  function enable() {
    document.querySelectorAll("button[data-needs]").forEach((button) => {
      button.disabled = !button.dataset.needs.trim().split(" ").every((id) => given($(id)));
    });
  }

  // --- Ages, by the server's clock ---
  const UNITS = [[86400, "d", "day"], [3600, "h", "hour"], [60, "min", "minute"], [1, "s", "second"]];
  const skew = Number(document.body.dataset.now) - Date.now() || 0;
  function span(seconds, words) {
    const [size, short, word] = UNITS.find(([size]) => seconds >= size) || UNITS[3];
    const number = Math.floor(seconds / size);
    return words ? `${number} ${word}${number === 1 ? "" : "s"}` : `${number} ${short}`;
  }
  function tick() {
    document.querySelectorAll("time[data-since]").forEach((time) => {
      const seconds = Math.max(0, (Date.now() + skew) / 1000 - Number(time.dataset.since));
      let text = span(seconds, "words" in time.dataset);
      if ("ago" in time.dataset) text = seconds < 1 ? "just now" : `${text} ago`;
      if (time.textContent !== text) time.textContent = text;
    });
  }
  setInterval(tick, 1000);

  // --- Sentences ---
  let hiding;
  window.nod = {
    say(text) { $("announce").textContent = text; },
    warn(text) {
      const toast = $("toast");
      toast.textContent = text;
      toast.hidden = false;
      clearTimeout(hiding);
      hiding = setTimeout(() => { toast.hidden = true; }, 8000);
    },
  };
  // What pages fetch by themselves fails without a word: they fetch it again.
  const wrote = (detail) => detail.requestConfig?.verb === "post";
  const chose = (detail) => detail.requestConfig && !detail.requestConfig.elt.getAttribute("hx-trigger");
  function warn(detail, what) {
    if (!navigator.onLine && wrote(detail)) return nod.warn("You are offline: nothing was sent. What you typed stays here.");
    if (wrote(detail)) nod.warn(`${what} Look at the page again before you repeat it.`);
    else if (chose(detail)) nod.warn(`${what} What you see is what was there before. Try again.`);
  }
  ["htmx:sendError", "htmx:timeout"].forEach((name) =>
    document.addEventListener(name, ({ detail }) => warn(detail, "Nod did not answer.")));
  document.addEventListener("htmx:responseError", ({ detail }) => {
    const { status } = detail.xhr;
    warn(detail, status === 503 ? "The database does not answer." : status >= 500 ? "Something broke on the server."
      : `Nod did not take it (${status}); it may be too long.`);
  });

  function arrived(root) {
    restore(root);
    enable();
    tick();
  }
  document.addEventListener("htmx:afterSwap", ({ detail }) => arrived(detail.target));
  nod.arrived = arrived;
  arrived(document);
})();
