// Elements without innerHTML: titles of windows are other people's words, and stay text.

export const $ = (id) => document.getElementById(id);

export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, of] of Object.entries(value)) node.style.setProperty(key, of);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Replaces the children only where they differ, so that focus and selection survive a refresh.
export function put(parent, ...children) {
  const wanted = children.filter((child) => child !== null && child !== undefined);
  const text = (nodes) => [...nodes].map((node) => (typeof node === "string" ? node : node.outerHTML ?? node.textContent)).join("\u0000");
  if (text(parent.childNodes) !== text(wanted)) parent.replaceChildren(...wanted);
}

export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
