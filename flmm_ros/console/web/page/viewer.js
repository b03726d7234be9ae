// The big picture: the camera live, or the very image of an answer with its masks, heat and points.

import { byId, el } from "./dom.js";
import { objectAt, paint, rgbOf } from "./masks.js";
import { PointView, parsePoints } from "./points.js";

export class Viewer {
  // onHover(index): the person points at an object of the shown answer; null = at none.
  // onLive(): back to the live picture.
  constructor({ onHover, onLive }) {
    this.onHover = onHover;
    this.entry = null; // null: live
    this.hovered = null;
    this.stage = byId("stage");
    this.pointView = new PointView(byId("points"));
    byId("to-live").addEventListener("click", onLive);
    byId("mini").addEventListener("click", onLive);
    byId("show-picture").addEventListener("click", () => this.showPoints(false));
    byId("show-points").addEventListener("click", () => this.showPoints(true));
    this.stage.addEventListener("pointermove", (event) => this.pointAt(event));
    this.stage.addEventListener("pointerdown", (event) => this.pointAt(event));
    this.stage.addEventListener("pointerleave", () => this.onHover(null));
    new ResizeObserver(() => spread([...byId("labels").children])).observe(this.stage);
  }

  // A live picture has come. It is always in the strip, and large while no answer is shown.
  async live(jpeg, rateHz) {
    const bitmap = await createImageBitmap(jpeg);
    draw(byId("mini-picture"), bitmap);
    byId("strip").hidden = false;
    if (this.entry) return;
    this.reshape(bitmap.width, bitmap.height);
    draw(byId("picture"), bitmap);
    byId("facts").textContent = `${bitmap.width} × ${bitmap.height}, ${rateHz.toFixed(1)} Hz`;
  }

  // The camera has stopped.
  silent() {
    if (!this.entry && !this.stage.classList.contains("empty")) {
      byId("facts").textContent = "no new images";
    }
  }

  reshape(width, height) {
    this.stage.classList.remove("empty");
    this.stage.style.setProperty("--ratio", width / height);
  }

  showLive() {
    this.entry = null;
    byId("badge").textContent = "Live";
    byId("badge").classList.add("live");
    byId("facts").textContent = "";
    for (const id of ["to-live", "views", "heat"]) byId(id).hidden = true;
    byId("labels").replaceChildren();
    byId("masks").width = 4;
    this.showPoints(false);
  }

  // An answer, frozen: the image it is about, and what was found in it.
  show(entry) {
    const { answer } = entry;
    this.entry = entry;
    this.hovered = null;
    byId("badge").textContent = "Answer";
    byId("badge").classList.remove("live");
    byId("facts").textContent = answer.image_age_s >= 0
      ? `image ${(answer.image_age_s * 1000).toFixed(0)} ms old when the work began` : "";
    byId("to-live").hidden = false;
    byId("heat").hidden = true;
    if (answer.size[0]) this.reshape(...answer.size);
    this.drawPicture(entry);
    paint(byId("masks"), answer);
    this.showLabels(answer);
    this.refresh(entry);
    this.showPoints(false);
  }

  async drawPicture(entry) {
    const canvas = byId("picture");
    if (!entry.answer.image) {
      canvas.width = 4;
      return;
    }
    const image = new Image();
    image.src = `/picture/${entry.answer.image}`;
    try {
      await image.decode();
    } catch (error) {
      console.info("the picture is no longer kept", error);
      canvas.width = 4;
      return;
    }
    if (this.entry === entry) draw(canvas, image);
  }

  showLabels(answer) {
    const [width, height] = answer.size;
    const labels = answer.objects.flatMap((object, index) => {
      if (!object.is_present) return [];
      const [left, top, , bottom] = object.box_xyxy_px;
      const isHigh = top < height * 0.09;
      const label = el("span", {
        class: isHigh ? "below" : "",
        "--color": object.color,
        "--left": `${(100 * left) / width}%`,
        "--top": `${(100 * (isHigh ? bottom : top)) / height}%`,
        text: `${object.phrase}${object.is_ambiguous ? "?" : ""} ${object.score.toFixed(2)}`,
      });
      label.dataset.index = index;
      return [label];
    });
    byId("labels").replaceChildren(...labels);
    spread(labels);
  }

  // Heat maps and points may come after the answer.
  refresh(entry) {
    if (this.entry !== entry) return;
    byId("views").hidden = !entry.points;
    if (this.hovered !== null) this.highlight(this.hovered);
    if (!byId("points").hidden && entry.scene && !entry.sceneCloud) this.showPoints(true);
  }

  pointAt(event) {
    if (!this.entry || !byId("points").hidden) return;
    const box = this.stage.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const y = (event.clientY - box.top) / box.height;
    const index = objectAt(this.entry.answer, x, y);
    if (index !== this.hovered) this.onHover(index);
  }

  // Shows one object alone, with what the model looked at; null = all, without heat.
  highlight(index) {
    this.hovered = index;
    const { answer, heat } = this.entry;
    paint(byId("masks"), answer, index);
    for (const label of byId("labels").children) {
      label.classList.toggle("faded", index !== null && Number(label.dataset.index) !== index);
    }
    const picture = heat && index !== null ? heat.pictures[index] : null;
    if (picture) byId("heat").src = `/picture/${picture}`;
    byId("heat").hidden = !picture;
    this.stage.classList.toggle("hot", Boolean(picture));
  }

  async showPoints(isWanted) {
    byId("points").hidden = !isWanted;
    byId("show-points").setAttribute("aria-pressed", isWanted);
    byId("show-picture").setAttribute("aria-pressed", !isWanted);
    this.stage.classList.toggle("spatial", isWanted);
    if (!isWanted) return;
    const { entry } = this;
    entry.cloud ??= await fetchPoints(entry.points);
    if (entry.scene) entry.sceneCloud ??= await fetchPoints(entry.scene);
    if (this.entry === entry && entry.cloud) {
      const { cloud, sceneCloud, answer, points } = entry;
      this.pointView.show({
        cloud, scene: sceneCloud, objects: answer.objects, frame: points.frame, rgbOf,
      });
    }
  }
}

// Moves labels down, each as far as keeps it off those before it.
function spread(labels) {
  const placed = [];
  for (const label of labels) {
    label.style.removeProperty("--shift");
    const { left, right, top, height } = label.getBoundingClientRect();
    let shift = 0;
    const isInTheWay = (other) => left < other.right && right > other.left
      && Math.abs(top + shift - other.top) < height;
    for (let other = placed.find(isInTheWay); other; other = placed.find(isInTheWay)) {
      shift = other.top + height + 1 - top;
    }
    if (shift) label.style.setProperty("--shift", `${shift}px`);
    placed.push({ left, right, top: top + shift });
  }
}

async function fetchPoints({ points }) {
  const reply = await fetch(`/picture/${points}`);
  return reply.ok ? parsePoints(await reply.arrayBuffer()) : null;
}

function draw(canvas, source) {
  canvas.width = source.naturalWidth || source.width;
  canvas.height = source.naturalHeight || source.height;
  canvas.getContext("2d").drawImage(source, 0, 0);
}
