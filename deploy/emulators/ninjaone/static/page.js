// Keeps the board fresh, presses the buttons and sends what is to be broken. Without it the page still shows everything and reloads itself.
const board = document.getElementById("board");
const link = document.getElementById("link");
const said = document.getElementById("said");
let shown = "";

async function refresh() {
  try {
    const answer = await fetch("/_emulator/board", { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const html = await answer.text();
    // Swapped only when changed, and not under somebody's hand.
    if (html !== shown && !board.querySelector("button:active")) board.innerHTML = shown = html;
    link.textContent = "live";
  } catch {
    link.textContent = "The emulator does not answer.";
  }
}

async function send(path, body) {
  try {
    const answer = await fetch(`/_emulator${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const told = answer.ok ? null : await answer.text();
    said.textContent = told ? `That did not work: ${told}` : "Done.";
  } catch {
    said.textContent = "The emulator does not answer.";
  }
  refresh();
}

board.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-post]");
  if (button) send(button.dataset.post, JSON.parse(button.dataset.body));
});

document.getElementById("break").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const fault = { kind: form.kind.value, count: Number(form.count.value), seconds: Number(form.seconds.value), style: form.style.value, path: form.path.value };
  if (form.status.value) fault.status = Number(form.status.value);
  if (form.retry_after_s.value) fault.retry_after_s = Number(form.retry_after_s.value);
  send("/faults", { next: [fault] });
});

setInterval(refresh, 1000);
refresh();
