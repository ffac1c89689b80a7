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
const problem = document.createElement("p");
problem.className = "problem";
problem.setAttribute("role", "alert");
root.replaceChildren(button, problem);

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

const mega = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

const take = async (file) => {
  problem.textContent = "";
  if (!file) return;
  if (file.size > props.most) {
    problem.textContent = `${file.name} has ${mega(file.size)}; at most ${mega(props.most)} can be taken.`;
    return;
  }
  try {
    props.value = { name: file.name, data: await content(file) };
    show();
    trigger("upload");
  } catch {
    problem.textContent = `${file.name} cannot be read.`;
  }
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
