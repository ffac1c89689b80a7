// How the parts of a component are made; stands before the script of each that makes many.
"use strict";
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, given] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), given);
    else if (given === true) node.setAttribute(name, "");
    else if (given !== false && given !== null) node.setAttribute(name, given);
  }
  node.append(...children);
  return node;
};
