// How far a run is. The value: {done: 0 to 1, text}. Runs as the body of a function (element, trigger, props, server,
// upload, watch).
"use strict";
const track = element.querySelector(".track");
const told = element.querySelector(".told");

const show = () => {
  const { done = 0, text = "" } = props.value ?? {};
  track.style.setProperty("--done", done);
  track.setAttribute("aria-valuenow", Math.round(100 * done));
  // A screen reader says what a run is, not each of its steps: those only the bar tells it.
  const counting = done > 0 && done < 1;
  told.setAttribute("aria-live", counting ? "off" : "polite");
  told.textContent = text;
};

watch("value", show);
show();
