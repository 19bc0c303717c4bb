// The chat: Enter sends, the answer grows as it is written, and the page follows it if it was at the end.
(() => {
  const $ = (id) => document.getElementById(id);
  const page = document.scrollingElement;
  const atEnd = () => page.scrollHeight - page.scrollTop - page.clientHeight < 80;
  const toEnd = () => page.scrollTo({ top: page.scrollHeight });
  let follow = true;

  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "text" || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  });

  // --- Writing the last message anew ---
  // By a click, not when it has toggled: what is typed at once goes into the field. Escape keeps what was typed, Cancel
  // does not; both leave every other draft alone.
  document.addEventListener("click", (event) => {
    const edit = event.target.closest?.(".edit");
    if (event.target.closest?.(".edit > summary")) {
      event.preventDefault();
      edit.open ? close(edit) : openEdit(edit);
    } else if (event.target.matches?.("[data-cancels]")) {
      const field = edit.querySelector("textarea");
      field.value = field.defaultValue;
      close(edit);
    }
  });
  document.addEventListener("keydown", (event) => {
    const edit = event.key === "Escape" && !event.isComposing && event.target.closest?.(".edit[open]");
    if (!edit) return;
    event.preventDefault();
    close(edit);
  });
  function openEdit(edit) {
    const field = edit.querySelector("textarea");
    edit.open = true;
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
  function close(edit) {
    edit.open = false;
    edit.querySelector("summary").focus();
  }

  // --- The answer that is being written ---
  // The server has it as Markdown so far (twice a second); what was heard since stands behind that, as text.
  // Lengths count code points, as the server does.
  const EVERY = 500;
  let stream; // what was heard of the answer being written: {run, start, points}
  let asked = 0;
  let fetching = false;
  let due;
  let swaps = 0; // of the whole conversation: what was asked for before one is old

  // Where the text goes on: in the last paragraph, item or code block, unless it ended with an empty line.
  const BLOCKS = "p, ul, ol, li, blockquote, pre, pre > code, h1, h2, h3, h4, h5, h6";
  function tail(draft) {
    const there = draft.querySelector(".tail");
    if (there) return there;
    let place = draft;
    while (place.lastElementChild?.matches(BLOCKS) || place.lastElementChild?.matches(".copy")) {
      place = place.lastElementChild.matches(".copy") ? place.querySelector("code") : place.lastElementChild;
    }
    const made = document.createElement("span");
    made.className = "tail";
    const closed = place.tagName === "CODE" ? place.textContent.endsWith("\n") : /\n\s*\n/.test(draft.dataset.rest);
    if (place === draft || closed) {
      const paragraph = document.createElement("p");
      paragraph.append(made);
      draft.append(paragraph);
      made.textContent = draft.dataset.rest.trimStart();
    } else {
      place.append(made);
      made.textContent = draft.dataset.rest;
    }
    return made;
  }
  function paint() {
    const draft = $("draft");
    if (!stream || draft?.dataset.run !== stream.run) return !stream;
    const shown = Number(draft.dataset.length);
    const end = stream.start + stream.points.length;
    if (shown < stream.start) return false;
    if (shown < end) {
      const follows = atEnd();
      const place = tail(draft);
      place.textContent += stream.points.slice(shown - stream.start).join("");
      draft.dataset.length = end;
      if (follows) toEnd();
    }
    return true;
  }
  // A morph keeps what it finds the same, and would so keep text that was put behind it.
  const clean = (draft) => draft?.querySelectorAll(".tail").forEach((each) => each.remove());

  function later() {
    clearTimeout(due);
    due = setTimeout(form, Math.max(0, asked + EVERY - performance.now()));
  }
  async function form() {
    if (fetching || !$("draft") || document.hidden) return;
    fetching = true;
    asked = performance.now();
    const before = swaps;
    try {
      const signal = AbortSignal.timeout(10000); // what hangs must not keep the next one from being asked for
      const answer = await fetch(`${location.pathname}draft`, { headers: { "HX-Request": "true" }, signal });
      if (answer.ok && before === swaps) put(await answer.text(), before);
    } catch { /* the poll finds what a lost answer would have brought */ } finally {
      fetching = false;
    }
  }
  function put(html, before) {
    const old = $("draft");
    const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("draft");
    if (!old || !fresh || before !== swaps || fresh.dataset.run !== old.dataset.run) return;
    const from = Number(fresh.dataset.length);
    const known = stream?.run === fresh.dataset.run && stream.start <= from;
    if (!known && from < Number(old.dataset.length)) return; // it would lose what stands there
    const follows = atEnd();
    clean(old);
    Idiomorph.morph(old, fresh, { morphStyle: "outerHTML" });
    dress();
    paint();
    if (follows) toEnd();
  }
  document.body.addEventListener("nod:text", ({ detail }) => {
    const points = Array.from(detail.text);
    const end = stream ? stream.start + stream.points.length : -1;
    const joins = stream?.run === detail.run && detail.at === end;
    if (joins) stream.points.push(...points);
    else stream = { run: detail.run, start: detail.at, points };
    const fits = paint();
    if (!fetching) later();
    if ((joins && fits) || (fits && detail.at > 0)) return;
    if (performance.now() - refreshed < 400) return; // the server saves the answer twice a second
    refreshed = performance.now();
    nodRefresh();
  });
  let refreshed = 0;

  // --- Code can be copied ---
  const kept = Idiomorph.defaults.callbacks.beforeNodeRemoved;
  Idiomorph.defaults.callbacks.beforeNodeRemoved = (node) => (node.matches?.(".copy") ? false : kept?.(node));
  function dress() {
    document.querySelectorAll(".words pre").forEach((block) => {
      if (block.querySelector(".copy")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      block.append(button);
    });
  }
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // no clipboard without https, or not allowed
      const field = document.createElement("textarea");
      field.value = text;
      field.className = "sr";
      document.body.append(field);
      field.select();
      const done = document.execCommand("copy");
      field.remove();
      if (!done) throw new Error("not copied");
    }
  }
  document.addEventListener("click", async ({ target }) => {
    if (!target.matches?.(".copy")) return;
    try {
      await copy(target.parentElement.querySelector("code").textContent);
      target.textContent = "Copied";
      target.focus();
      nod.say("Copied");
      setTimeout(() => { target.textContent = "Copy"; nod.say(""); }, 2000);
    } catch {
      nod.warn("The browser did not let Nod copy this. Select it and copy it by hand.");
    }
  });

  // --- Files to send, and things to try ---
  const chosen = [];
  function list() {
    const field = $("files");
    const place = $("chosen");
    if (!field || !place) return;
    const data = new DataTransfer();
    chosen.forEach((file) => data.items.add(file));
    field.files = data.files;
    place.replaceChildren(...chosen.map((file, at) => {
      const item = document.createElement("li");
      item.className = "chip";
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "×";
      button.setAttribute("aria-label", `Leave out ${file.name}`);
      button.addEventListener("click", () => { chosen.splice(at, 1); list(); });
      item.append(file.name, button);
      return item;
    }));
  }
  document.addEventListener("change", ({ target }) => {
    if (target.id !== "files") return;
    chosen.push(...target.files);
    list();
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (detail.elt.id !== "composer" || detail.xhr.status < 200 || detail.xhr.status > 299) return;
    chosen.length = 0;
    list();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-example]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    $("text").value = link.dataset.example;
    $("text").dispatchEvent(new Event("input", { bubbles: true }));
    $("text").focus();
  });

  // --- Nothing is decided by accident: a form that has only just appeared, or moved, takes no decision ---
  const QUIET = 500;
  const places = new Map(); // which decision -> where it stands, and since when
  function heed() {
    const now = performance.now();
    const there = new Set();
    document.querySelectorAll("form[data-decision]").forEach((form) => {
      const which = form.dataset.decision;
      if (there.has(which)) return;
      there.add(which);
      const top = Math.round(form.closest(".call").getBoundingClientRect().top + scrollY);
      if (places.get(which)?.top !== top) places.set(which, { top, since: now });
    });
    [...places.keys()].filter((which) => !there.has(which)).forEach((which) => places.delete(which));
  }
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-decision]")) return;
    heed();
    if (performance.now() - places.get(event.target.dataset.decision).since >= QUIET) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    nod.warn("Not taken: this had only just appeared, or moved. Look at it, then decide.");
  }, true);
  new ResizeObserver(heed).observe(document.body);
  heed();

  // --- Around a swap ---
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.target.id !== "chat") return;
    follow = atEnd();
    if (detail.shouldSwap) clean($("draft"));
  });
  document.addEventListener("htmx:afterSwap", ({ detail }) => {
    if (detail.target.id !== "chat") return;
    swaps += 1;
    if (!$("dots")) stream = undefined; // no answer is being written any more
    dress();
    paint();
    heed();
    list();
    if (follow || detail.requestConfig?.verb === "post") toEnd();
  });
  dress();
  // Whoever opens a chat writes next; on a phone that would only call up the keyboard.
  if (document.activeElement === document.body && matchMedia("(hover: hover)").matches) $("text")?.focus({ preventScroll: true });
  if ($("flow") && !new URLSearchParams(location.search).has("before")) toEnd();
})();
