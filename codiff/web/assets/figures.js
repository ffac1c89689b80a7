// Pictures with captions. The value: [{src: data URL, caption, width, height}]. Pictures of before stay until those in
// their place are ready, so that nothing moves. Runs as the body of a function (element, trigger, props, server,
// upload, watch).
"use strict";
const grid = element.querySelector(".grid");
const empty = element.querySelector(".empty");
empty.textContent = props.empty;

const added = () => {
  const figure = document.createElement("figure");
  figure.append(document.createElement("img"), document.createElement("figcaption"));
  grid.append(figure);
  return figure;
};

const show = () => {
  const figures = props.value ?? [];
  empty.hidden = figures.length > 0 || !props.empty;
  grid.style.setProperty("--columns", Math.max(props.columns, figures.length + props.skipped));
  grid.style.setProperty("--first", props.skipped + 1);
  while (grid.children.length > figures.length) grid.lastElementChild.remove();
  figures.forEach(({ src, caption, width, height }, place) => {
    const [image, told] = (grid.children[place] ?? added()).children;
    image.width = width;
    image.height = height;
    image.alt = `${props.title}: ${caption}`;
    image.src = src;
    told.textContent = caption;
  });
};

watch("value", show);
show();
