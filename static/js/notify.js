// Tells of calls while Nod is open in a tab that nobody looks at: a notification, a sound, the number on the app's icon.
// Opt in, for each person in each browser. What is said is a number, never what a call holds.
(() => {
  const $ = (id) => document.getElementById(id);
  const person = document.body.dataset.person;
  const slot = (name) => `nod:${name}:${person}`;
  const is = (name) => localStorage.getItem(slot(name)) === "on";
  const set = (name, on) => (on ? localStorage.setItem(slot(name), "on") : localStorage.removeItem(slot(name)));
  const badge = () => $("pending");
  const count = () => Number(badge()?.dataset.count) || 0;
  const CALM = 3000; // ms in which tabs of one browser tell of the same only once

  navigator.serviceWorker?.register("/sw.js").catch(() => {}); // without it there is no push and no offline page

  // --- Sound: two soft tones. Browsers allow it once the page was clicked. ---
  let audio;
  const wake = () => { if (is("sound")) audio ||= new AudioContext(); };
  ["pointerdown", "keydown"].forEach((name) => document.addEventListener(name, wake, { passive: true }));
  function tone(at, pitch) {
    const source = audio.createOscillator(), volume = audio.createGain(), start = audio.currentTime + at;
    source.frequency.value = pitch;
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(0.12, start + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.001, start + 0.4);
    source.connect(volume).connect(audio.destination);
    source.start(start);
    source.stop(start + 0.45);
  }
  function sound() {
    if (audio?.state !== "running") return;
    tone(0, 660);
    tone(0.16, 880);
  }

  // --- Notification ---
  const granted = () => "Notification" in window && Notification.permission === "granted";
  function show(waiting) {
    const title = waiting === 1 ? "A call waits" : `${waiting} calls wait`;
    const options = { body: "Nod", tag: "nod-calls", renotify: true, icon: "/static/img/icon-192.png" };
    try {
      const shown = new Notification(title, options);
      shown.onclick = () => { window.focus(); shown.close(); };
    } catch { // phones let only the worker show one
      navigator.serviceWorker?.ready.then((kept) => kept.showNotification(title, { ...options, data: { open: "/approvals/" } }));
    }
  }

  // --- When the number grows ---
  const lately = (name) => Date.now() - Number(localStorage.getItem(slot(name))) < CALM;
  const now = (name) => localStorage.setItem(slot(name), String(Date.now()));
  function tell(waiting) {
    if (!document.hidden) return now("seen");
    if (!is("notify") && !is("sound")) return undefined;
    return setTimeout(() => { // a tab in front, or another one behind, may have told by then
      if (lately("seen") || lately("told")) return;
      now("told");
      if (is("notify") && granted()) show(waiting);
      if (is("sound")) sound();
    }, 200);
  }
  let known = count();
  function look() {
    if (!badge()) return;
    const waiting = count();
    if (waiting !== known) mark(waiting);
    if (waiting > known) tell(waiting);
    known = waiting;
  }
  function mark(waiting) {
    (waiting ? navigator.setAppBadge?.(waiting) : navigator.clearAppBadge?.())?.catch(() => {});
  }
  if (badge()) {
    mark(known);
    document.addEventListener("htmx:afterSettle", look);
    // A page that hears no doorbells of the queue asks now and then, also behind other tabs.
    setInterval(() => { if (document.hidden && (is("notify") || is("sound"))) window.nodRefresh?.(); }, 30000);
  }

  window.nodNotices = { is, set, granted, sound: () => { audio ||= new AudioContext(); audio.resume().then(sound); } };
})();
