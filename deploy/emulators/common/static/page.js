// Keeps an emulator's page fresh and presses its buttons. Without it the page still shows everything and reloads itself.
const link = document.getElementById("link");
const said = document.getElementById("said");
let shown = "";
let fading = 0;
let put = putBoard;

export function say(text) {
  said.textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => { said.textContent = ""; }, 6000);
}

// Posts to the desk: what it answers, or null where that did not work, which is said. `word`: what was asked for, as people call it.
export async function tell(path, body, word) {
  try {
    const answer = await fetch(`/_emulator${path}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const text = await answer.text();
    say(answer.ok ? (word ? `${word}: done.` : "Done.") : `That did not work: ${reason(text)}`);
    refresh();
    return answer.ok ? JSON.parse(text) : null;
  } catch {
    say("The emulator does not answer.");
    return null;
  }
}

// Each vendor has a form of its own for a refusal.
function reason(text) {
  try {
    const told = JSON.parse(text);
    return told.msg || told.error_description || told.errorMessage.params?.text || told.errorMessage;
  } catch {
    return text;
  }
}

// A fault as a form describes it; what it leaves empty is as usual.
export function faultOf(form) {
  const fault = { kind: form.kind.value, count: Number(form.count.value), seconds: Number(form.seconds.value) };
  for (const name of ["status", "retry_after_s"]) if (form[name].value) fault[name] = Number(form[name].value);
  for (const name of ["style", "path"]) if (form[name]?.value) fault[name] = form[name].value;
  if (form.acts?.checked) fault.acts = true;
  return fault;
}

// A page that puts what is fresh in its places by itself hands that over.
export function shownBy(own) {
  put = own;
}

async function refresh() {
  try {
    const answer = await fetch(`/_emulator/board${location.search}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    const html = await answer.text();
    if (html !== shown && put(html) !== false) shown = html;
    link.textContent = "live";
  } catch {
    link.textContent = "The emulator does not answer.";
  }
}

// Swapped only when changed, so that a selection or a scroll position stays, and not under somebody's hand or focus.
function putBoard(html) {
  const board = document.getElementById("board");
  if (board.querySelector("button:active, button:focus-visible")) return false;
  board.innerHTML = html;
  return true;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-post]");
  if (!button) return;
  const body = JSON.parse(button.dataset.body);
  const chosen = button.dataset.chosen;
  if (chosen) body[chosen] = document.querySelector(`[name="${chosen}"]`).value;
  button.blur();
  tell(button.dataset.post, body, button.textContent);
});

setInterval(refresh, 1000);
refresh();
