// The spare PINs for outages on the staff page: how many are ready, the step that voids them, and those used by nobody we know.
"use strict";
(() => {
  const { h } = Club;
  const panel = document.querySelector("[data-doors]");

  // called with every look at the panels, after the doors have been drawn
  Club.spares = (spares, doors, later) => {
    if (!doors.configured) return;
    const stock = spares.ready + spares.coming, old = panel.querySelector(":scope > .spares"), told = JSON.stringify(spares);
    if (old?.dataset.told === told) return;
    const open = old?.querySelector("details")?.open, many = `${spares.ready} spare ${spares.ready === 1 ? "PIN" : "PINs"} for outages${spares.coming ? `, ${spares.coming} on the way to the doors` : ""}`;
    const fresh = h("div.spares", { "data-told": told },
      spares.used.map((one) => h("p.notice.bad", { role: "alert" }, `${one.door} opened at ${Club.clock(one.at * 1000)} by a spare PIN for ${one.bay}, ${one.clock}, and no booking is known here that has it. During an outage it may be a web sale not heard of yet; otherwise look who is there.`)),
      !stock ? h("p.fine", {}, "No spare PINs for outages just now.") : !Club.may("void_pins") ? h("p.fine", {}, `${many}.`)
        : h("details", { open: Boolean(open) }, h("summary", {}, many), h("button.link", { type: "button", onclick: () => ask(later) }, "Void spare PINs…")));
    if (old) old.replaceWith(fresh); else panel.append(fresh);
  };

  function ask(later) {
    const button = h("button.button.primary", {}, "Void them all"), error = h("div.notice.bad", { role: "alert", hidden: true });
    const form = h("form.stack", {
      onsubmit: (event) => Club.act(button, error, async () => {
        await Club.post("/api/outage-pins/void");
        Club.sheet.close();
        Club.say("The spare PINs are void.");
        later();
      })(event),
    }, error, h("footer", {}, button));
    Club.open("Void spare PINs", "Every spare PIN that no booking has stops opening doors at once. PINs of bookings go on working. While the booking centre is heard, new ones are made.", form);
  }
})();
