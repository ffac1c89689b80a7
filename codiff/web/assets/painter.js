// A canvas of numbered colours: what is painted is kept as one number a pixel, never read back from a canvas, which some
// browsers alter against fingerprinting. Runs as the body of a function (element, trigger, props, server, upload, watch)
// once for each painter on the page.
"use strict";
const MOST_UNDONE = 40;
const SHOWN = 0.55; // opacity of what is painted over a picture, to begin with
const root = element.querySelector(".painter");
const settled = JSON.parse(atob(root.dataset.settings));
const { title, blank, brushes } = settled;
const colours = settled.colours; // value -> [red, green, blue]
const names = new Map(brushes.map((brush) => [brush.value, brush.name]));

let side = settled.side;
let values = new Uint8Array(side * side).fill(blank);
let cursor = [side / 2, side / 2];
let past = [];
let future = [];
let value = brushes.find((brush) => brush.chosen)?.value ?? brushes[0].value;
let size = settled.size; // of the brush, in pixels of a drawing of settled.side
let fills = false;
let sent = ""; // what this painter last gave away
let turn = 0; // counts what is encoded or decoded, so that something late never replaces something later

/* Parts of the page. */

const uid = Math.random().toString(36).slice(2, 10);
const press = (label, title, action) => make("button", { type: "button", title, onclick: action }, label);
const radio = (group, label, title, checked, action) =>
  make(
    "label",
    { title },
    make("input", { type: "radio", name: `${group}-${uid}`, checked, onchange: action }),
    ...[label].flat(),
  );

const canvas = make("canvas", { class: "drawing", "aria-hidden": "true" });
const pen = canvas.getContext("2d");
const picture = make("img", { class: "underlay", alt: "", hidden: true });
const ring = make("div", { class: "ring", hidden: true });
const said = make("p", { class: "said", "aria-live": "polite" });
const last = (brushes.length - 1).toString(36);
const keys = `Arrow keys move the brush, space paints, enter fills, [ and ] change its size, 0 to ${last} choose a colour, Ctrl+Z undoes.`;
const sheet = make(
  "div",
  { class: "sheet", tabindex: "0", role: "application", "aria-label": `${title}: canvas`, "aria-describedby": `keys-${uid}` },
  picture,
  canvas,
  ring,
);
const undo = press("↶ Undo", "Undo (Ctrl+Z)", () => travel(past, future));
const redo = press("↷ Redo", "Redo (Ctrl+Shift+Z)", () => travel(future, past));
const clear = press("Clear", "Remove everything that is painted", () => changed(empty));
const through = make("input", {
  type: "range",
  min: "0",
  max: "1",
  step: "0.05",
  value: String(SHOWN),
  oninput: () => see(),
});
const seeThrough = make("label", { class: "through", hidden: true, title: "How much the picture below shows" }, "Opacity ", through);
const SIZES = [
  ["Fine", 0.01],
  ["Small", 0.03],
  ["Medium", 0.06],
  ["Large", 0.12],
].map(([name, share]) => [name, Math.max(1, Math.round(share * settled.side))]);

const chips = brushes.map((brush, place) => {
  const key = place.toString(36);
  const swatch = make("span", { class: "swatch", style: `background: rgb(${colours[brush.value].join(" ")})` });
  const hint = make("kbd", { "aria-hidden": "true" }, key);
  const chip = radio("colour", [swatch, make("span", { class: "name" }, brush.name), hint], `${brush.name} (key ${key})`, brush.value === value, () => {
    value = brush.value;
  });
  chip.dataset.value = brush.value;
  return chip;
});

