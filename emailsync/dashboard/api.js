// Asks the daemon. The session's cookie goes along by itself; this script never keeps a token.

/** The daemon answered that it will not do so; `message` says why and what to do. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Nobody answers. */
export class Away extends Error {}

/** Return what the daemon answers to a request, parsed; null for an empty answer. */
export async function ask(path, { method = "GET", body } = {}) {
  const headers = { "X-Emailsync-Dashboard": "1" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  let text;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    text = await response.text();
  } catch (error) {
    throw new Away(error.message);
  }
  if (!response.ok) throw new Refused(response.status, refusal(response, text));
  return text ? JSON.parse(text) : null;
}

/** Return a path with a query of the values that are there. */
export function address(path, query) {
  const given = Object.entries(query).filter(([, value]) => value);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

function refusal(response, text) {
  try {
    const problem = JSON.parse(text);
    const faults = (problem.errors ?? []).map(
      (fault) => `${fault.where.replace(/^body\./, "")}: ${fault.detail}`,
    );
    return faults.join("; ") || problem.detail;
  } catch {
    return `${response.status} ${response.statusText}`; // of something between the daemon and us
  }
}
