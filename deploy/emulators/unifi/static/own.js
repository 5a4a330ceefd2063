// The keypad of the reader; the rest is every emulator's.
import { tell } from "/_emulator/page.js";

const reader = document.getElementById("reader");
const verdict = document.getElementById("verdict");

reader.addEventListener("submit", async (event) => {
  event.preventDefault();
  const told = await tell("/reader", { door_id: reader.door_id.value, [reader.what.value]: reader.told.value }, "Tried");
  verdict.textContent = told ? told.data.reason : "";
  reader.told.value = "";
});
