// The kiosk's manners: a clock, a PIN pad, a scanner that types (the camera is kiosk-camera.js), and a screen that starts over when nobody is there.
// Every page works without this; nothing here opens a door or knows a price.
"use strict";
(() => {
  const body = document.body;

  // ---- clock
  const clock = document.querySelector("[data-clock]");
  if (clock) {
    const format = new Intl.DateTimeFormat("en-CA", { hour: "2-digit", minute: "2-digit", hour12: false, timeZone: clock.dataset.zone });
    const tick = () => { clock.textContent = format.format(new Date()); };
    tick();
    setInterval(tick, 5000);
  }

  // ---- PIN pad
  const pad = document.querySelector("[data-pinpad]");
  const PIN = 6;
  if (pad) {
    const field = pad.querySelector("#code"), dots = pad.querySelector("[data-dots]"), keys = pad.querySelector("[data-keys]");
    for (let i = 0; i < PIN; i += 1) dots.append(document.createElement("i"));
    dots.hidden = keys.hidden = false;
    pad.classList.add("ready");
    const show = () => [...dots.children].forEach((dot, i) => dot.classList.toggle("on", i < field.value.length));
    const press = (key) => {
      if (key === "clear") field.value = "";
      else if (key === "back") field.value = field.value.slice(0, -1);
      else if (field.value.length < PIN) field.value += key;
      show();
      if (field.value.length === PIN && /^\d+$/.test(field.value)) send(pad);
    };
    keys.addEventListener("click", (event) => {
      const key = event.target.closest("[data-key]");
      if (key) press(key.dataset.key);
    });
    field.addEventListener("input", show);
  }

  // ---- scanner: it types the whole code faster than a hand can and ends with Enter; digits typed by a hand are the pad's
  const FAST_MS = 80, SLOW_MS = 1500, CODE_MAX = 400;
  let typed = "", burst = "", typedAt = 0, settling = 0;
  const scanTo = body.dataset.scan;
  const settle = () => {
    const digits = /c/i.test(typed) || burst.length > PIN ? "" : burst.replace(/\D/g, "");
    burst = "";
    if (!pad || document.activeElement === pad.querySelector("#code")) return;
    for (const digit of digits) pad.querySelector(`[data-key="${digit}"]`).click();
  };
  const key = (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    const gap = event.timeStamp - typedAt;
    clearTimeout(settling);
    typedAt = event.timeStamp;
    if (gap > FAST_MS) settle();
    if (gap > SLOW_MS) typed = "";
    if (event.key === "Enter") {
      const ours = typed.toLowerCase().lastIndexOf("cb1.");  // a pass is one however slowly it came
      const code = ours >= 0 ? typed.slice(ours) : burst.length > PIN ? burst : "";
      if (code) { event.preventDefault(); burst = ""; scanned(code); } else settle();
      typed = "";
      return;
    }
    if (event.key === "Backspace") typed = typed.slice(0, -1);
    else if (event.key.length === 1) { typed += event.key; burst += event.key; }
    settling = setTimeout(settle, FAST_MS);
  };
  if (scanTo) {
    document.addEventListener("keydown", key);
    document.addEventListener("scanned", (event) => scanned(event.detail));  // the camera's word
  }
  function scanned(code) {
    const form = document.createElement("form");
    form.method = "post";
    form.action = scanTo;
    for (const [name, value] of [["csrf_token", body.dataset.csrf], ["code", code.slice(0, CODE_MAX)]]) {
      const input = document.createElement("input");
      input.type = "hidden"; input.name = name; input.value = value;
      form.append(input);
    }
    document.body.append(form);
    send(form);
  }

  // ---- how long a time is still kept
  const left = document.querySelector("[data-left]");
  if (left) {
    const until = Date.parse(left.dataset.left);
    const count = () => {
      const s = Math.max(0, Math.round((until - Date.now()) / 1000));
      left.textContent = s ? `for ${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")} min` : "no longer";
    };
    count();
    setInterval(count, 1000);
  }

  // ---- letters on the screen, for a kiosk without a keyboard; phones bring their own
  const LETTERS = ["1234567890", "qwertyuiop", "asdfghjkl'", "zxcvbnm-."], DIGITS = ["123", "456", "789", "-0"];
  const typing = document.querySelectorAll("[data-keyboard]");
  if (typing.length && matchMedia("(pointer: coarse) and (min-width: 48rem)").matches) {
    const board = document.createElement("div");
    board.className = "letters";
    board.hidden = true;
    board.setAttribute("role", "group");
    board.setAttribute("aria-label", "Keyboard on the screen");
    document.body.append(board);
    let target = null;
    const type = (key) => {
      if (key === "⌫") target.value = target.value.slice(0, -1);
      else if (key === "Done") { target.blur(); board.hidden = true; body.style.paddingBottom = ""; return; }
      else if (target.value.length < target.maxLength) {
        const first = !target.dataset.keyboard && (!target.value || target.value.endsWith(" "));
        target.value += first ? key.toUpperCase() : key;
      }
      target.dispatchEvent(new Event("input", { bubbles: true }));
    };
    const draw = (rows) => board.replaceChildren(...rows.map((row) => {
      const line = document.createElement("div");
      for (const key of row) {
        const button = document.createElement("button");
        button.type = "button"; button.className = "key"; button.textContent = key === " " ? "space" : key; button.dataset.type = key;
        if (key === "⌫") button.setAttribute("aria-label", "Delete the last letter");
        line.append(button);
      }
      return line;
    }));
    board.addEventListener("pointerdown", (event) => event.preventDefault());
    board.addEventListener("click", (event) => { const key = event.target.closest("[data-type]"); if (key && target) type(key.dataset.type); });
    typing.forEach((input) => {
      input.setAttribute("inputmode", "none");
      input.addEventListener("focus", () => {
        target = input;
        const rows = input.dataset.keyboard === "digits" ? DIGITS : LETTERS;
        draw([...rows.map((row) => [...row]), input.dataset.keyboard === "digits" ? ["⌫", "Done"] : [" ", "⌫", "Done"]]);
        board.hidden = false;
        body.style.paddingBottom = `${board.offsetHeight + 16}px`;  // so that the field can be scrolled to above the letters
        input.style.scrollMarginBottom = `${board.offsetHeight + 16}px`;
        setTimeout(() => input.scrollIntoView({ block: "nearest" }), 50);
      });
    });
  }

  // ---- one press is one request
  let sent = false;
  function send(form) {
    if (!sent) { sent = true; form.submit(); }
  }
  document.addEventListener("submit", (event) => {
    if (sent) { event.preventDefault(); return; }
    sent = true;
    event.target.querySelectorAll("button").forEach((button) => { button.disabled = true; });
  });
  addEventListener("pageshow", () => { sent = false; });

  // ---- idle: warn, then start over
  const idleS = Number(body.dataset.idle), dialog = document.querySelector("[data-idle-dialog]"), WARN_S = 15;
  if (idleS) {
    let last = Date.now();
    const active = () => { if (!dialog.open) last = Date.now(); };
    ["pointerdown", "keydown", "input", "scroll"].forEach((name) => addEventListener(name, active, { passive: true, capture: true }));
    dialog.querySelector("[data-idle-stay]").addEventListener("click", () => { dialog.close(); last = Date.now(); });
    dialog.addEventListener("close", () => { last = Date.now(); });
    setInterval(() => {
      const left = idleS - (Date.now() - last) / 1000;
      if (left <= 0) {
        const leave = document.querySelector("[data-leave]");
        if (leave) leave.submit(); else location.replace("/kiosk");
        last = Date.now() + 1e7;
      } else if (left <= Math.min(WARN_S, idleS / 2)) {
        if (!dialog.open) dialog.showModal();
        dialog.querySelector("[data-idle-left]").textContent = String(Math.ceil(left));
      }
    }, 500);
  }

  // ---- pages that look again by themselves
  const again = body.dataset.again, refresh = Number(body.dataset.refresh);
  if (again) setTimeout(() => location.replace(again), 2000);
  if (refresh) setInterval(() => { if (!document.hidden) location.reload(); }, refresh * 1000);
})();
