const about = JSON.parse(document.getElementById("about").textContent);
const [face, frame, status] = ["face", "frame", "status"].map((id) => document.getElementById(id));
const [compare, reset, save, form] = ["compare", "reset", "save", "sliders"].map((id) => document.getElementById(id));
const sliders = [];
const paint = face.getContext("2d");
const small = document.createElement("canvas");
// A full picture that takes no longer than this is rendered while a slider moves.
const AT_ONCE = 0.1;
let original = null, current = null, busy = true, isDragging = false, fullTime = Infinity;

face.width = face.height = about.resolution;
for (const edit of about.edits) sliders.push(addSlider(edit));

function addSlider(edit) {
  const row = document.createElement("div"), label = document.createElement("label");
  const input = document.createElement("input"), output = document.createElement("output");
  const [min, max] = [edit.points[0][0], edit.points.at(-1)[0]];
  Object.assign(input, { type: "range", id: `edit-${edit.name}`, min, max, step: 0.1, value: 0, disabled: true });
  label.htmlFor = output.htmlFor = input.id;
  label.textContent = edit.label;
  row.className = "slider";
  row.append(label, output, input);
  groupOf(edit.group).append(row);
  input.addEventListener("input", () => { isDragging = true; changed(); });
  // A slider that is let go of where it was taken has not changed.
  for (const end of ["change", "pointerup", "pointercancel", "blur"]) {
    input.addEventListener(end, () => { isDragging = false; changed(); });
  }
  row.addEventListener("dblclick", () => { input.value = 0; changed(); });
  return { edit, input, output, row };
}

function groupOf(title) {
  const id = `group-${title.replace(/\W+/g, "-")}`;
  const known = document.getElementById(id);
  if (known) return known;
  const group = document.createElement("fieldset");
  group.id = id;
  if (title === "First") {
    form.prepend(group);
    return group;
  }
  const details = document.createElement("details"), summary = document.createElement("summary");
  summary.textContent = title;
  details.append(summary, group);
  form.append(details);
  return group;
}

function vectorsAt({ points }, strength) {
  const i = Math.max(1, points.findIndex(([s]) => s >= strength));
  const [[s, before], [t, after]] = [points[i - 1], points[i]];
  return before + ((strength - s) / (t - s)) * (after - before);
}

function amounts() {
  return Float32Array.from(sliders, ({ edit, input }) => vectorsAt(edit, input.valueAsNumber));
}

function changed() {
  for (const { input, output, row } of sliders) {
    const strength = input.valueAsNumber;
    output.value = strength > 0 ? `+${strength.toFixed(1)}` : strength.toFixed(1).replace("-", "−");
    row.classList.toggle("moved", strength !== 0);
    const [from, to] = [0, strength].map((s) => (s - input.min) / (input.max - input.min)).sort((a, b) => a - b);
    row.style.setProperty("--from", from);
    row.style.setProperty("--to", to);
  }
  reset.disabled = save.disabled = compare.disabled = !current;
  next();
}

function isSame(picture, wanted) {
  return picture && picture.amounts.every((value, i) => value === wanted[i]);
}

// One picture at a time, always of where the sliders are by then: drafts while they move, the full one after that.
function next() {
  if (busy) return;
  const wanted = amounts(), isQuick = fullTime < AT_ONCE;
  const isThere = isSame(current, wanted);
  if (isThere && (current.kind === "full" || isDragging)) return;
  busy = true;
  frame.ariaBusy = "true";
  worker.postMessage({ amounts: wanted, kind: isThere || isQuick ? "full" : "draft" });
}

function show(picture) {
  if (!picture) return;
  if (picture.kind === "full") {
    paint.putImageData(picture.data, 0, 0);
    return;
  }
  small.width = small.height = picture.data.width;
  small.getContext("2d").putImageData(picture.data, 0, 0);
  paint.imageSmoothingQuality = "high";
  paint.drawImage(small, 0, 0, face.width, face.height);
}

function received({ data }) {
  if (data.error) return fail(data.error);
  busy = false;
  frame.ariaBusy = "false";
  current = { ...data, data: new ImageData(new Uint8ClampedArray(data.pixels), data.size) };
  if (data.kind === "full") fullTime = data.seconds;
  if (data.ready) {
    original = current;
    status.textContent = "";
    for (const { input } of sliders) input.disabled = false;
    const means = data.provider === "webgpu" ? "the graphics card" : "one processor core, without a graphics card";
    document.getElementById("engine").textContent = `Computed by ${means}.`;
    document.documentElement.dataset.provider = data.provider;
  }
  document.documentElement.dataset[data.kind] = data.seconds; // for whoever measures
  if (compare.ariaPressed !== "true") show(current);
  changed();
}

function fail(message) {
  frame.classList.add("failed");
  frame.ariaBusy = "false";
  status.textContent = `This browser can't compute the picture (${message}). Try a current Chrome, Edge, Firefox or Safari.`;
}

function comparing(isHeld) {
  if (compare.disabled || isHeld === (compare.ariaPressed === "true")) return;
  compare.ariaPressed = String(isHeld);
  show(isHeld ? original : current);
}

compare.addEventListener("pointerdown", (event) => {
  compare.setPointerCapture(event.pointerId);
  comparing(true);
});
for (const end of ["pointerup", "pointercancel", "blur", "keyup"]) compare.addEventListener(end, () => comparing(false));
compare.addEventListener("keydown", ({ key }) => { if (key === " " || key === "Enter") comparing(true); });
compare.addEventListener("contextmenu", (event) => event.preventDefault());

reset.addEventListener("click", () => {
  for (const { input } of sliders) input.value = 0;
  changed();
});

save.addEventListener("click", () => {
  face.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${about.name.replace(/[^\p{L}\p{N}._ -]+/gu, "-")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
});

const source = new Blob([document.getElementById("worker").textContent], { type: "text/javascript" });
const worker = new Worker(URL.createObjectURL(source));
worker.onmessage = received;
worker.onerror = (event) => fail(event.message ?? "no worker");
const blocks = {};
for (const block of document.querySelectorAll("script.block")) {
  blocks[block.id] = block.textContent;
  block.remove();
}
worker.postMessage({ blocks, check: about.check, count: sliders.length });
