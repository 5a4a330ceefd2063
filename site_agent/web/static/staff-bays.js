// The bays on the staff page: which failed and what became of their guests, who stayed longer, who played unasked, what maintenance is proposed,
// and what was concluded of visits, with how it is known.
"use strict";
(() => {
  const { h } = Club;
  const box = document.querySelector("[data-bays]");
  const VISITS_SHOWN = 5;

  // called with every look at the panels; asks for itself, so that it delays none of them
  Club.bays = async (later) => {
    let all;
    try { all = await Club.get("/api/bays"); } catch { return; }  // the panels say themselves when nothing answers
    const told = JSON.stringify(all);
    if (box.dataset.told === told) return;
    const focused = box.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    box.dataset.told = told;
    const { visits, overtime, unbooked } = all.presence;
    const parts = [
      ...all.out.map((one) => out(one, later)), ...unbooked.map((one) => stranger(one, later)), ...overtime.map((one) => over(one, later)),
      ...all.proposed.map((one) => proposal(one, later)),
    ];
    box.hidden = !parts.length && !visits.length;
    box.classList.toggle("hot", all.out.some((one) => one.state !== "spared") || unbooked.length > 0 || overtime.some((one) => one.going_on));
    box.replaceChildren(h("h2", {}, "Bays and visits"), ...parts,
      visits.length ? h("ul.list.seen", { "aria-label": "Seen by doors and bays" }, visits.slice(0, VISITS_SHOWN).map((one) => visit(one, later))) : "");
    // whoever went there by keyboard stays there
    if (focused) box.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
  };

  const card = (mark, text, ...buttons) => h("article.conflict", { "data-bay": mark }, h("p", {}, text), h("div.buttons", {}, buttons));
  const small = (words, about, onclick) => h("button.button.small", { "aria-label": `${words.replace(/[?…]+$/, "")}: ${about}`, onclick }, words);

  function out(one, later) {
    if (!Club.may("block")) return card(one.resource_id, one.told);
    const sell = small("Sell it all the same…", one.bay, () => ask(`Sell ${one.bay} all the same`, "It is sold for a while although it fails. Guests who still wait get it back.", "Sell it", "Why? It is written down.",
      (reason) => Club.post(`/api/bays/${encodeURIComponent(one.resource_id)}/sell`, { reason }), later));
    const take = small("Take out of sale", one.bay, async (event) => {
      event.target.disabled = true;
      try { await Club.post(`/api/bays/${encodeURIComponent(one.resource_id)}/take-out`); } catch (problem) { Club.say(problem.detail, "bad"); }
      later();
    });
    return card(one.resource_id, one.told, ...(one.state === "spared" ? [take] : one.state === "out" || one.state === "stays" ? [sell] : [take, sell]));
  }

  function stranger(one, later) {
    return card(one.id, one.told, Club.may("check_in") ? small("Who was it?…", one.bay, () => ask(one.bay, one.told, "Write it down", "Who was it?",
      (reason) => Club.post(`/api/bays/unbooked/${encodeURIComponent(one.id)}`, { reason }), later)) : "");
  }

  function over(one, later) {
    const price = Club.money({ currency: one.currency, total_cents: one.cents });
    const cost = one.waived ? `Not charged: ${one.waived}.` : one.cents ? `It costs ${price} with tax, and is noted on the booking.` : "It costs nothing.";
    const change = one.waived ? small("Charge it after all", one.name, () => send(one, "").then(later))
      : small("Do not charge…", one.name, () => ask(`Do not charge ${one.name}`, `${one.told} ${cost}`, "Do not charge it", "Why? It is written down.", (reason) => send(one, reason), later));
    return card(one.booking_id, `${one.told} ${cost}`, Club.may("book") && one.cents ? change : "", open(one.booking_id));
  }
  const send = (one, reason) => Club.post(`/api/bookings/${one.booking_id}/overtime`, { reason });

  function proposal(one, later) {
    const id = Club.newId();  // the same for every press
    const accept = small("Block it for maintenance", one.bay, async (event) => {
      event.target.disabled = true;
      try {
        await Club.post("/api/blocks", { block_id: id, resource_id: one.resource_id, start: one.start, end: one.end, kind: "maintenance", reason: one.why.split(". ")[0].slice(0, 300) });
        Club.say(`${one.bay} is blocked for maintenance: ${one.clock}.`);
      } catch (problem) { Club.say(problem.detail, "bad"); }
      later();
    });
    const not = small("Not now…", one.bay, () => ask(`${one.bay}: not now`, one.why, "Not now", "Why? It is written down.",
      (reason) => Club.post(`/api/bays/${encodeURIComponent(one.resource_id)}/not-now`, { reason }), later));
    return card(`care-${one.resource_id}`, one.why, ...(Club.may("block") ? [accept, not] : []));
  }

  const visit = (one, later) => h("li", {}, h("button.link", { onclick: () => Club.openBooking(one.booking_id) }, one.bay), ` ${one.told}`, one.flagged ? h("b.late", {}, ` ${one.flagged}`) : "",
    one.rest_from && Club.may("check_in") ? h("div.buttons", {}, small(`Sell the rest from ${one.rest_from}`, `${one.bay}, ${one.name}`, async (event) => {
      event.target.disabled = true;
      try { await Club.sellRest(one.booking_id); } catch (problem) { Club.say(problem.detail, "bad"); }
      later();
    })) : "");
  const open = (id) => h("button.link", { onclick: () => Club.openBooking(id) }, "Open the booking");

  function ask(title, sub, words, label, work, later) {
    const input = h("input", { maxlength: 300, required: true }), button = h("button.button.primary", {}, words), error = h("div.notice.bad", { role: "alert", hidden: true });
    const form = h("form.stack", { onsubmit: (event) => Club.act(button, error, async () => { await work(input.value); Club.sheet.close(); later(); })(event) },
      Club.field(label, input), error, h("footer", {}, button));
    Club.open(title, sub, form);
  }
})();
