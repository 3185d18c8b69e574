// Builds elements. What is put into one is always text, never markup, so nothing that was sent can become code.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element. Attributes that begin with "on" are listeners; null and false are left out; true is present. While
 * what a listener has begun is not finished, it does not begin again: who clicks twice wants one thing.
 */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Put `children` in the place of all that an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), single(element, value));
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/**
 * A listener for what gives its place to another of its kind, as a row does that leaves its list: neither the second
 * click of two nor a key that is held was meant for the next one.
 */
export function once(act) {
  return ({ detail, repeat }) => (detail > 1 || repeat ? undefined : act());
}

function single(element, act) {
  let running = false;
  return async (event) => {
    if (running) {
      event.preventDefault(); // of a form, which would load the page anew
      return;
    }
    const begun = act(event);
    if (!(begun instanceof Promise)) return;
    running = true;
    element.setAttribute("aria-busy", "true");
    try {
      await begun;
    } finally {
      running = false;
      element.removeAttribute("aria-busy");
    }
  };
}
