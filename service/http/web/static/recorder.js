// Records a sound from the microphone as a file, started and stopped by one button.

/** Make `button` record; `done` is given the file, `failed` a message. Hidden where it cannot work. */
export function recorder(button, done, failed) {
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) return;
  button.hidden = false;
  let recording = null;
  button.addEventListener("click", async () => {
    if (recording) {
      recording.stop();
      return;
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      failed(`The microphone is not available: ${error.message}`);
      return;
    }
    const chunks = [];
    recording = new MediaRecorder(stream);
    recording.addEventListener("dataavailable", (event) => chunks.push(event.data));
    recording.addEventListener("stop", () => {
      stream.getTracks().forEach((track) => track.stop());
      const type = recording.mimeType.split(";")[0];
      recording = null;
      button.setAttribute("aria-pressed", "false");
      done(new File(chunks, `recording.${type.endsWith("mp4") ? "m4a" : "webm"}`, { type }));
    });
    recording.start();
    button.setAttribute("aria-pressed", "true");
  });
}
