// Keeps the board fresh and sends the keypad. Without it the page still shows everything and reloads itself.
const board = document.getElementById("board");
const link = document.getElementById("link");
const verdict = document.getElementById("verdict");
let shown = "";

async function refresh() {
  try {
    const answer = await fetch("/_emulator/board", { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const html = await answer.text();
    // Swapped only when changed, so that a selection or a scroll position stays.
    if (html !== shown) board.innerHTML = shown = html;
    link.textContent = "live";
  } catch {
    link.textContent = "The controller does not answer.";
  }
  setTimeout(refresh, 1000);
}

document.getElementById("reader").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  try {
    const answer = await fetch("/_emulator/reader", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ door_id: form.door_id.value, [form.what.value]: form.told.value }),
    });
    const told = await answer.json();
    verdict.textContent = told.data ? told.data.reason : told.msg;
  } catch {
    verdict.textContent = "The controller does not answer.";
  }
  form.told.value = "";
});

document.querySelectorAll("[data-poke]").forEach((button) => button.addEventListener("click", async () => {
  const door = document.getElementById("reader").door_id.value;
  try {
    const answer = await fetch("/_emulator/poke", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ door_id: door, what: button.dataset.poke }),
    });
    const told = await answer.json();
    verdict.textContent = answer.ok ? `${button.textContent}: done.` : told.msg;
  } catch {
    verdict.textContent = "The controller does not answer.";
  }
}));

document.querySelectorAll("[data-tell]").forEach((button) => button.addEventListener("click", async () => {
  const body = JSON.parse(button.dataset.body);
  if (button.dataset.tell === "/door") body.door_id = document.getElementById("reader").door_id.value;
  try {
    const answer = await fetch(`/_emulator${button.dataset.tell}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    verdict.textContent = answer.ok ? `${button.textContent}: done.` : (await answer.json()).msg;
  } catch {
    verdict.textContent = "The controller does not answer.";
  }
}));

refresh();
