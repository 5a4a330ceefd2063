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
    const error = refused(), booking = one.booking, who = booking.name || "Guest";
    // said once where it is so of each
    const asked = one.ways.length > 1 && one.ways.every((way) => way.asks && way.possible);
    const ways = one.ways.map((way) => {
      const place = `${way.bay}, ${when(way, booking)}`, asks = way.asks && !asked ? h("span.fine", {}, " · the booking centre is asked") : null;
      if (!Club.may("book")) return h("li", {}, place);
      if (!way.possible) return h("li", {}, place, h("span.fine", {}, " · once the booking centre is heard again"));
      const id = Club.newId();  // the same for every press: a second one finds what the first has done
      return h("li", {}, act(`Move to ${place}`, error, async () => {
        const outcome = await Club.post(`/api/conflicts/${booking.id}/place`, { booking_id: id, resource_id: way.resource_id, start: way.start, end: way.end });
        if (outcome.state === "asked") Club.say(`The booking centre is asked for ${place}. Its answer shows here.`, "warn");
        else Club.say(`${who} plays in ${place}.`);
        later();
      }), asks);
    });
    const found = !booking.displaced && FOUND.includes(one.why);
    const seats = one.asked ? h("p.fine", {}, `The booking centre is asked for ${one.asked}. Its answer shows here.`)
      : found ? null : ways.length ? [h("ul.ways", {}, ways), asked ? h("p.fine", {}, "The booking centre is asked for each of these; its answer shows here.") : ""] : h("p.fine", {}, "Nothing fits; please call the guest.");
    const why = WHY[one.why] || "Somebody else has the slots.";
    return h("article.conflict", {}, h("p", {}, h("strong", {}, who), ` · ${booking.bay}, ${booking.clock}`),
      booking.untold ? h("p.fine", {}, "No message reaches this guest: no number and no mail address is known.") : "",
      h("p.fine", {}, one.reason ? `${why.replace(/\.$/, "")}: ${one.reason}` : why), seats, error, open(booking.id));
  }

  // by the clock alone on the day that was booked; the price stays in any case
  const when = (way, booking) => Club.day(Date.parse(way.start)) === Club.day(Date.parse(booking.start)) ? `${Club.clock(way.start)} to ${Club.clock(way.end)}` : way.clock;

  const pin = (one) => h("article.conflict", {}, h("p", {}, h("strong", {}, one.wanted === "revoke" ? "A cancelled PIN is still on the door" : "A PIN is not on the door yet")), h("p.fine", {}, one.error), /^(spare|stray)-/.test(one.booking_id) ? "" : open(one.booking_id));

  const refused = () => h("div.notice.bad", { hidden: true, role: "alert" });
  const open = (id) => h("button.link", { onclick: () => Club.openBooking(id) }, "Open the booking");
  function act(words, error, work) {
    const button = h("button.button.small", {}, words);
    button.addEventListener("click", (event) => Club.act(button, error, work)(event));
    return button;
  }
})();
