// The server's HTTP interface. Every failure is an ApiError; status 0 means that no answer came.

export class ApiError extends Error {
  constructor(status, message, body = null) {
    super(message);
    this.status = status;
    this.body = body;
  }

  /** Worth sending again unchanged: the server was away or failed, it did not refuse. */
  get passing() {
    return this.status === 0 || this.status >= 500;
  }
}

async function call(method, path, body = undefined, options = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      credentials: "same-origin",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      ...options,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    // an error page of something between us and the server
  }
  const text = typeof body?.error === "string" ? body.error : response.statusText || "refused";
  if (response.status === 401) return new ApiError(401, "This server wants its token: open the address with ?token=... that it printed.", body);
  return new ApiError(response.status, text, body);
}

export function query(values) {
  const pairs = Object.entries(values).filter(([, v]) => v !== null && v !== undefined && v !== "");
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

const part = encodeURIComponent;
const json = async (method, path, body, options) => (await call(method, path, body, options)).json();

export const get = (path, values = {}, options = {}) => json("GET", path + query(values), undefined, options);
export const put = (path, body, options = {}) => json("PUT", path, body, options);
export const post = (path, body) => json("POST", path, body);
export const remove = (path) => call("DELETE", path);

export const episodePath = (id, rest = "") => `/api/episodes/${part(id)}${rest}`;
export const framePath = (id, camera, step) => episodePath(id, `/frames/${part(camera)}/${step}.png`);

/** The bytes of one picture, as a Blob. */
export const picture = async (path, options) => (await call("GET", path, undefined, options)).blob();