root.replaceChildren(
  make(
    "div",
    { class: "tools", role: "group", "aria-label": `${title}: tools` },
    make(
      "div",
      { class: "choice", role: "radiogroup", "aria-label": "Tool" },
      radio("tool", "Brush", "Paint freely", true, () => (fills = false)),
      radio("tool", "Fill", "Fill an area of one colour", false, () => (fills = true)),
    ),
    make(
      "div",
      { class: "choice sizes", role: "radiogroup", "aria-label": "Brush size" },
      ...SIZES.map(([name, pixels]) => {
        const dot = make("span", { class: "dot", style: `--share: ${pixels / SIZES.at(-1)[1]}` });
        const chip = radio("size", [dot, make("span", { class: "unseen" }, name)], `${name} brush`, pixels === nearest(size), () => {
          size = pixels;
          place();
        });
        chip.dataset.size = pixels;
        return chip;
      }),
    ),
    make("div", { class: "choice acts" }, undo, redo, clear),
    seeThrough,
  ),
  make(
    "div",
    { class: brushes.length > 4 ? "desk" : "desk few" },
    sheet,
    make("div", { class: "palette", role: "radiogroup", "aria-label": `${title}: colours` }, ...chips),
  ),
  make("p", { class: "keys", id: `keys-${uid}` }, keys),
  said,
);

function nearest(pixels) {
  return SIZES.map((each) => each[1]).reduce((one, other) => (Math.abs(other - pixels) < Math.abs(one - pixels) ? other : one));
}

/* Drawing what there is. */

const shades = () => {
  const table = new Uint32Array(256);
  const bytes = new Uint8Array(table.buffer);
  colours.forEach(([red, green, blue], number) => bytes.set([red, green, blue, number === settled.clear ? 0 : 255], 4 * number));
  return table;
};
const table = shades();

const show = (top = 0, bottom = side) => {
  if (canvas.width !== side) canvas.width = canvas.height = side;
  if (bottom <= top) return;
  const image = pen.createImageData(side, bottom - top);
  const pixels = new Uint32Array(image.data.buffer);
  for (let place = 0, from = top * side; place < pixels.length; place += 1, from += 1) pixels[place] = table[values[from]];
  pen.putImageData(image, 0, top);
};

const see = () => {
  const under = !picture.hidden;
  seeThrough.hidden = !under;
  canvas.style.opacity = under ? through.value : "1";
};

const underlay = () => {
  picture.hidden = !props.underlay;
  if (props.underlay) picture.src = props.underlay;
  else picture.removeAttribute("src");
  see();
};

/* Changing it. */

const refresh = () => {
  undo.disabled = past.length === 0;
  redo.disabled = future.length === 0;
  clear.disabled = values.every((each) => each === blank);
};

const remember = () => {
  past.push({ side, values: values.slice() });
  if (past.length > MOST_UNDONE) past.shift();
  future = [];
};

const empty = () => {
  side = settled.side;
  values = new Uint8Array(side * side).fill(blank);
  cursor = [side / 2, side / 2];
  place();
};

const changed = (change) => {
  remember();
  change();
  show();
  give();
};

const travel = (from, to) => {
  if (from.length === 0) return;
  to.push({ side, values });
  ({ side, values } = from.pop());
  show();
  give();
};

// A disc of whole pixels: no edge is smoothed, so no colour appears that was not chosen.
const dab = (x, y, paint) => {
  const wide = Math.max(1, (size * side) / settled.side);
  const radius = wide / 2;
  const [left, top] = [Math.max(0, Math.floor(x - radius)), Math.max(0, Math.floor(y - radius))];
  const [right, bottom] = [Math.min(side, Math.ceil(x + radius)), Math.min(side, Math.ceil(y + radius))];
  for (let row = top; row < bottom; row += 1) {
    for (let column = left; column < right; column += 1) {
      const inside = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2 <= radius * radius;
      if (inside || (column === Math.floor(x) && row === Math.floor(y))) values[row * side + column] = paint;
    }
  }
  return [top, bottom];
};

const line = (from, to, paint) => {
  const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
  const steps = Math.max(1, Math.ceil(length));
  let [top, bottom] = [side, 0];
  for (let step = 0; step <= steps; step += 1) {
    const share = step / steps;
    const reached = dab(from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1]), paint);
    [top, bottom] = [Math.min(top, reached[0]), Math.max(bottom, reached[1])];
  }
  show(top, bottom);
};

