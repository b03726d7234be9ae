// Points in space: turned by dragging, zoomed by wheel or two fingers. Plain WebGL, nothing else.
//
// Places come in metres in the frame named by the server. In an optical frame (x right, y down, z
// ahead) the first view is the camera's own.

const VERTEX = `
attribute vec3 place; attribute vec3 color; uniform mat4 view; uniform float size, light;
varying vec3 tint;
void main() { gl_Position = view * vec4(place, 1.0); gl_PointSize = size / gl_Position.w;
  tint = color * light; }`;
const FRAGMENT = `
precision mediump float; varying vec3 tint; uniform float isRound;
void main() { if (isRound > 0.5 && length(gl_PointCoord - 0.5) > 0.5) discard;
  gl_FragColor = vec4(tint, 1.0); }`;
const FOV = 0.8;
const EDGES = [0, 1, 1, 3, 3, 2, 2, 0, 4, 5, 5, 7, 7, 6, 6, 4, 0, 4, 1, 5, 2, 6, 3, 7];
const AXES = [[0.9, 0.25, 0.2], [0.2, 0.75, 0.3], [0.25, 0.5, 1]];

// The server's bytes: N, N places as float32 x y z, N colours as bytes.
export function parsePoints(buffer) {
  const count = new DataView(buffer).getUint32(0, true);
  return {
    count,
    places: new Float32Array(buffer, 4, 3 * count),
    colors: new Uint8Array(buffer, 4 + 12 * count, 3 * count),
  };
}

function turned([x, y, z, w], [a, b, c]) {
  const p = 2 * (y * c - z * b);
  const q = 2 * (z * a - x * c);
  const r = 2 * (x * b - y * a);
  return [a + w * p + y * r - z * q, b + w * q + z * p - x * r, c + w * r + x * q - y * p];
}

// Box edges, and the axes at the centroid of each object, as lines.
function linesOf(objects, rgbOf) {
  const places = [];
  const colors = [];
  for (const { target, color } of objects.filter((object) => object.target)) {
    const half = target.box_size_m.map((length) => length / 2);
    const corners = [...Array(8).keys()].map((bits) => {
      const signed = half.map((length, axis) => ((bits >> axis) & 1 ? length : -length));
      return turned(target.box_xyzw, signed).map((v, axis) => v + target.box_center_m[axis]);
    });
    const tint = rgbOf(color).map((v) => v / 255);
    for (const corner of EDGES) {
      places.push(...corners[corner]);
      colors.push(...tint);
    }
    AXES.forEach((axisColor, axis) => {
      const tip = [0, 0, 0];
      tip[axis] = 0.04;
      places.push(...target.centroid_m);
      places.push(...turned(target.box_xyzw, tip).map((v, i) => v + target.centroid_m[i]));
      colors.push(...axisColor, ...axisColor);
    });
  }
  return { places: new Float32Array(places), colors: new Float32Array(colors) };
}

function product(a, b) {
  const out = new Float32Array(16);
  for (let column = 0; column < 4; column += 1) {
    for (let row = 0; row < 4; row += 1) {
      for (let k = 0; k < 4; k += 1) out[4 * column + row] += a[4 * k + row] * b[4 * column + k];
    }
  }
  return out;
}

