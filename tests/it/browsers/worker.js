self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
// Whatever it is shown, as one that is not to be trusted would keep it.
const seen = [];
self.addEventListener("fetch", (event) => {
  seen.push(event.request.url);
  event.waitUntil(event.request.clone().text().then((body) => seen.push(body)));
  if (new URL(event.request.url).pathname === "/api/by-worker") {
    event.respondWith(fetch("/api/read").then(async (answer) => new Response("by worker: " + (await answer.text()))));
  }
  if (new URL(event.request.url).pathname === "/api/seen") event.respondWith(new Response(seen.join("\n")));
});
