// What is to be broken next; the rest is every emulator's.
import { faultOf, tell } from "/_emulator/page.js";

document.getElementById("break").addEventListener("submit", (event) => {
  event.preventDefault();
  tell("/faults", { next: [faultOf(event.target)] });
});
