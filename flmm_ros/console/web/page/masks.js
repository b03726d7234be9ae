// Masks from run lengths, painted in their objects' colours, and found again under the pointer.

const FILL = 0.46;
const FADED = 0.12;

// Run lengths, alternately outside and inside, row by row -> one byte a pixel.
export function unpack(runs, size) {
  const mask = new Uint8Array(size);
  let at = 0;
  runs.forEach((length, index) => {
    if (index % 2) mask.fill(1, at, at + length);
    at += length;
  });
  return mask;
}

export function rgbOf(color) {
  const value = parseInt(color.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

// Objects in the order in which they are painted: the surest one last, on top.
function byScore(objects) {
  return objects
    .map((object, index) => ({ object, index }))
    .filter(({ object }) => object.is_present && object.mask)
    .sort((a, b) => a.object.score - b.object.score);
}

// Paints all masks of an answer; with `only`, the others fade.
export function paint(canvas, answer, only = null) {
  const [width, height] = answer.size;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const image = context.createImageData(width, height);
  for (const { object, index } of byScore(answer.objects)) {
    const [red, green, blue] = rgbOf(object.color);
    const isShown = only === null || only === index;
    const alpha = Math.round(255 * (isShown ? FILL : FADED));
    const mask = object.mask;
    for (let at = 0; at < mask.length; at += 1) {
      if (!mask[at]) continue;
      const x = at % width;
      const isEdge = x === 0 || x === width - 1 || !mask[at - 1] || !mask[at + 1]
        || !mask[at - width] || !mask[at + width];
      image.data.set([red, green, blue, isEdge && isShown ? 255 : alpha], 4 * at);
    }
  }
  context.putImageData(image, 0, 0);
}

// The object at a place of the picture; null where there is none.
export function objectAt(answer, x, y) {
  const [width, height] = answer.size;
  const column = Math.floor(x * width);
  const row = Math.floor(y * height);
  if (column < 0 || row < 0 || column >= width || row >= height) return null;
  const found = byScore(answer.objects).reverse()
    .find(({ object }) => object.mask[row * width + column]);
  return found ? found.index : null;
}
