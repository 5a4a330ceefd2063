// The kiosk's camera: while somebody stands at check-in, a picture five times a second goes to the agent, which reads the QR code in it.
// Without a camera, or where it is not allowed, the page stays as it was. No picture is kept, here or there.
"use strict";
(() => {
  const box = document.querySelector("[data-camera]"), ASKED = "camera-asked";
  if (!box || !navigator.mediaDevices || !navigator.mediaDevices.getUserMedia) return;
  const video = box.querySelector("video"), told = box.querySelector("[data-camera-told]"), hint = told.textContent;
  const EVERY_MS = 200, AGAIN_MS = 1000, ANSWER_MS = 3000, SHOWN_MS = 4000, SIDE_MAX = 960, SIDE_MIN = 32;
  const canvas = document.createElement("canvas"), pen = canvas.getContext("2d", { willReadFrequently: true });
  let stream = null, toldAt = 0;

  // Asked once: who has not answered is not asked again until the browser is opened anew.
  async function mayAsk() {
    let state = "prompt";
    try { state = (await navigator.permissions.query({ name: "camera" })).state; } catch { /* a browser that does not tell */ }
    if (state !== "prompt") return state === "granted";
    if (sessionStorage.getItem(ASKED)) return false;
    sessionStorage.setItem(ASKED, "yes");
    return true;
  }

  async function begin() {
    if (!(await mayAsk())) return;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 720 } } });
      video.srcObject = stream;
      await video.play();
    } catch { end(); return; }  // there is none, somebody else has it, or it is not allowed
    document.querySelectorAll("[data-without-camera]").forEach((one) => { one.hidden = true; });
    box.hidden = false;
    look();
  }

  function end() {
    if (stream) stream.getTracks().forEach((track) => track.stop());
    stream = null;
    box.hidden = true;
  }

  function say(sentence) {
    if (sentence) toldAt = performance.now();
    else if (performance.now() - toldAt < SHOWN_MS) return;
    const text = sentence || hint;
    if (told.textContent !== text) told.textContent = text;
    box.classList.toggle("foreign", text !== hint);
  }

  // The middle of the picture, as the preview shows it, in grey: a code held a hand's length away needs every pixel that there is.
  function grey() {
    const side = Math.min(video.videoWidth, video.videoHeight), size = Math.min(side, SIDE_MAX);
    if (size < SIDE_MIN) return null;
    canvas.width = canvas.height = size;
    pen.drawImage(video, (video.videoWidth - side) / 2, (video.videoHeight - side) / 2, side, side, 0, 0, size, size);
    const rgba = pen.getImageData(0, 0, size, size).data, out = new Uint8Array(size * size);
    for (let i = 0, j = 0; i < out.length; i += 1, j += 4) out[i] = (rgba[j] * 77 + rgba[j + 1] * 150 + rgba[j + 2] * 29) >> 8;
    return { size, out };
  }

  // One picture to the agent; how long to wait before the next.
  async function ask({ size, out }) {
    const headers = { "content-type": "application/octet-stream", "x-csrf-token": document.body.dataset.csrf };
    const answer = await fetch(`/api/scan?width=${size}&height=${size}`, { method: "POST", headers, body: out, signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.status === 401 || answer.status === 403) { end(); return 0; }
    if (!answer.ok) return Number(answer.headers.get("retry-after") || 1) * 1000;
    const seen = answer.status === 200 ? await answer.json() : { text: "", sentence: "" };
    if (seen.text) {
      end();
      document.dispatchEvent(new CustomEvent("scanned", { detail: seen.text }));
    } else say(seen.sentence);
    return EVERY_MS;
  }

  async function look() {
    const began = performance.now(), picture = stream && !document.hidden ? grey() : null;
    let wait = EVERY_MS;
    if (picture) {
      try { wait = await ask(picture); } catch { wait = AGAIN_MS; }  // the agent starts anew, or the picture was too slow
    }
    if (stream) setTimeout(look, Math.max(0, wait - (performance.now() - began)));
  }

  addEventListener("pagehide", end);
  begin();
})();