const fill = (x, y, paint) => {
  const start = Math.floor(y) * side + Math.floor(x);
  const before = values[start];
  if (before === paint) return;
  remember();
  const waiting = [start];
  values[start] = paint;
  while (waiting.length > 0) {
    const at = waiting.pop();
    const column = at % side;
    const around = [at - side, at + side, column > 0 ? at - 1 : -1, column < side - 1 ? at + 1 : -1];
    for (const next of around) {
      if (next >= 0 && next < values.length && values[next] === before) {
        values[next] = paint;
        waiting.push(next);
      }
    }
  }
  show();
  give();
};

/* The brush: where it is, by pointer or by keys. */

let stroke = null; // the last point of the stroke being painted

const place = () => {
  ring.style.left = `${(100 * cursor[0]) / side}%`;
  ring.style.top = `${(100 * cursor[1]) / side}%`;
  ring.style.width = `${(100 * Math.max(size, 2)) / settled.side}%`;
};

const point = (event) => {
  const box = canvas.getBoundingClientRect();
  const within = (share) => Math.min(side - 0.001, Math.max(0, share * side));
  return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
};

// Bit 5 of `buttons` is the eraser at the other end of a pen (W3C, Pointer Events).
const paintOf = (event) => (event.buttons & 32 ? blank : value);

sheet.addEventListener("pointerdown", (event) => {
  if (event.button > 0 && !(event.buttons & 32)) return;
  event.preventDefault();
  sheet.focus({ preventScroll: true });
  cursor = point(event);
  if (fills) {
    fill(...cursor, paintOf(event));
    return;
  }
  sheet.setPointerCapture(event.pointerId);
  remember();
  stroke = cursor;
  line(stroke, stroke, paintOf(event));
});

sheet.addEventListener("pointermove", (event) => {
  ring.hidden = false;
  const points = stroke && event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const each of points.length > 0 ? points : [event]) {
    cursor = point(each);
    if (stroke) {
      line(stroke, cursor, paintOf(event));
      stroke = cursor;
    }
  }
  place();
});

const lift = () => {
  if (!stroke) return;
  stroke = null;
  give();
};
sheet.addEventListener("pointerup", lift);
sheet.addEventListener("pointercancel", lift);
sheet.addEventListener("pointerleave", () => {
  ring.hidden = document.activeElement !== sheet;
});
sheet.addEventListener("focus", () => {
  ring.hidden = false;
  place();
});
sheet.addEventListener("blur", () => {
  ring.hidden = true;
  if (down) lift();
  down = false;
});

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let down = false; // whether space is held, so that moving paints

const move = (event) => {
  const far = event.shiftKey ? side / 8 : Math.max(1, side / 64);
  const to = cursor.map((at, axis) => Math.min(side - 0.5, Math.max(0.5, at + far * MOVES[event.key][axis])));
  if (down) line(cursor, to, value);
  cursor = to;
  place();
  const under = names.get(values[Math.floor(to[1]) * side + Math.floor(to[0])]);
  said.textContent = `${under ?? ""} ${Math.round((100 * to[0]) / side)}% across, ${Math.round((100 * to[1]) / side)}% down`;
};

const resize = (by) => {
  const pixels = SIZES.map((each) => each[1]);
  size = pixels[Math.min(pixels.length - 1, Math.max(0, pixels.indexOf(nearest(size)) + by))];
  root.querySelector(`[data-size="${size}"] input`).checked = true;
  place();
};

