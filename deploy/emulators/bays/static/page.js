// Keeps the board fresh and presses the buttons. Without it the page still shows everything and reloads itself.
const board = document.getElementById("board");
const link = document.getElementById("link");
const said = document.getElementById("said");
let shown = "";

async function refresh() {
  try {
    const answer = await fetch("/_emulator/board", { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const html = await answer.text();
    // Swapped only when changed, and not under somebody's hand or focus.
    if (html !== shown && !board.querySelector("button:active, button:focus-visible")) board.innerHTML = shown = html;
    link.textContent = "live";
  } catch {
    link.textContent = "The emulator does not answer.";
  }
}

board.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-post]");
  if (!button) return;
  button.blur();
  try {
    const answer = await fetch(`/_emulator${button.dataset.post}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: button.dataset.body });
    said.textContent = answer.ok ? "Done." : `That did not work: ${await answer.text()}`;
  } catch {
    said.textContent = "The emulator does not answer.";
  }
  refresh();
});

setInterval(refresh, 1000);
refresh();
