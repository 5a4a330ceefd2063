// What needs somebody on the staff page: stopped bays, conflicts, PINs that are stuck. A card stays the same card for as long as it says the
// same, so that what somebody has typed there, or a refusal they are reading, outlives the panels being drawn again.
"use strict";
(() => {
  const { h, page } = Club;
  const box = document.querySelector("[data-conflicts]");
  const WHY = {
    block: `The ${page.word.toLowerCase()} is blocked at that time.`,
    override: "An override sits where the web has sold.",
    door_controller: "Sold before a loss and told to nobody; the door controller still had it. Its PIN is on the door; please find out whose it is.",
    late_sale: "Sold before a loss, and heard of only now. Please look whether it fits.",
    witness: "Sold before a loss, and heard of only now. Please look whether it fits.",
    books_differ: "This facility and the booking centre do not say the same of it. Please call the booking centre.",
  };
  const FOUND = ["door_controller", "late_sale", "witness"];
  let cards = new Map();

  // called with every look at the panels
  Club.needs = (conflicts, stuck, halts, later) => {
    const wanted = [...halts.map((one) => [one, stopped]), ...conflicts.map((one) => [one, displaced]), ...stuck.map((one) => [one, pin])];
    const next = new Map(wanted.map(([one, make]) => [make.name + JSON.stringify(one), () => make(one, later)]));
    for (const [told, card] of cards) if (!next.has(told)) card.remove();
    if (!box.firstChild) box.append(h("h2", {}, "Needs you"));
    let before = box.firstChild;
    const drawn = new Map();
    for (const [told, make] of next) {
      const card = cards.get(told) || make();
      if (before.nextSibling !== card) before.after(card);
      drawn.set(told, before = card);
    }
    cards = drawn;
    box.hidden = !drawn.size;
    box.querySelectorAll("time").forEach((one) => { one.textContent = Club.ago(Date.parse(one.dateTime) / 1000); });
  };

  // a bay whose books are not sound is not sold until somebody with the right has looked and says so
  function stopped(one, later) {
    const error = refused();
    const about = [h("p", {}, h("strong", {}, one.bay), " · not sold, stopped ", h("time", { datetime: one.since })), ...one.found.map((text) => h("p.fine", {}, text))];
    if (!Club.may("resume")) return h("article.conflict", { "data-halt": one.resource_id }, ...about, h("p.fine", {}, "Please call somebody who may put it back on sale."));
    const reason = h("input", { maxlength: 300, required: true, "aria-label": `What you have looked at before ${one.bay} is sold again`, placeholder: "What have you looked at?" });
    const button = act("Sell again", error, async () => {
      if (!reason.value.trim()) { reason.focus(); throw { detail: "Please say what you have looked at: it is written down." }; }
      const lifted = await Club.post("/api/halts/lift", { resource_id: one.resource_id, reason: reason.value });
      Club.say(lifted.left.length ? `${one.bay} is sold again. Let stand: ${lifted.left.join(" ")}` : `${one.bay} is sold again.`);
      later();
    });
    return h("article.conflict", { "data-halt": one.resource_id }, ...about, reason, button, error);
  }

  function displaced(one, later) {
    const error = refused(), booking = one.booking;
    const ways = one.ways.slice(0, 4).map((way) => {
      if (!way.here || !Club.may("book")) return h("li", {}, `${way.bay}, ${way.clock}`, h("span.fine", {}, way.seller === "site" ? "" : " · asked of the booking centre"));
      return h("li", {}, act(`Seat in ${way.bay}`, error, async () => {
        await Club.post(`/api/bookings/${booking.id}/reseat`, { resource_id: way.resource_id });
        Club.say(`${booking.name} plays in ${way.bay}.`);
        later();
      }));
    });
    const seats = !booking.displaced && FOUND.includes(one.why) ? null : ways.length ? h("ul.ways", {}, ways) : h("p.fine", {}, "Nothing fits; please call the guest.");
    return h("article.conflict", {}, h("p", {}, h("strong", {}, booking.name || "Guest"), ` · ${booking.bay}, ${booking.clock}`),
      h("p.fine", {}, WHY[one.why] || "Somebody else has the slots."), seats, error, open(booking.id));
  }

  const pin = (one) => h("article.conflict", {}, h("p", {}, h("strong", {}, one.wanted === "revoke" ? "A cancelled PIN is still on the door" : "A PIN is not on the door yet")), h("p.fine", {}, one.error), open(one.booking_id));

  const refused = () => h("div.notice.bad", { hidden: true, role: "alert" });
  const open = (id) => h("button.link", { onclick: () => Club.openBooking(id) }, "Open the booking");
  function act(words, error, work) {
    const button = h("button.button.small", {}, words);
    button.addEventListener("click", (event) => Club.act(button, error, work)(event));
    return button;
  }
})();
