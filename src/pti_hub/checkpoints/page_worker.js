"use strict";
// Computes pictures beside the page, so that sliders move while it works.
const PROVIDERS = { gpu: "webgpu", cpu: "wasm" };
let sessions = null;
let latest = null;

onmessage = async ({ data }) => {
  try {
    if (data.blocks) await start(data);
    else await render(data);
  } catch (error) {
    postMessage({ error: String(error?.message ?? error) });
  }
};

async function start({ blocks, check, count }) {
  const [trunk, finish] = [await unpacked(blocks.trunk), await unpacked(blocks.finish)];
  const amounts = new Float32Array(count);
  let reason = "";
  for (const build of await builds()) {
    try {
      const provider = PROVIDERS[build];
      await load(blocks, build);
      const options = { executionProviders: [provider] };
      sessions = {
        trunk: await ort.InferenceSession.create(trunk, options),
        finish: await ort.InferenceSession.create(finish, options),
      };
      const begun = performance.now();
      const image = await finished(amounts);
      const seconds = (performance.now() - begun) / 1000;
      if (!agrees(image, check)) throw new Error(`${provider} computes another picture than was expected`);
      send({ ready: true, provider, seconds, kind: "full", amounts }, image);
      return;
    } catch (error) {
      reason = String(error?.message ?? error);
      latest = null;
    }
  }
  throw new Error(reason);
}

async function load(blocks, build) {
  const script = (code) => URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const part = (name) => unpacked(blocks[`${build}-${name}`]);
  importScripts(script(await part("script")));
  // A page that was opened as a file may not share memory between threads.
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  ort.env.wasm.wasmBinary = await part("wasm");
  ort.env.wasm.wasmPaths = { mjs: script(await part("module")) };
}

async function unpacked(text) {
  const packed = Uint8Array.fromBase64?.(text) ?? decoded(text);
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

function decoded(text) {
  const binary = atob(text);
  const packed = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) packed[i] = binary.charCodeAt(i);
  return packed;
}

async function builds() {
  // The build for graphics cards waits for them by suspending WebAssembly, which not every browser can.
  if (!WebAssembly.Suspending) return ["cpu"];
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  const isCard = adapter && !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
  return isCard ? ["gpu", "cpu"] : ["cpu"];
}

async function render({ amounts, kind }) {
  const begun = performance.now();
  const picture = kind === "draft" ? (await drafted(amounts)).draft : await finished(amounts);
  send({ kind, amounts, seconds: (performance.now() - begun) / 1000 }, picture);
}

async function drafted(amounts) {
  if (!latest || latest.amounts.some((value, i) => value !== amounts[i])) {
    const input = new ort.Tensor("float32", amounts.slice(), [amounts.length]);
    latest = { amounts: amounts.slice(), ...(await sessions.trunk.run({ amounts: input })) };
  }
  return latest;
}

async function finished(amounts) {
  const { x, ws } = await drafted(amounts);
  return (await sessions.finish.run({ x, ws })).image;
}

function agrees(image, check) {
  const size = image.dims[3], cells = Math.round(Math.sqrt(check.length / 3)), cell = size / cells;
  const means = new Float64Array(check.length);
  for (let i = 0; i < image.data.length; i++) {
    const column = Math.floor((i % size) / cell), row = Math.floor((Math.floor(i / size) % size) / cell);
    const channel = Math.floor(i / size / size);
    means[(channel * cells + row) * cells + column] += Math.min(1, Math.max(-1, image.data[i])) / cell / cell;
  }
  // Also false where a mean is no number.
  return means.every((mean, i) => Math.abs(mean - check[i]) < 0.05);
}

function send(message, { data, dims }) {
  const size = dims[3], plane = size * size;
  const pixels = new Uint8ClampedArray(4 * plane);
  for (let i = 0; i < plane; i++) {
    pixels[4 * i] = data[i] * 127.5 + 127.5;
    pixels[4 * i + 1] = data[plane + i] * 127.5 + 127.5;
    pixels[4 * i + 2] = data[2 * plane + i] * 127.5 + 127.5;
    pixels[4 * i + 3] = 255;
  }
  postMessage({ ...message, size, pixels: pixels.buffer }, [pixels.buffer]);
}
