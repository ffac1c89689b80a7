// A button that picks one file and hands over its content, so that nothing of it is stored where others could read it.
// Runs as the body of a function (element, trigger, props, server, upload, watch).
"use strict";
const root = element.querySelector(".picker");
const input = document.createElement("input");
input.type = "file";
input.accept = props.accept;
input.title = props.hint;
const button = document.createElement("label");
button.title = props.hint;
const text = document.createElement("span");
button.append(input, text);
root.replaceChildren(button);

const show = () => {
  text.textContent = (props.named && props.value?.name) || props.text;
};

const content = (file) =>
  new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(file);
  });

// Of a file that is too large only its size is sent, of one that cannot be read nothing: the server says what is wrong,
// so that one line alone does, and the next file replaces what it says.
const take = async (file) => {
  if (!file) return;
  const told = { name: file.name, size: file.size, data: "" };
  if (file.size <= props.most) told.data = await content(file).catch(() => null);
  props.value = told;
  show();
  trigger("upload");
};

input.addEventListener("change", () => {
  take(input.files[0]);
  input.value = ""; // the same file can be picked again
});
button.addEventListener("dragover", (event) => event.preventDefault());
button.addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});
watch("value", show);
show();