export class PointView {
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
    this.pointers = new Map();
    if (this.gl) this.prepare();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
    });
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY / 600));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    this.program = program;
    this.buffers = [...Array(6)].map(() => gl.createBuffer());
  }

  // cloud, scene: of parsePoints; the scene, if any, is drawn darker. objects: of the answer; those
  // with a target get a box and, at the centroid, the box's axes.
  show({ cloud, scene, objects, frame, rgbOf }) {
    if (!this.gl || !cloud.count) return;
    const { gl } = this;
    const lines = linesOf(objects, rgbOf);
    const around = scene || { count: 0, places: new Float32Array(), colors: new Uint8Array() };
    [cloud.places, cloud.colors, lines.places, lines.colors, around.places, around.colors]
      .forEach((data, index) => {
        gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[index]);
        gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
      });
    this.counts = [cloud.count, lines.places.length / 3, around.count];
    this.canvas.dataset.count = cloud.count;
    this.canvas.dataset.around = around.count;
    this.isOptical = frame.includes("optical");
    if (this.shown !== cloud) this.aim(cloud.places, around.count ? 2.6 : 1.25);
    this.shown = cloud;
    this.draw();
  }

  // Looks at the middle of the target, from as far as shows all of it, and of what is around it.
  aim(places, room) {
    const low = [Infinity, Infinity, Infinity];
    const high = [-Infinity, -Infinity, -Infinity];
    for (let at = 0; at < places.length; at += 1) {
      low[at % 3] = Math.min(low[at % 3], places[at]);
      high[at % 3] = Math.max(high[at % 3], places[at]);
    }
    this.middle = low.map((v, axis) => (v + high[axis]) / 2);
    const radius = Math.hypot(...high.map((v, axis) => v - low[axis])) / 2 || 0.1;
    this.distance = (room * radius) / Math.sin(FOV / 2);
    this.yaw = this.isOptical ? 0.45 : -0.8;
    this.pitch = this.isOptical ? 0.3 : 0.6;
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const spread = () => {
      const [a, b] = [...this.pointers.values()];
      return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    };
    const wide = this.pointers.size > 1 ? spread() : 0;
    this.pointers.set(event.pointerId, event);
    if (wide) this.zoom(wide / Math.max(1, spread()));
    else this.turn(event.clientX - before.clientX, event.clientY - before.clientY);
  }

  turn(dx, dy) {
    this.yaw += dx * 0.008;
    this.pitch = Math.max(-1.5, Math.min(1.5, this.pitch + dy * 0.008));
    this.draw();
  }

  zoom(factor) {
    this.distance = Math.max(0.02, Math.min(50, this.distance * factor));
    this.draw();
  }

  key(event) {
    const turns = { ArrowLeft: [-12, 0], ArrowRight: [12, 0], ArrowUp: [0, -12], ArrowDown: [0, 12] };
    if (turns[event.key]) this.turn(...turns[event.key]);
    else if (event.key === "+") this.zoom(0.85);
    else if (event.key === "-") this.zoom(1.18);
    else return;
    event.preventDefault();
  }

  // Projection * distance * turn * axes of the screen * minus the middle.
  matrix(aspect) {
    const near = this.distance / 50;
    const far = this.distance * 50;
    const f = 1 / Math.tan(FOV / 2);
    const s = (near + far) / (near - far);
    const projection = [f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, s, -1, 0, 0,
      (2 * near * far) / (near - far), 0];
    const back = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, -this.distance, 1];
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch),
      Math.sin(this.pitch)];
    const pitch = [1, 0, 0, 0, 0, cp, sp, 0, 0, -sp, cp, 0, 0, 0, 0, 1];
    const yaw = [cy, 0, -sy, 0, 0, 1, 0, 0, sy, 0, cy, 0, 0, 0, 0, 1];
    // Columns: where x, y, z of the frame point on the screen (right, up, towards the viewer).
    const axes = this.isOptical
      ? [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1]
      : [0, 0, -1, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    const [x, y, z] = this.middle;
    const centred = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, -x, -y, -z, 1];
    return [projection, back, pitch, yaw, axes, centred].reduce(product);
  }

  draw() {
    const { gl, canvas } = this;
    if (!gl || !this.counts || !canvas.clientWidth) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(canvas.clientHeight * scale);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0.075, 0.09, 0.1, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const at = (name) => gl.getUniformLocation(this.program, name);
    gl.uniformMatrix4fv(at("view"), false, this.matrix(canvas.width / canvas.height));
    gl.uniform1f(at("isRound"), 1);
    // What is around the target: darker, and larger, as the server has thinned it out.
    const clouds = [[4, this.counts[2], 0.62, 0.0046], [0, this.counts[0], 1, 0.0034]];
    for (const [first, count, light, size] of clouds) {
      gl.uniform1f(at("size"), size * canvas.height);
      this.attribute("place", first, gl.FLOAT, false);
      this.attribute("color", first + 1, gl.UNSIGNED_BYTE, true);
      gl.uniform1f(at("light"), light);
      gl.drawArrays(gl.POINTS, 0, count);
    }
    this.attribute("place", 2, gl.FLOAT, false);
    this.attribute("color", 3, gl.FLOAT, false);
    gl.uniform1f(at("isRound"), 0);
    gl.drawArrays(gl.LINES, 0, this.counts[1]);
  }

  attribute(name, buffer, type, isNormalised) {
    const { gl } = this;
    const location = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[buffer]);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, 3, type, isNormalised, 0, 0);
  }
}
