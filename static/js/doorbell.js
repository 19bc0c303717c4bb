// Sockets only say that something changed. This module turns that into `nod:refresh` on the body, which the
// live parts of a page answer by fetching themselves. What a socket misses, the slow poll finds.
(() => {
  const path = document.body.dataset.socket;
  const light = document.getElementById("live");
  const WORDS = { live: "Live", again: "Reconnecting…", off: "Offline" };
  const NOT_ALLOWED = 4403;
  const PATIENCE = 5000; // ms in which a server that is there says hello
  let socket, retry, hanging, failures = 0, firedAt = 0, trailing;
  let rung = new Set(); // the calls that doorbells named since the last refresh; undefined when one named none

  function show(state) {
    if (!light || light.dataset.state === state) return;
    light.dataset.state = state;
    document.body.dataset.live = state;
    light.querySelector(".word").textContent = WORDS[state];
    light.title = WORDS[state];
  }

  // At most one refresh in 50 ms; what rings in between makes one more at the end.
  function refresh(call) {
    if (call && rung) rung.add(call);
    else rung = undefined;
    if (trailing) return;
    const wait = firedAt + 50 - performance.now();
    if (wait > 0) {
      trailing = setTimeout(fire, wait);
    } else {
      fire();
    }
  }
  function fire() {
    clearTimeout(trailing);
    trailing = undefined;
    firedAt = performance.now();
    const calls = rung && [...rung];
    rung = new Set();
    htmx.trigger(document.body, "nod:refresh", { calls });
  }

  function connect() {
    clearTimeout(retry);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const mine = socket = new WebSocket(`${scheme}://${location.host}${path}`);
    clearTimeout(hanging);
    hanging = setTimeout(() => mine.close(), PATIENCE);
    mine.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.kind === "hello") {
        clearTimeout(hanging);
        failures = 0;
        show("live");
      }
      if (message.kind === "text") {
        document.body.dispatchEvent(new CustomEvent("nod:text", { detail: message }));
      } else {
        refresh(message.call);
      }
    };
    mine.onclose = ({ code }) => {
      if (mine !== socket) return;
      clearTimeout(hanging);
      if (code === NOT_ALLOWED) refresh(); // perhaps the login expired: the refresh leads to the sign-in
      failures += 1;
      show(!navigator.onLine || code === NOT_ALLOWED ? "off" : "again");
      const most = code === NOT_ALLOWED ? 10000 : Math.min(10000, 500 * 2 ** (failures - 1));
      retry = setTimeout(connect, most * (0.5 + Math.random() / 2));
    };
  }
  function reconnect() {
    if (!path) return;
    const old = socket;
    socket = undefined;
    old?.close();
    connect();
  }

  function poll() {
    setTimeout(() => {
      if (!document.hidden) refresh();
      poll();
    }, 15000 + Math.random() * 5000);
  }

  // A socket may hang without closing: when what it rang for cannot be fetched either, it is opened anew.
  function unheard() {
    if (!light || light.dataset.state !== "live") return;
    show(navigator.onLine ? "again" : "off");
    reconnect();
  }
  document.addEventListener("nod:unheard", unheard);
  ["htmx:sendError", "htmx:timeout"].forEach((name) => document.addEventListener(name, unheard));

  window.nodRefresh = () => refresh();
  window.addEventListener("online", reconnect);
  window.addEventListener("offline", () => show("off"));
  window.addEventListener("pageshow", ({ persisted }) => { if (persisted) { reconnect(); refresh(); } });
  window.addEventListener("pagehide", () => { const old = socket; socket = undefined; clearTimeout(retry); old?.close(); });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    refresh();
    if (path && socket?.readyState !== WebSocket.OPEN) reconnect();
  });
  if (path) connect();
  poll();
})();
