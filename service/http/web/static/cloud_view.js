// A canvas that shows a point cloud turning slowly; drag it to turn it yourself.
// Drawn in software, point by point with a depth buffer, since browsers grant a page few WebGL contexts.

const TURN_PER_SECOND = 0.5;
const NEAR = [0.16, 0.55, 0.6];
const FAR = [0.72, 0.62, 0.5];

/** A canvas of a cloud (Float32Array of x, y, z within the unit sphere). */
export function cloudView(points, label) {
  const canvas = document.createElement("canvas");
  canvas.className = "cloud";
  canvas.width = canvas.height = 360;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const view = { azimuth: 0.6, elevation: 0.35, dragged: null };
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let visible = false;
  let last = 0;

  const frame = (now) => {
    if (!visible || !canvas.isConnected) return;
    if (!still && view.dragged === null) view.azimuth += Math.min(0.1, (now - last) / 1000) * TURN_PER_SECOND;
    last = now;
    draw(canvas, points, view);
    requestAnimationFrame(frame);
  };
  draw(canvas, points, view);
  new IntersectionObserver(([entry]) => {
    const appeared = entry.isIntersecting && !visible;
    visible = entry.isIntersecting;
    if (appeared) requestAnimationFrame((now) => { last = now; frame(now); });
  }).observe(canvas);

  canvas.addEventListener("pointerdown", (event) => {
    view.dragged = [event.clientX, event.clientY];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (view.dragged === null) return;
    view.azimuth += (event.clientX - view.dragged[0]) * 0.012;
    view.elevation = Math.max(-1.5, Math.min(1.5, view.elevation + (event.clientY - view.dragged[1]) * 0.012));
    view.dragged = [event.clientX, event.clientY];
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => { view.dragged = null; });
  }
  return canvas;
}

function draw(canvas, points, { azimuth, elevation }) {
  const context = canvas.getContext("2d");
  const side = canvas.width;
  const image = context.createImageData(side, side);
  const depth = new Float32Array(side * side).fill(-Infinity);
  const [sinA, cosA, sinE, cosE] = [Math.sin(azimuth), Math.cos(azimuth), Math.sin(elevation), Math.cos(elevation)];
  for (let i = 0; i < points.length; i += 3) {
    const x = cosA * points[i] - sinA * points[i + 2];
    const ahead = sinA * points[i] + cosA * points[i + 2];
    const y = cosE * points[i + 1] - sinE * ahead;
    const z = sinE * points[i + 1] + cosE * ahead;
    const scale = (side * 1.32) / (3.2 - z);
    const radius = Math.max(1, Math.round(scale / 78));
    dot(image.data, depth, side, Math.round(side / 2 + x * scale), Math.round(side / 2 - y * scale), z, radius);
  }
  context.putImageData(image, 0, 0);
}

function dot(pixels, depth, side, centreX, centreY, z, radius) {
  const share = Math.max(0, Math.min(1, (z + 1) / 2));
  for (let dy = -radius; dy <= radius; dy++) {
    for (let dx = -radius; dx <= radius; dx++) {
      const [x, y] = [centreX + dx, centreY + dy];
      const from = dx * dx + dy * dy;
      if (from > radius * radius + 0.5 || x < 0 || y < 0 || x >= side || y >= side) continue;
      const at = y * side + x;
      if (depth[at] >= z) continue;
      depth[at] = z;
      const light = 0.72 + 0.28 * share - (0.16 * from) / (radius * radius);
      for (let c = 0; c < 3; c++) pixels[4 * at + c] = 255 * light * (FAR[c] + (NEAR[c] - FAR[c]) * share);
      pixels[4 * at + 3] = 255;
    }
  }
}
