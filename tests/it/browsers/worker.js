self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  if (new URL(event.request.url).pathname === "/api/by-worker") {
    event.respondWith(fetch("/api/read").then(async (answer) => new Response("by worker: " + (await answer.text()))));
  }
});
