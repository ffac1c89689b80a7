// A photo on which two eyes are marked: by pointer, or by keyboard alone. The value: up to two places, each as shares of
// the photo's width and height. Marks that nobody has put anywhere yet are not in it. Runs as the body of a function
// (element, trigger, props, server, upload, watch).
"use strict";
const MOST = 2;
const USUAL = [
  [0.4, 0.4],
  [0.6, 0.4],
];
const STEP = 0.004; // of the photo, for one press of an arrow key
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const uid = Math.random().toString(36).slice(2, 10);

const image = make("img", { alt: "Your photo", draggable: "false" });
const photo = make("div", { class: "photo", hidden: true }, image);
const empty = make("p", { class: "empty" }, "Your photo appears here.");
const put = make("button", { type: "button", onclick: () => begin() }, "Mark the eyes");
const confirm = make("button", { type: "button", class: "confirm", onclick: () => settle([true, true]) }, "These are the eyes");
const drop = make("button", { type: "button", onclick: () => change([]) }, "Remove the marks");
const todo = make("p", { class: "todo", role: "status" });
const keys = make("p", { class: "keys", id: `keys-${uid}` }, "Arrow keys move a mark, with Shift in large steps.");
element
  .querySelector(".eyes")
  .replaceChildren(make("div", { class: "place" }, photo, empty), todo, make("div", { class: "acts" }, put, confirm, drop), keys);

let places = [];
let isPut = []; // for each mark, whether somebody put it there
let sent = "";
let timer = 0;

const within = (share) => Math.min(1, Math.max(0, share));
const percent = (share) => `${(100 * share).toFixed(1)} %`;

const tell = () => {
  const told = isPut.every(Boolean) ? places : [];
  const text = JSON.stringify(told);
  if (text === sent) return;
  sent = text;
  props.value = told.map((place) => [...place]);
  trigger("input");
};

const tellSoon = () => {
  clearTimeout(timer);
  timer = setTimeout(tell, 350);
};

const show = () => {
  const marks = [...photo.querySelectorAll(".mark")];
  marks.slice(places.length).forEach((mark) => mark.remove());
  places.forEach(([x, y], index) => {
    const mark = marks[index] ?? photo.appendChild(newMark(index));
    mark.style.left = `${100 * x}%`;
    mark.style.top = `${100 * y}%`;
    mark.classList.toggle("guessed", !isPut[index]);
    mark.setAttribute("aria-label", `Eye ${index + 1}: ${percent(x)} from the left, ${percent(y)} from the top`);
  });
  put.disabled = photo.hidden || places.length === MOST;
  drop.disabled = photo.hidden || places.length === 0;
  confirm.hidden = isPut.every(Boolean);
  const text = confirm.hidden
    ? ""
    : "Move both marks onto the eyes. They do not count until you have moved both, or pressed “These are the eyes”.";
  if (todo.textContent !== text) todo.textContent = text;
};

const change = (next, by = next.map(() => true)) => {
  places = next;
  settle(by);
};

const settle = (by) => {
  isPut = by;
  show();
  tell();
};

const begin = () => {
  change(USUAL.map((place) => [...place]), [false, false]);
  photo.querySelector(".mark").focus();
};

const moved = (index, place) => {
  places[index] = place;
  isPut[index] = true;
  show();
};

const at = (event) => {
  const box = image.getBoundingClientRect();
  return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
};

function newMark(index) {
  const mark = make("button", { type: "button", class: "mark", "aria-describedby": `keys-${uid}` });
  mark.addEventListener("pointerdown", (event) => {
    mark.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  mark.addEventListener("pointermove", (event) => {
    if (!mark.hasPointerCapture(event.pointerId)) return;
    moved(index, at(event));
  });
  mark.addEventListener("pointerup", tell);
  mark.addEventListener("click", (event) => event.stopPropagation());
  mark.addEventListener("keydown", (event) => {
    const way = ARROWS[event.key];
    if (!way) return;
    event.preventDefault();
    const step = STEP * (event.shiftKey ? 10 : 1);
    moved(index, [within(places[index][0] + way[0] * step), within(places[index][1] + way[1] * step)]);
    tellSoon();
  });
  return mark;
}

const distance = ([x, y], [u, v]) => Math.hypot((x - u) * image.naturalWidth, (y - v) * image.naturalHeight);

photo.addEventListener("click", (event) => {
  const place = at(event);
  if (places.length < MOST) change([...places, place], [...isPut, true]);
  else {
    const nearest = distance(places[0], place) <= distance(places[1], place) ? 0 : 1;
    moved(nearest, place);
    tell();
  }
});

const take = () => {
  photo.hidden = !props.picture;
  empty.hidden = !photo.hidden;
  if (props.picture) image.src = props.picture;
  const given = Array.isArray(props.value) ? props.value : [];
  places = given.slice(0, MOST).map((place) => [...place]);
  isPut = places.map(() => true);
  sent = JSON.stringify(places);
  show();
};

watch("value", () => {
  if (JSON.stringify(props.value ?? []) !== sent) take();
});
watch("picture", take);
take();