sheet.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") travel(...(event.shiftKey ? [future, past] : [past, future]));
    else if (key === "y") travel(future, past);
    else return;
  } else if (event.key in MOVES) move(event);
  else if (key === " ") {
    if (!event.repeat) {
      remember();
      down = true;
      stroke = cursor;
      line(cursor, cursor, value);
    }
  } else if (key === "enter") fill(...cursor, value);
  else if (key === "[" || key === "]") resize(key === "[" ? -1 : 1);
  else if (/^[0-9a-z]$/.test(key) && !event.altKey && Number.parseInt(key, 36) < chips.length) {
    chips[Number.parseInt(key, 36)].querySelector("input").click();
    said.textContent = brushes[Number.parseInt(key, 36)].name;
  } else return;
  event.preventDefault();
});
sheet.addEventListener("keyup", (event) => {
  if (event.key !== " ") return;
  down = false;
  lift();
});

/* The value: a PNG whose palette are the colours, so that its indices are exactly what was painted. */

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  let word = byte;
  for (let bit = 0; bit < 8; bit += 1) word = word & 1 ? (word >>> 1) ^ 0xedb88320 : word >>> 1;
  return word;
});

const chunk = (kind, data) => {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(kind), 4);
  bytes.set(data, 8);
  let word = 0xffffffff;
  for (const byte of bytes.subarray(4, 8 + data.length)) word = CRC[(word ^ byte) & 255] ^ (word >>> 8);
  view.setUint32(8 + data.length, ~word >>> 0);
  return bytes;
};

// W3C, Portable Network Graphics, third edition: 8-bit indices, no filter, not interlaced.
const png = async (wide, indices) => {
  const rows = new Uint8Array(wide * (wide + 1));
  for (let row = 0; row < wide; row += 1) rows.set(indices.subarray(row * wide, (row + 1) * wide), row * (wide + 1) + 1);
  const deflated = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(deflated).arrayBuffer());
  const header = new Uint8Array([0, 0, wide >> 8, wide & 255, 0, 0, wide >> 8, wide & 255, 8, 3, 0, 0, 0]);
  const signature = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
  const chunks = [chunk("IHDR", header), chunk("PLTE", new Uint8Array(colours.flat())), chunk("IDAT", data), chunk("IEND", new Uint8Array())];
  const reader = new FileReader();
  return new Promise((done) => {
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(new Blob([signature, ...chunks], { type: "image/png" }));
  });
};

async function give() {
  refresh();
  turn += 1;
  const mine = turn;
  const url = values.every((each) => each === blank) ? "" : await png(side, values);
  if (mine !== turn) return;
  sent = url;
  props.value = url;
  trigger("input");
}

const closest = (red, green, blue) => {
  let [best, least] = [0, Infinity];
  colours.forEach((colour, number) => {
    const distance = (colour[0] - red) ** 2 + (colour[1] - green) ** 2 + (colour[2] - blue) ** 2;
    if (distance < least) [best, least] = [number, distance];
  });
  return best;
};

const read = async (url) => {
  const image = new Image();
  image.src = url;
  await image.decode();
  const wide = image.naturalWidth;
  const surface = new OffscreenCanvas(wide, wide).getContext("2d");
  surface.drawImage(image, 0, 0);
  const { data } = surface.getImageData(0, 0, wide, wide);
  const known = new Map();
  const indices = new Uint8Array(wide * wide);
  for (let at = 0; at < indices.length; at += 1) {
    const [red, green, blue] = data.subarray(4 * at, 4 * at + 3);
    const code = (red << 16) | (green << 8) | blue;
    if (!known.has(code)) known.set(code, closest(red, green, blue));
    indices[at] = known.get(code);
  }
  return { side: wide, values: indices };
};

const take = async (first) => {
  const url = props.value ?? "";
  if (url === sent) return;
  sent = url;
  turn += 1;
  const mine = turn;
  const taken = url ? await read(url) : { side: settled.side, values: new Uint8Array(settled.side * settled.side).fill(blank) };
  if (mine !== turn) return;
  if (!first) remember();
  ({ side, values } = taken);
  cursor = [side / 2, side / 2];
  place();
  show();
  refresh();
};

show();
refresh();
place();
underlay();
take(true);
watch("value", () => take(false));
watch("underlay", underlay);
