// The HTTP interface, as the page uses it.

export class Refused extends Error {
  constructor(status, message, retrySeconds) {
    super(message);
    this.status = status;
    this.retrySeconds = retrySeconds;
  }
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  const refusal = await answer.json().catch(() => ({}));
  const retry = Number(answer.headers.get("retry-after")) || null;
  throw new Refused(answer.status, refusal.error ?? `${answer.status} ${answer.statusText}`, retry);
}

export const getInfo = async () => (await ask("/v1/info")).json();
export const getJobs = async (client) => (await (await ask(`/v1/jobs?client=${client}`)).json()).jobs;
export const removeJob = (id) => ask(`/v1/jobs/${id}`, { method: "DELETE" });
export const openSession = (token) => ask("/v1/session", { method: "POST", body: token });

// The upload of a job, to be sent again.
export async function getSource(job) {
  const blob = await (await ask(`/v1/jobs/${job.id}/source`)).blob();
  return new File([blob], job.name);
}

// With the key of a picture that the service has already, it answers with the job that it made of it.
export async function addJob(client, key, file, options) {
  const query = new URLSearchParams({ ...options, client, name: file.name });
  const headers = { "content-type": "application/octet-stream", "idempotency-key": key };
  return (await ask(`/v1/jobs?${query}`, { method: "POST", body: file, headers })).json();
}

export const thumbnailAddress = (job) => `/v1/jobs/${job.id}/thumbnail`;
// The finished rows of a running job; the browser is to ask anew each time.
export const previewAddress = async (job) => `/v1/jobs/${job.id}/preview?rows=${job.rows_done}`;

export const zipAddress = async (client) => `/v1/results.zip?client=${client}`;

// The address of a part of the result, or of a bicubic enlargement.
export const viewAddress = async (job, side, part) =>
  `/v1/jobs/${job.id}/view?${new URLSearchParams({ of: side, ...part })}`;

// Calls back with each change of the client's jobs; the browser asks again by itself if the stream breaks.
export function watchJobs(client, { change, up, down }) {
  const events = new EventSource(`/v1/events?client=${client}`);
  events.addEventListener("job", (event) => change(JSON.parse(event.data)));
  events.addEventListener("open", up);
  events.addEventListener("error", () => down(events));
  return events;
}
