// Two pictures, one over the other, and a divider. The value: {before, after} as data URLs, or null. The divider is a
// range input that covers the pictures: pointers, arrow keys and screen readers know it without a word of ours.
// Runs as the body of a function (element, trigger, props, server, upload, watch).
"use strict";
const before = make("img", { alt: "Before", draggable: "false" });
const after = make("img", { alt: "After", class: "after", draggable: "false" });
const divider = make("input", {
  type: "range", role: "slider", min: 0, max: 100, value: 50, class: "divider", "aria-label": "Before and after",
});
const pair = make(
  "div", { class: "pair", hidden: true }, before, after, divider, make("div", { class: "line" }),
  make("span", { class: "side left", "aria-hidden": "true" }, "Before"),
  make("span", { class: "side right", "aria-hidden": "true" }, "After"),
);
const empty = make("p", { class: "empty" }, "Your photo before and after the edit appears here.");
const whole = make("button", { type: "button", class: "whole", title: "Full screen", "aria-label": "Full screen" });
whole.innerHTML = '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M2 6V2h4m4 0h4v4m0 4v4h-4m-4 0H2v-4" /></svg>';
const root = element.querySelector(".compare");
root.replaceChildren(pair, empty, whole);

const move = () => {
  pair.style.setProperty("--divider", `${divider.value}%`);
  divider.setAttribute("aria-valuenow", divider.value);
  divider.setAttribute("aria-valuetext", `left ${divider.value} % before, the rest after`);
};

const show = () => {
  pair.hidden = !props.value;
  empty.hidden = !pair.hidden;
  whole.hidden = pair.hidden || !document.fullscreenEnabled;
  if (!props.value) return;
  before.src = props.value.before;
  after.src = props.value.after;
};

before.addEventListener("load", () => {
  pair.style.setProperty("--ratio", before.naturalWidth / before.naturalHeight);
});
divider.addEventListener("input", move);
whole.addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()));
watch("value", show);
move();
show();
