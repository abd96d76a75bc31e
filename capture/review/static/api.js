// Talks to the server of this page. A server that is gone says so once, through `whenGone`.

let gone = () => {};
export function whenGone(call) { gone = call; }

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch {
    gone();
    throw new Error("This page has ended. Run “modicum review” again.");
  }
  const told = response.headers.get("content-type")?.startsWith("application/json") ? await response.json() : {};
  if (!response.ok) throw new Error(told.error ?? `the server answers ${response.status}`);
  return told;
}

export const get = (path) => answer(path, {});

export const post = (path, fields = {}) =>
  answer(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(fields) });
