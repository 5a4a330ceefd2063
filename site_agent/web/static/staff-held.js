// What the door controller holds for us, on the staff page: how many PINs, when it was last compared with the bookings and what differed, and the
// wish to compare it now. One box that stays, so that whoever has opened the list keeps it open.
"use strict";
(() => {
  const { h } = Club;
  const panel = document.querySelector("[data-doors]"), box = h("div.held");
  let shown = "";

  // called with every look at the panels, after the doors have been drawn
  Club.held = async (doors, later) => {
    if (!doors.configured) return;
    if (box.parentElement !== panel) panel.append(box);
    try {
      const told = await Club.get("/api/doors/credentials"), text = JSON.stringify(told);
      if (text === shown && box.firstChild) return tick();
      shown = text;
      draw(told, later);
    } catch (problem) {
      if (problem.code !== "offline") box.replaceChildren(h("p.fine", {}, problem.detail));
    }
  };

  function draw(told, later) {
    const open = box.querySelector("details")?.open;
    const error = h("div.notice.bad", { role: "alert", hidden: true });
    const button = h("button.link", { type: "button" }, "Compare now");
    button.addEventListener("click", Club.act(button, error, async () => {
      const now = await Club.post("/api/doors/credentials/check");
      Club.say(now.differing ? `${now.differing} of ${now.compared} differed; they are being put right.` : `All ${now.compared} are as they should be.`, now.differing ? "warn" : "good");
      later();
    }));
    const many = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
    box.replaceChildren(
      ...told.told.map((text) => h("p.notice", {}, text)),
      told.trouble ? h("p.notice", {}, `The last comparison could not be made: ${told.trouble}`) : "",
      h("details", { open: Boolean(open) }, h("summary", {}, `${many(told.held, "PIN")} on the doors${told.owed ? `, ${told.owed} to be put on or taken off` : ""}`),
        h("p.fine", {}, told.checking ? "They are being compared with the bookings." : told.checked_at ? [h("span", {}, "Compared "), h("time", { datetime: told.checked_at }), h("span", {}, told.differing ? `: ${told.differing} differed and ${told.differing === 1 ? "was" : "were"} put right.` : ": all as they should be.")] : "Not compared with the bookings yet."),
        told.drift.length ? h("ul.list", { "aria-label": "What differed" }, told.drift.map((one) => h("li.fine", {}, h("time", { datetime: one.at }), ": ",
        one.booking_id ? h("button.link", { type: "button", onclick: () => Club.openBooking(one.booking_id) }, one.sentence) : one.sentence))) : "",
        Club.may("unlock") ? button : "", error));
    tick();
  }

  const tick = () => box.querySelectorAll("time").forEach((one) => { one.textContent = Club.ago(Date.parse(one.dateTime) / 1000); });
})();
