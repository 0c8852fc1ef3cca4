// Everything that a single-page app does with its own server; `results` says how it went.
window.results = {};
window.socketClosed = false;

const chunk = await import("/chunk.js");
results.chunk = chunk.word;
results.style = getComputedStyle(document.getElementById("state")).fontStyle;
results.read = await (await fetch("/api/read")).text();
results.written = await (await fetch("/api/write", { method: "POST", body: "written" })).text();

const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws");
socket.onclose = () => { window.socketClosed = true; };
results.socket = await new Promise((resolve) => {
  socket.onmessage = (message) => resolve(message.data);
  socket.onerror = () => resolve("refused");
  socket.onopen = () => socket.send("hello");
});

await navigator.serviceWorker.register("/worker.js");
await navigator.serviceWorker.ready;
if (!navigator.serviceWorker.controller) {
  await new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
}
results.worker = await (await fetch("/api/by-worker")).text();
results.query = location.search;
results.referrer = document.referrer;
results.cookie = document.cookie;
document.getElementById("state").textContent = "ready";
