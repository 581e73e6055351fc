// Elements from names, attributes and children. Text is always a text node: nothing that a user, a model or a file says is markup.

const SVG = "http://www.w3.org/2000/svg";

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

export const html = (name, attributes, ...children) => made(document.createElement(name), attributes, children);

export const svg = (name, attributes, ...children) => made(document.createElementNS(SVG, name), attributes, children);

export const byId = (id) => document.getElementById(id);

/** Draws `draw(width)` into a container, and again whenever its width changes. Gives the function that draws it anew. */
export function chart(container, draw) {
  let width = 0;
  const redraw = () => {
    if (width > 0) container.replaceChildren(draw(width));
  };
  new ResizeObserver(([entry]) => {
    const found = Math.floor(entry.contentRect.width);
    if (found !== width) {
      width = found;
      redraw();
    }
  }).observe(container);
  return redraw;
}
