// Builds the page and brings it up to date. Whatever is shown goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Attributes that are null or false are left out; true ones are empty. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** An element of a drawing. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

/**
 * Make the children of an element look like these. What is there already stays, and with it the
 * focus, the selection and the place to which somebody has scrolled.
 */
export function show(target, ...wanted) {
  const there = [...target.childNodes];
  wanted
    .flat(Infinity)
    .filter(Boolean)
    .forEach((node, place) => {
      const old = there[place];
      if (old === undefined) target.append(node);
      else if (!alike(old, node)) old.replaceWith(node);
      else update(old, node);
      there[place] = null;
    });
  there.filter(Boolean).forEach((old) => old.remove());
}

function alike(old, node) {
  return old.nodeName === node.nodeName && old.dataset?.key === node.dataset?.key;
}

function update(old, node) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== node.data) old.data = node.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!node.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of node.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  show(old, ...node.childNodes);
}
