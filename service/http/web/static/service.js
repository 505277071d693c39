// Talks to the service. Every failure becomes a ServiceError with the service's own words.

export class ServiceError extends Error {
  constructor(message, { status = 0, code = null, items = [] } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.items = items;
  }
}

async function call(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service does not answer. Is it running?");
  }
  if (reply.ok) return reply;
  const body = await reply.json().catch(() => null);
  const error = body?.error;
  throw new ServiceError(error?.message ?? `The service answered ${reply.status} ${reply.statusText}.`, {
    status: reply.status,
    code: error?.code,
    items: error?.items ?? [],
  });
}

/** What is wrong with a reply's failed items, in the service's words. */
export const itemErrors = (items) => items.map((item) => item.error?.message ?? item.message).filter(Boolean);

/** Whether the service is ready, and with what: its `/readyz`, whatever the status. */
export async function readiness() {
  try {
    return await (await fetch("/readyz", { cache: "no-store" })).json();
  } catch {
    return { status: "not answering" };
  }
}

/** Stored points of one modality: `{points, count}`. */
export async function stored(modality, limit, signal) {
  return (await call(`/points?modality=${modality}&limit=${limit}`, { signal })).json();
}

/** Search with parts (files, texts, stored points, each weighted) for some modalities. */
export async function search(parts, { targets, quota, signal }) {
  const form = new FormData();
  const media = [...parts.filter((part) => part.file), ...parts.filter((part) => part.text !== undefined)];
  for (const part of media) {
    if (part.file) form.append("files", part.file, part.name);
    else form.append("texts", part.text);
  }
  const points = parts.filter((part) => part.id !== undefined);
  const params = {
    target_modalities: targets,
    quota,
    limit: quota * targets.length,
    weights: media.map((part) => part.weight),
    query: points.map(({ id, weight }) => ({ id, weight })),
  };
  form.append("params", JSON.stringify(params));
  return (await call("/search", { method: "POST", body: form, signal })).json();
}

/** Embed and index files and texts; gives the reply's items. */
export async function store(parts) {
  const form = new FormData();
  for (const part of parts) {
    if (part.file) form.append("files", part.file, part.name);
  }
  for (const part of parts) {
    if (part.text !== undefined) form.append("texts", part.text);
  }
  return (await call("/embed", { method: "POST", body: form })).json();
}

/** A stored point, as hits show it. */
export async function point(id) {
  return (await call(`/points/${encodeURIComponent(id)}`)).json();
}

/** The points of a stored cloud or mesh: Float32Array of x, y, z, within the unit sphere. */
export async function cloud(id, count) {
  const reply = await call(`/clouds/${encodeURIComponent(id)}?count=${count}`);
  return new Float32Array(await reply.arrayBuffer());
}

/** A point's original bytes. */
export async function media(url) {
  return (await call(url)).arrayBuffer();
}
