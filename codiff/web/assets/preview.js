// Pictures that are being drawn, over the place where they will be. The value: null, or {row: data URL of square
// pictures side by side, "" where there is none yet}. Runs as the body of a function (element, trigger, props, server,
// upload, watch).
"use strict";
const box = element.querySelector(".preview");
const canvas = element.querySelector("canvas");
const LINGERS = 250; // milliseconds, until the pictures themselves are there
let turn = 0;

const draw = (row) => {
  const side = row.naturalHeight;
  const count = Math.max(1, Math.round(row.naturalWidth / side));
  const columns = Math.ceil(Math.sqrt(count));
  canvas.width = columns * side;
  canvas.height = Math.ceil(count / columns) * side;
  const pen = canvas.getContext("2d");
  for (let at = 0; at < count; at += 1) {
    const place = [(at % columns) * side, Math.floor(at / columns) * side];
    pen.drawImage(row, at * side, 0, side, side, ...place, side, side);
  }
};

const show = async () => {
  turn += 1;
  const mine = turn;
  const url = props.value?.row;
  if (url) {
    const row = new Image();
    row.src = url;
    await row.decode();
    if (mine !== turn) return;
    draw(row);
  } else if (box.hidden) canvas.width = canvas.height = 1;
  if (props.value) box.hidden = false;
  else setTimeout(() => mine === turn && (box.hidden = true), LINGERS);
};

watch("value", show);
show();
