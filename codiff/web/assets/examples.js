// Buttons with pictures; the event `select` says by its number which was pressed. Runs as the body of a function
// (element, trigger, props, server, upload, watch).
"use strict";
const row = element.querySelector(".row");
row.setAttribute("aria-label", props.title);
row.replaceChildren(
  ...props.choices.map(({ name, picture }, index) => {
    const button = document.createElement("button");
    const image = document.createElement("img");
    button.type = "button";
    image.src = picture;
    image.alt = "";
    button.append(image, name);
    button.addEventListener("click", () => trigger("select", { index }));
    return button;
  }),
);
