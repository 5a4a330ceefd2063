// What guests are told now, at the kiosk and on the booking pages; writing one and ending one. Works while the booking centre is out of reach.
"use strict";
(() => {
  const { h } = Club;
  const box = document.querySelector("[data-told]");
  const LEVELS = { critical: ["Important", "!"], warning: ["Please note", "!"], info: ["Good to know", "i"] };

  // called with every look at the panels; what has not changed is left as it is, with the focus on it
  Club.notices = (list, later) => {
    const told = JSON.stringify(list);
    if (box.dataset.told === told) return;
    box.dataset.told = told;
    const add = Club.may("block") ? h("button.button.small", { type: "button", onclick: () => write(later) }, "Tell guests…") : null;
    box.replaceChildren(h("h2", {}, "Told to guests"), list.length ? h("ul.list", {}, list.map((one) => row(one, later))) : h("p.fine", {}, "Nothing just now."), add || "");
  };

  function row(one, later) {
    const [word, sign] = LEVELS[one.level], error = h("div.notice.bad", { role: "alert", hidden: true });
    const button = h("button.button.small", { type: "button", "aria-label": `End the notice: ${one.text}` }, "End");
    button.addEventListener("click", (event) => Club.act(button, error, async () => {
      await Club.remove(`/api/notices/${encodeURIComponent(one.id)}`);
      Club.say("Guests are not told this any more.");
      later();
    })(event));
    return h(`li.told.${one.level}`, {}, h("span.sign", { "aria-hidden": "true" }, sign),
      h("span.what", {}, h("strong", {}, word), h("span.text", {}, one.text), h("span.fine", {}, `until ${Club.day(Date.parse(one.until))}, ${Club.clock(one.until)}`)),
      Club.may("block") ? button : null, error);
  }

  function write(later) {
    const error = h("div.notice.bad", { role: "alert", hidden: true }), id = Club.newId();
    const level = h("select", {}, Club.options(Object.keys(LEVELS).reverse().map((one) => [one, LEVELS[one][0]]), "info"));
    const text = h("textarea", { maxlength: 240, rows: 3, required: true, placeholder: "For example: The front door sticks. Please pull it hard." });
    const french = h("textarea", { maxlength: 240, rows: 2, lang: "fr" });
    const hours = [[2, "2 hours"], [6, "6 hours"], [12, "12 hours"], [24, "1 day"], [72, "3 days"], [168, "1 week"], [672, "4 weeks"]];
    const long = h("select", {}, Club.options(hours, 24));
    const button = h("button.button.primary", {}, "Show it to guests");
    Club.open("Tell guests", "On the kiosk, the booking pages and in confirmations.", h("form.stack", {
      onsubmit: (event) => Club.act(button, error, async () => {
        // on the half hour after: a time that can be said
        const until = Math.ceil((Club.now() + Number(long.value) * 3600e3) / 1800e3) * 2;
        await Club.post("/api/notices", { notice_id: id, level: level.value, text: text.value, text_fr: french.value, until: Club.iso(until) });
        Club.sheet.close();
        Club.say("Guests are told this now.");
        later();
      })(event),
    }, Club.field("English", text), Club.field("French, if you have it", french), h("div.pair", {}, Club.field("How urgent", level), Club.field("For", long)), error, h("footer", {}, button)));
    text.focus();
  }
})();
