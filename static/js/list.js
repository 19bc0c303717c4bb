// The list of calls: rows change in place, new calls wait behind a bar, and what is decided leaves quietly.
// Nothing is put in or taken out under the pointer.
(() => {
  const MOST = 50; // rows fetched by themselves; for more the list is fetched
  const LOOK_EVERY = 20000; // ms; a look counts for 45 s
  const $ = (id) => document.getElementById(id);
  const list = $("queue-list");
  const live = () => [...document.querySelectorAll("#waiting > li:not(.gone)")].filter((item) => item.querySelector(".row"));
  const rows = () => live().map((item) => item.querySelector(":scope > .row"));
  const current = () => $("card")?.dataset.call ?? "";
  const held = new Map(); // calls that wait behind the bar, with their stamps
  let place = 0;

  // --- Fetching: one request at a time; what rings meanwhile is fetched after it ---
  let busy = false;
  let showing = false; // what was held back is on its way into the list: the bar has done its work
  let due; // undefined: nothing; a set of ids: these rows; "all": what there is; "show": that, and what was held back
  function want(what) {
    if (due === "show" || what === "show") due = "show";
    else if (due === "all" || !what) due = "all";
    else due = new Set([...(due ?? []), ...what]);
    if (due.size > MOST) due = "all";
    next();
  }
  async function next() {
    if (busy || !due) return;
    const what = due;
    due = undefined;
    busy = true;
    showing ||= what === "show";
    try {
      if (typeof what === "string") await whole(what === "show");
      else take(await fetchList({ changed: [...what].join(",") }));
    } catch (error) {
      if (!(error instanceof TypeError || error.name === "TimeoutError")) throw error;
      document.dispatchEvent(new CustomEvent("nod:unheard"));
      showing = false;
      bar();
    } finally {
      busy = false;
      next();
    }
  }
  async function fetchList(more) {
    const query = new URLSearchParams(filters());
    Object.entries(more).forEach(([name, value]) => query.set(name, value));
    const headers = { ...JSON.parse(document.body.getAttribute("hx-headers")), "HX-Request": "true", "HX-Target": "queue-list" };
    const answer = await fetch(`${list.dataset.list}?${query}`, { headers, signal: AbortSignal.timeout(10000) });
    if (answer.headers.get("HX-Refresh") || answer.headers.get("HX-Redirect") || answer.redirected) return void location.reload();
    if (answer.status === 204 || !answer.ok) return undefined;
    return new DOMParser().parseFromString(await answer.text(), "text/html").body;
  }
  // The address also names the forms and calls of a card; the list knows its filters alone.
  function filters() {
    const names = ["mine", "group", "agent", "tool", "risk", "session"];
    return [...new URLSearchParams(location.search)].filter(([name, value]) => names.includes(name) && value);
  }

  // --- Rows that changed ---
  function take(answer) {
    const changed = answer?.querySelector("#changed");
    if (!changed) return;
    [...changed.children].forEach((item) => (item.classList.contains("gone") ? went(item) : waits(item)));
    swap("lately-part", answer);
    swap("filters", answer);
    done(answer);
  }
  function waits(item) {
    const shown = $(item.id);
    if (shown) put(shown, item);
    else held.set(item.id, item.dataset.stamp);
  }
  function went(item) {
    held.delete(item.id);
    const shown = $(item.id);
    if (shown) put(shown, item);
  }
  function put(shown, item) {
    const chosen = shown.querySelector(".row")?.getAttribute("aria-current");
    if (chosen) item.querySelector(".row")?.setAttribute("aria-current", chosen);
    shown.className = item.className;
    shown.dataset.stamp = item.dataset.stamp ?? "";
    Idiomorph.morph(shown, item.innerHTML, { morphStyle: "innerHTML" });
    htmx.process(shown);
  }
  function swap(id, answer) {
    const fresh = answer.querySelector(`#${id}`);
    if (!fresh || !$(id)) return;
    fresh.removeAttribute("hx-swap-oob");
    Idiomorph.morph($(id), fresh.outerHTML, { morphStyle: "outerHTML" });
    htmx.process($(id));
  }

  // --- The whole list: as it is by now, or with what is new held back ---
  // What this page shows in one number, as the server works it out (approvals/lists.py).
  function shows() {
    const stamps = [...document.querySelectorAll("#waiting li[id^=row-]:not(.gone)")].map((item) => item.dataset.stamp);
    const late = [...document.querySelectorAll("#lately li")].map((item) => item.dataset.stamp);
    const all = [...stamps, ...held.values()];
    const total = [...all, ...late].reduce((sum, stamp) => sum ^ parseInt(stamp, 16), 0) >>> 0;
    return `${all.length}-${total.toString(16).padStart(8, "0")}${cut() ? "-cut" : ""}`;
  }
  const cut = () => !!list.querySelector(":scope > .more");
  async function whole(show) {
    const short = cut() && live().length < 100;
    const answer = await fetchList({ selected: current(), ...(show || short ? {} : { shown: shows() }) });
    if (!answer) {
      showing = false;
      return bar();
    }
    if (show || !live().length) return replace(answer);
    const items = [...answer.querySelector("#waiting").children];
    if (cut()) extend(items);
    const there = new Map(items.flatMap((item) => (item.matches(".bunch") ? [...item.querySelectorAll("li")] : [item])).filter((item) => item.id.startsWith("row-")).map((item) => [item.id, item]));
    const here = [...document.querySelectorAll("#waiting li[id^=row-]:not(.gone)")];
    held.clear();
    there.forEach((item) => waits(item));
    const left = here.filter((item) => !there.has(item.id)).map((item) => item.id.slice(4));
    for (let at = 0; at < left.length; at += MOST) take(await fetchList({ changed: left.slice(at, at + MOST).join(",") }));
    ["filters", "lately-part"].forEach((id) => swap(id, answer));
    done(answer);
  }
  // The list was cut: what comes after its last row is not new.
  function extend(items) {
    const last = items.findLastIndex((item) => $(item.id));
    items.slice(last + 1).forEach((item) => { $("waiting").append(item.cloneNode(true)); htmx.process($("waiting").lastElementChild); });
  }
  function replace(answer) {
    const before = new Set(live().map((item) => item.id));
    held.clear();
    showing = false;
    const badge = answer.querySelector("#pending");
    badge?.remove();
    Idiomorph.morph(list, answer.innerHTML, { morphStyle: "innerHTML" });
    htmx.process(list);
    live().forEach((item) => item.classList.toggle("fresh", !before.has(item.id)));
    if (badge) answer.append(badge);
    done(answer);
  }
  function done(answer) {
    swap("pending", answer);
    document.dispatchEvent(new CustomEvent("nod:counted"));
    bunches();
    tidy();
    if (!live().length && (held.size || !document.querySelector("#waiting > li"))) return want("show"); // nothing to keep still
    bar();
    choose();
    nod.arrived(list);
  }
  function bunches() {
    document.querySelectorAll("#waiting > .bunch").forEach((bunch) => {
      bunch.querySelectorAll("li.gone").forEach((item) => item.remove());
      const ids = [...bunch.querySelectorAll("li[id^=row-]")].map((item) => item.id.slice(4));
      bunch.classList.toggle("gone", !ids.length);
      if (!ids.length) return;
      const link = bunch.querySelector(":scope > .row");
      bunch.querySelector("[data-count]").textContent = ids.length;
      const sum = $(`row-${ids[0]}`).querySelector(".row-sum"); // of one that is there still
      link.querySelector(".row-sum").replaceChildren(...sum.cloneNode(true).childNodes);
      if (ids.length === 1) link.querySelector(".row-meta").lastElementChild.textContent = "";
      const more = filters().map((pair) => `&${new URLSearchParams([pair])}`).join("");
      const href = ids.length === 1 ? $(`row-${ids[0]}`).querySelector(".row").getAttribute("href") : `${link.getAttribute("href").split("?")[0]}?ids=${ids.join(",")}${more}`;
      if (link.getAttribute("href") === href) return;
      link.setAttribute("href", href);
      link.setAttribute("hx-get", href);
      htmx.process(bunch);
    });
  }
  // What is gone leaves the list, but not under the pointer.
  function tidy() {
    if ($("waiting").matches(":hover")) return;
    document.querySelectorAll("#waiting > .gone").forEach((item) => {
      if (item.contains(document.activeElement)) $("card-title")?.focus({ preventScroll: true });
      item.remove();
    });
  }
  function bar() {
    const count = held.size;
    if (count && $("held").hidden) nod.say(count === 1 ? "One new call" : `${count} new calls`);
    $("held").hidden = !count || showing;
    if (count) $("held-text").textContent = count === 1 ? "1 new call" : `${count} new calls`;
  }
  $("queue-list").addEventListener("mouseleave", () => {
    tidy();
    choose();
    if (!document.querySelector("#waiting > li")) want("show");
  });
  function showHeld() {
    if (!held.size) return;
    showing = true;
    bar();
    want("show");
  }
  document.addEventListener("click", ({ target }) => { if (target.closest("#held")) showHeld(); });

  // --- Which row is chosen, and moving through them ---
  function choose() {
    const call = current();
    const ids = $("card")?.dataset.together?.split(",") ?? [];
    document.querySelectorAll("#queue-list .row").forEach((row) => {
      const mine = "bunch" in row.dataset
        ? [...row.parentElement.querySelectorAll("li[id^=row-]")].some((item) => item.id.slice(4) === call || ids.includes(item.id.slice(4)))
        : row.dataset.call === call;
      if (mine && (call || ids.length)) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    });
    const at = rows().findIndex((row) => row.getAttribute("aria-current"));
    if (at >= 0) place = at;
    attend();
  }
  function move(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.getAttribute("aria-current"));
    const to = at < 0 ? Math.min(place, all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
    if (to !== at) all[to].click();
    all[to].scrollIntoView({ block: "nearest" });
  }

  // --- Who looks ---
  // The card says what the row says, and does not change otherwise: nothing is shut for half a second by a look.
  function attend() {
    const row = $(`row-${current()}`)?.querySelector(".row");
    if (!row || !$("attention")) return;
    const words = row.querySelector(".who-looks")?.textContent ?? "";
    const mine = words.startsWith("you ");
    $("attention").textContent = words;
    $("take-form").elements.release.value = mine ? "1" : "";
    $("take-word").textContent = mine ? "Leave it to others" : "Take it";
  }
  const headers = () => JSON.parse(document.body.getAttribute("hx-headers"));
  function look() {
    const card = $("card");
    if (document.hidden || !card?.dataset.call || !card.querySelector("#bar-row, #settle-form")) return;
    fetch(`/approvals/${card.dataset.call}/look`, { method: "POST", headers: { ...headers(), "HX-Request": "true" } }).catch(() => {});
  }
  let looked = "";
  function lookAnew() {
    if (looked === (looked = current())) return;
    look();
  }
  setInterval(look, LOOK_EVERY);

  document.body.addEventListener("nod:refresh", ({ detail }) => want(detail?.calls));
  document.addEventListener("htmx:afterSwap", ({ detail }) => {
    choose();
    if (detail.target.id === "desk-detail") lookAnew();
  });
  window.nodList = { move, showHeld };
  choose();
  lookAnew();
  document.dispatchEvent(new CustomEvent("nod:counted"));
})();
