// Keeps the page fresh, presses its buttons and sends its forms. Without it the page still shows everything and reloads itself.
const link = document.getElementById("link");
const said = document.getElementById("said");
let shown = "";
let fading = 0;

function say(text) {
  said.textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => { said.textContent = ""; }, 4000);
}

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

async function refresh(once) {
  try {
    const answer = await fetch("/_emulator/board" + location.search, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const html = await answer.text();
    if (html !== shown) {
      shown = html;
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
    }
    link.textContent = "live";
  } catch {
    link.textContent = "The emulators do not answer.";
  }
  if (!once) setTimeout(refresh, 1000);
}

async function tell(path, body) {
  try {
    const answer = await fetch("/_emulator" + path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const told = await answer.json();
    say(answer.ok ? "Done." : told.msg);
    if (document.activeElement instanceof HTMLButtonElement) document.activeElement.blur();
    await refresh(true);
    return answer.ok;
  } catch {
    say("The emulators do not answer.");
    return false;
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-post]");
  if (button) tell(button.dataset.post, JSON.parse(button.dataset.body));
});

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  if (form.id === "composer") {
    if (await tell("/sms", { sender: form.dataset.sender, text: form.text.value })) form.text.value = "";
  } else if (form.id === "break") {
    const fault = { kind: form.kind.value, count: Number(form.count.value), seconds: Number(form.seconds.value) };
    if (form.status.value) fault.status = Number(form.status.value);
    if (form.retry_after_s.value) fault.retry_after_s = Number(form.retry_after_s.value);
    if (form.acts.checked) fault.acts = true;
    await tell("/faults", { next: [{ vendor: form.vendor.value, fault }] });
  }
});

refresh();
