// A service worker that gives the page the headers with which browsers allow threads, whatever server sends its files,
// and that lets no request leave the page's own address.

const HEADERS = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
};

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
  if (new URL(event.request.url).origin !== location.origin) event.respondWith(Response.error());
  else event.respondWith(withHeaders(event.request));
});

async function withHeaders(request) {
  const answer = await fetch(request);
  if (!answer.status) return answer;
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
}
