// Pictures with captions. The value: [{src: data URL, caption, width, height}], or what is said in place of pictures.
// Pictures of before stay until those in their place are ready, so that nothing moves. Runs as the body of a function (element, trigger, props, server,
// upload, watch).
"use strict";
const { title, nothing, columns, skipped } = JSON.parse(atob(element.querySelector(".figures").dataset.settings));
const grid = element.querySelector(".grid");
const empty = element.querySelector(".empty");
const large = element.querySelector("dialog");
large.addEventListener("click", () => large.close());

const enlarge = (image) => {
  const shown = large.querySelector("img");
  shown.src = image.src;
  shown.alt = image.alt;
  large.querySelector(".of").textContent = image.alt;
  large.showModal();
};

const added = () => {
  const figure = document.createElement("figure");
  const button = document.createElement("button");
  const image = document.createElement("img");
  button.type = "button";
  button.className = "look";
  button.title = "Enlarge";
  button.append(image);
  button.addEventListener("click", () => enlarge(image));
  figure.append(button, document.createElement("figcaption"));
  grid.append(figure);
  return figure;
};

const show = () => {
  const said = typeof props.value === "string" ? props.value : "";
  const figures = said ? [] : (props.value ?? []);
  empty.textContent = said || nothing;
  empty.hidden = figures.length > 0 || !empty.textContent;
  grid.style.setProperty("--columns", Math.max(columns, figures.length + skipped));
  grid.style.setProperty("--first", skipped + 1);
  while (grid.children.length > figures.length) grid.lastElementChild.remove();
  figures.forEach(({ src, caption, width, height }, place) => {
    const [button, told] = (grid.children[place] ?? added()).children;
    const image = button.firstElementChild;
    image.width = width;
    image.height = height;
    image.alt = `${title}: ${caption}`;
    image.src = src;
    told.textContent = caption;
  });
};

watch("value", show);
show();
