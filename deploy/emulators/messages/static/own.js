// The phone's messages and the forms; the rest is every emulator's.
import { faultOf, shownBy, tell } from "/_emulator/page.js";

// A message that did not change keeps its element, so that an opened mail is not fetched again under the reader's eyes.
function putMessages(place, fresh) {
  const list = place.querySelector(".messages");
  const news = fresh.querySelector(".messages");
  if (!list || !news || place.querySelector("h2").textContent !== fresh.querySelector("h2").textContent) {
    place.innerHTML = fresh.innerHTML;
    return;
  }
  const known = new Map([...list.children].map((one) => [one.id + one.dataset.mark, one]));
  const next = [...news.children].map((one) => known.get(one.id + one.dataset.mark) || one);
  const kept = new Set(next);
  for (const one of [...list.children]) if (!kept.has(one)) one.remove();
  // Moving a frame in the document loads it again, so only what is new is put in, at its place.
  next.forEach((one, index) => { if (list.children[index] !== one) list.insertBefore(one, list.children[index] || null); });
  place.querySelector(".top p").textContent = fresh.querySelector(".top p").textContent;
}

shownBy((html) => {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  for (const id of ["people", "vendors"]) {
    const place = document.getElementById(id);
    const part = fresh.content.getElementById(id).innerHTML;
    if (place.dataset.html !== part && !place.contains(document.activeElement)) {
      place.innerHTML = part;
      place.dataset.html = part;
    }
  }
  putMessages(document.getElementById("screen"), fresh.content.getElementById("screen"));
});

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  if (form.id === "break") await tell("/faults", { next: [{ vendor: form.vendor.value, fault: faultOf(form) }] });
  else if (await tell("/sms", { sender: form.dataset.sender, text: form.text.value })) form.text.value = "";
});
