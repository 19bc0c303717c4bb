// The page that turns notifications on and off. The permission is asked for on a click, never before.
(() => {
  const $ = (id) => document.getElementById(id);
  const { is, set, granted, sound } = window.nodNotices;
  const token = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
  const key = document.querySelector("main [data-push-key]").dataset.pushKey;
  document.querySelectorAll("[data-script]").forEach((part) => { part.hidden = false; });
  document.querySelectorAll("[data-no-script]").forEach((part) => { part.hidden = true; });

  function show(id, on, text) {
    const button = $(id);
    button.classList.toggle("strong", on);
    button.textContent = on ? "Turn off" : "Turn on";
    $(`${id}-state`).textContent = text;
  }

  // --- While Nod is open ---
  function shown() {
    const denied = "Notification" in window && Notification.permission === "denied";
    const on = is("notify") && granted();
    $("notify").disabled = !("Notification" in window) || (denied && !on);
    show("notify", on, on ? "On in this browser." : denied ? "This browser does not allow it for Nod; its settings for this site do."
      : "Notification" in window ? "Off." : "This browser has none.");
    show("sound", is("sound"), is("sound") ? "On in this browser, from your first click on a page." : "Off.");
  }
  $("notify").addEventListener("click", async () => {
    if (is("notify") && granted()) set("notify", false);
    else if ((await Notification.requestPermission()) === "granted") set("notify", true);
    shown();
  });
  $("sound").addEventListener("click", () => {
    set("sound", !is("sound"));
    if (is("sound")) sound();
    shown();
  });

  // --- Push ---
  const able = key && "serviceWorker" in navigator && "PushManager" in window;
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
  const words = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  async function send(path, fields) {
    const answer = await fetch(path, { method: "POST", headers: { "X-CSRFToken": token }, body: new URLSearchParams(fields) });
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || `Nod answered ${answer.status}.`);
  }
  async function pushShown() {
    const here = able && (await (await navigator.serviceWorker.ready).pushManager.getSubscription());
    show("push", !!here, here ? "On for this device." : able ? "Off for this device."
      : key ? "This browser takes no pushes. On an iPhone, put Nod on the home screen first." : "Push is not set up on this Nod.");
    $("push").disabled = !able;
  }
  async function turn() {
    const manager = (await navigator.serviceWorker.ready).pushManager;
    const here = await manager.getSubscription();
    if (here) {
      await send("unsubscribe", { endpoint: here.endpoint });
      await here.unsubscribe();
      return;
    }
    const made = await manager.subscribe({ userVisibleOnly: true, applicationServerKey: bytes(key) });
    try {
      await send("subscribe", { endpoint: made.endpoint, p256dh: words(made.getKey("p256dh")), auth: words(made.getKey("auth")) });
    } catch (error) {
      await made.unsubscribe();
      throw error;
    }
  }
  $("push").addEventListener("click", async () => {
    $("push").disabled = true;
    try {
      await turn();
      await pushShown();
    } catch (error) {
      await pushShown();
      $("push-state").textContent = `It did not work: ${error.message}`;
    }
  });

  shown();
  pushShown();
})();
