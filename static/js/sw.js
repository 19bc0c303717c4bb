// Kept by the browser. It shows pushes, opens what they are about, and says so when there is no network.
// It keeps nothing, and answers nothing but pages that cannot be fetched: an old page could show an old call.
const OFFLINE = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Offline · Nod</title><style>
body { margin: 0; min-height: 100vh; display: grid; place-content: center; justify-items: center; gap: 12px; padding: 24px; text-align: center;
  font: 15px/1.5 Inter, ui-sans-serif, system-ui, sans-serif; color: #14181d; background: #f5f6f8; }
h1 { margin: 0; font-size: 1.5rem; } p { margin: 0; color: #58616e; }
a { padding: 11px 20px; border-radius: 10px; font-weight: 600; color: #fff; background: #126e5a; text-decoration: none; }
@media (prefers-color-scheme: dark) { body { color: #e8eaee; background: #0e1116; } p { color: #9ba4b1; } a { color: #06231c; background: #4fd1b0; } }
</style></head><body><h1>You are offline.</h1><p>Nothing is decided. What waits is still there when you are back.</p><a href="">Try again</a></body></html>`;

function offline() {
  const headers = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
  };
  return new Response(OFFLINE, { headers });
}

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => {
  const preload = self.registration.navigationPreload;
  event.waitUntil(Promise.all([preload?.enable(), self.clients.claim()]));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.mode !== "navigate" || request.method !== "GET") return;
  event.respondWith((async () => {
    try {
      return (await event.preloadResponse) || (await fetch(request));
    } catch {
      return offline();
    }
  })());
});

// --- Pushes ---
// Whatever a push says, only a page of this site is opened, and nothing else of it is shown than a number.
function page(text) {
  try {
    const address = new URL(String(text || "/approvals/"), self.location.origin);
    return address.origin === self.location.origin ? address.href : `${self.location.origin}/approvals/`;
  } catch {
    return `${self.location.origin}/approvals/`;
  }
}

self.addEventListener("push", (event) => {
  let said = {};
  try { said = event.data.json() || {}; } catch { /* a push without words is one all the same */ }
  const count = Number.isInteger(said.count) && said.count > 0 ? said.count : 1;
  event.waitUntil(self.registration.showNotification(count === 1 ? "A call waits for you" : `${count} calls wait for you`, {
    body: "Open Nod to look at what would run.",
    tag: "nod-calls",
    renotify: true,
    icon: "/static/img/icon-192.png",
    data: { open: page(said.open) },
  }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const address = page(event.notification.data?.open);
  event.waitUntil((async () => {
    const windows = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    const there = windows.find((each) => each.url === address);
    return there ? there.focus() : self.clients.openWindow(address);
  })());
});
