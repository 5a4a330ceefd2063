// The doors as a whole on the staff page: emergencies (asked twice, with a reason), a door held open for a while, hubs and readers, and cards that
// are lent to guests.
"use strict";
(() => {
  const { h } = Club;
  const MODES = [
    ["lockdown", "Lock-down", "Nobody gets in, not even guests with a booking"],
    ["evacuation", "Evacuation", "Every door open, by the controller’s own mode"],
    ["unlock_all", "Open all doors", "Every door held open, for the minutes"],
  ];
  const NAME = Object.fromEntries(MODES), KINDS = { hub: "Hub", reader: "Reader", device: "Device" }, READS = { pin: "PIN", nfc: "card", qr: "QR", face: "face" };
  let readers = [], opened = false;

  // ---- emergency: called with every look at the panels, beneath the doors
  Club.emergency = async (box, later) => {
    let panel;
    try { panel = await Club.get("/api/doors/emergency"); } catch { return; }  // the panels say themselves when nothing answers
    document.body.classList.toggle("emergency", Boolean(panel.standing || panel.outside));
    const now = panel.standing ? `${NAME[panel.standing.mode]} ${panel.standing.state === "on" ? `until ${panel.standing.until}` : panel.standing.state === "wanted" ? "called, not done yet" : "over, doors not let go yet"}.` : panel.outside ? `${NAME[panel.outside]} at the controller.` : "";
    const ends = () => Club.may("emergency") && panel.standing?.state !== "ending" && now ? h("button.button.small", { type: "button", onclick: () => end(now, later) }, "End it…") : null;
    banner(panel, ends());
    const old = box.querySelector("[data-emergency]"), told = JSON.stringify([panel.standing, panel.outside]);
    if (old?.dataset.told === told) return;
    if (!panel.configured || (!Club.may("emergency") && !panel.standing && !panel.outside)) { old?.remove(); return; }
    const fresh = h("div.actions", { "data-emergency": "", "data-told": told },
      now ? h("strong.hot", {}, now) : null,
      ends(),
      Club.may("emergency") ? h("button.button.small.danger", { type: "button", onclick: () => call(later) }, "Emergency…") : null);
    const after = box.querySelector(":scope > .spares, :scope > .held");
    if (old) old.replaceWith(fresh); else if (after) after.before(fresh); else box.append(fresh);
  };

  // whoever may end it does so where everybody reads of it; a banner that says the same keeps its button, and the keyboard's place on it
  function banner(panel, button) {
    const at = document.querySelector(`[data-alarm="emergency_${panel.standing?.mode || "outside"}"]`), told = JSON.stringify([panel.standing, panel.outside, Boolean(button)]);
    const old = at?.querySelector(":scope > .actions");
    if (!at || old?.dataset.told === told) return;
    old?.remove();
    if (button) at.append(h("div.actions", { "data-told": told }, button));
  }

  // ---- one door held open for a while, and let close again
  Club.hold = (door, later) => {
    if (!Club.may("emergency")) return null;
    if (!door.held) return h("button.link", { type: "button", "aria-label": `Hold ${door.name} open`, onclick: () => holdOpen(door, later) }, "Hold open…");
    const button = h("button.button.small", { type: "button", "aria-label": `Let ${door.name} close` }, "Let it close");
    button.addEventListener("click", async () => {
      button.disabled = true;
      try { await Club.post(`/api/doors/${encodeURIComponent(door.id)}/let-close`, {}); Club.say(`${door.name}: it is not held open any more.`); } catch (problem) { Club.say(problem.detail, "bad"); }
      button.disabled = false;
      later();
    });
    return button;
  };

  function holdOpen(door, later) {
    const minutes = h("input", { type: "number", min: 1, max: 480, step: 1, value: 15, required: true, inputmode: "numeric" });
    const reason = h("input", { maxlength: 300, required: true, autocomplete: "off", placeholder: "For example: a delivery" });
    const button = h("button.button.primary", {}, "Hold it open"), error = h("div.notice.bad", { role: "alert", hidden: true });
    const form = h("form.stack", {
      onsubmit: (event) => Club.act(button, error, async () => {
        const done = await Club.post(`/api/doors/${encodeURIComponent(door.id)}/hold`, { minutes: Number(minutes.value), reason: reason.value });
        Club.sheet.close();
        Club.say(`${door.name}: held unlocked until ${Club.when(done.until)}.`);
        later();
      })(event),
    }, Club.field("Why? It is written down.", reason), Club.field("For how many minutes?", minutes), error, h("footer", {}, button));
    Club.open(`Hold open: ${door.name}`, "Anybody can come in meanwhile. It locks again by itself.", form);
    reason.focus();
  }

  function call(later) {
    const modes = MODES.map(([value, label, about]) => h("label.choice", {}, h("input", { type: "radio", name: "mode", value, required: true }), h("span", {}, h("strong", {}, label), h("span.fine", {}, ` ${about}`))));
    const reason = h("input", { name: "reason", maxlength: 300, required: true, autocomplete: "off", placeholder: "What has happened?" });
    const minutes = h("input", { name: "minutes", type: "number", min: 1, max: 480, step: 1, value: 30, required: true, inputmode: "numeric" });
    const button = h("button.button.primary", {}, "Go on"), error = h("div.notice.bad", { role: "alert", hidden: true });
    let id = Club.newId(), sure = false;
    const form = h("form.stack", {
      // another wish is another call, and asks again
      oninput: () => { if (sure) { id = Club.newId(); sure = false; button.textContent = "Go on"; button.classList.remove("danger"); error.hidden = true; } },
      onsubmit: (event) => Club.act(button, error, async () => {
        const mode = form.elements.mode.value;
        let panel;
        try {
          panel = await Club.post("/api/doors/emergency", { request_id: id, mode, reason: reason.value, minutes: Number(minutes.value), sure });
        } catch (problem) {
          if (problem.code === "confirm") { sure = true; button.textContent = `Yes: ${NAME[mode].toLowerCase()} now`; button.classList.add("danger"); }
          throw problem;
        }
        Club.sheet.close();
        Club.say(panel.told[0] || `${NAME[mode]} is called.`, panel.standing?.state === "on" ? "good" : "bad");
        later();
      })(event),
    }, h("fieldset.choices", {}, h("legend", {}, "What should all doors do?"), modes), Club.field("Why? Everybody with this page open reads it.", reason), Club.field("For how many minutes?", minutes), error, h("footer", {}, button));
    Club.open("Emergency", "For every door at once. It ends by itself; a restart of this system changes nothing. Bookings stay as they are.", form);
  }

  function end(now, later) {
    const reason = h("input", { maxlength: 300, autocomplete: "off", placeholder: "It was a false alarm" });
    const button = h("button.button.primary", {}, "Yes, let the doors go"), error = h("div.notice.bad", { role: "alert", hidden: true });
    const form = h("form.stack", {
      onsubmit: (event) => Club.act(button, error, async () => {
        await Club.post("/api/doors/emergency/end", { reason: reason.value });
        Club.sheet.close();
        later();
      })(event),
    }, Club.field("Why?", reason), error, h("footer", {}, button));
    Club.open("End the emergency", `${now} The doors do again what they do on any other day.`, form);
  }

  // ---- hubs and readers
  Club.devices = (panel) => {
    readers = panel.devices.filter((one) => one.reads.includes("nfc") && one.online !== false);
    if (!panel.devices.length) return panel.told.map((text) => h("p.notice", {}, text));
    const rows = panel.devices.map((one) => h(`li.device${one.online === false ? ".off" : ""}`, {},
      h("span.what", {}, h("strong", {}, one.name), h("span", {}, [KINDS[one.kind], one.door, one.model, one.firmware && `firmware ${one.firmware}`, one.reads.length ? `reads ${one.reads.map((way) => READS[way]).join(", ")}` : ""].filter(Boolean).join(" · "))),
      h("b.state", {}, one.online === null ? "not said" : one.online ? "online" : "offline")));
    const more = h("details", { open: opened, ontoggle: (event) => { opened = event.target.open; } }, h("summary", {}, `Hubs and readers (${panel.devices.length})`), h("ul.list", {}, rows));
    return [...panel.told.map((text) => h("p.notice", {}, text)), more];
  };

  // ---- a card for a booking's guest, in the booking's own sheet
  Club.card = async (b, place, error) => {
    if (!Club.may("check_in") || !["confirmed", "checked_in"].includes(b.status)) return;
    let card;
    try { card = await Club.get(`/api/doors/cards/${encodeURIComponent(b.id)}`); } catch { return; }
    if (card.state === "none" && !readers.length) return;
    const show = (state) => place.replaceChildren(...drawn(state));
    const drawn = (state) => {
      const button = h("button.button.small", { type: "button" }, state.state === "none" ? "Lend a card…" : "Card is back");
      const where = h("select", { "aria-label": "Reader" }, Club.options(readers.map((one) => [one.id, one.door ? `${one.name}, ${one.door}` : one.name])));
      button.addEventListener("click", Club.act(button, error, async () => {
        if (state.state !== "none") { show(await Club.post("/api/doors/cards/back", { booking_id: b.id })); return; }
        let waiting = await Club.post("/api/doors/cards", { booking_id: b.id, device_id: where.value });
        while (waiting.state === "waiting" && place.isConnected && Club.sheet.open) {
          place.replaceChildren(h("p.notice", { role: "status" }, waiting.told));
          await new Promise((resume) => setTimeout(resume, 1000));
          try { waiting = await Club.post("/api/doors/cards/read", { session: waiting.session }); } catch (problem) { show(state); throw problem; }
        }
        show(waiting.state === "waiting" ? state : waiting);
      }));
      const line = state.state === "none" ? null : h("p.fine", {}, state.told);
      return [line, h("div.actions", {}, state.state === "none" && readers.length > 1 ? where : null, state.state === "returning" ? null : button)].filter(Boolean);
    };
    show(card);
  };
})();
