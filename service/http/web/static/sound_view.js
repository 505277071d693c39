// A player for one sound: a button, and the waveform as the way to see and choose the position.
// Where the browser cannot read the format for drawing, its own controls are shown instead.

import { element, icon } from "./element.js";
import { media } from "./service.js";

const BARS = 56;
let playing = null;
let decoder = null;

/** A player of the sound at `url`. */
export function soundView(url, label) {
  const audio = element("audio", { src: url, preload: "none" });
  const canvas = element("canvas", { class: "wave", width: BARS * 6, height: 112 });
  const button = element("button", { type: "button", class: "play", "aria-label": `Play ${label}` }, icon("play"));
  const player = element("div", { class: "sound" }, button, canvas, audio);
  let peaks = null;

  const paint = () => {
    if (peaks) draw(canvas, peaks, audio.duration ? audio.currentTime / audio.duration : 0);
  };
  const shown = (name) => {
    button.replaceChildren(icon(name));
    button.setAttribute("aria-label", `${name === "play" ? "Play" : "Pause"} ${label}`);
  };
  const follow = () => {
    paint();
    if (!audio.paused) requestAnimationFrame(follow);
  };
  button.addEventListener("click", () => (audio.paused ? audio.play().catch(fall) : audio.pause()));
  audio.addEventListener("play", () => {
    if (playing && playing !== audio) playing.pause();
    playing = audio;
    shown("pause");
    requestAnimationFrame(follow);
  });
  audio.addEventListener("pause", () => shown("play"));
  audio.addEventListener("ended", () => { audio.currentTime = 0; paint(); });
  canvas.addEventListener("click", (event) => {
    if (!audio.duration) return;
    audio.currentTime = (event.offsetX / canvas.clientWidth) * audio.duration;
    paint();
  });

  function fall() {
    button.remove();
    canvas.remove();
    audio.controls = true;
  }
  new IntersectionObserver(async ([entry], observer) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    try {
      peaks = await waveform(url);
      paint();
    } catch {
      fall();
    }
  }).observe(player);
  return player;
}

async function waveform(url) {
  decoder ??= new OfflineAudioContext(1, 1, 22050);
  const sound = await decoder.decodeAudioData(await media(url));
  const samples = sound.getChannelData(0);
  const peaks = Array.from({ length: BARS }, (_, bar) => {
    let peak = 0;
    const end = Math.floor(((bar + 1) * samples.length) / BARS);
    for (let i = Math.floor((bar * samples.length) / BARS); i < end; i += 2) peak = Math.max(peak, Math.abs(samples[i]));
    return peak;
  });
  const loudest = Math.max(...peaks, 1e-4);
  return peaks.map((peak) => peak / loudest);
}

function draw(canvas, peaks, progress) {
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const [played, ahead] = [style.getPropertyValue("--accent"), style.getPropertyValue("--faint")];
  const step = canvas.width / BARS;
  context.clearRect(0, 0, canvas.width, canvas.height);
  peaks.forEach((peak, bar) => {
    const height = Math.max(3, peak * canvas.height * 0.94);
    context.fillStyle = bar / BARS < progress ? played : ahead;
    context.beginPath();
    context.roundRect(bar * step + 1, (canvas.height - height) / 2, step - 2.2, height, 2);
    context.fill();
  });
}
