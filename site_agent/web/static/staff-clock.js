// The clock and the mark on the staff page: why nothing is sold, the time that this box believes, and the button that says it is right.
"use strict";
(() => {
  const { h } = Club;
  const bar = document.querySelector("[data-clock]");
  const day = new Intl.DateTimeFormat("en-CA", { dateStyle: "full", timeStyle: "short", timeZone: Club.page.zone });
  let shown = "";

  // called with every look at the panels
  Club.time = (clock, mark, later) => {
    const text = [clock.why, mark.trouble].join("|");
    bar.hidden = text === "|";
    if (bar.hidden || (shown === text && bar.dataset.at === String(Math.floor(clock.now_at / 60)))) return;
    shown = text;
    bar.dataset.at = String(Math.floor(clock.now_at / 60));
    bar.replaceChildren(clock.why ? doubt(clock, later) : "", mark.trouble ? h("p.notice", {}, mark.trouble) : "");
  };

  function doubt(clock, later) {
    const button = h("button.button.small", { type: "button" }, "The time shown is right"), error = h("div.notice.bad", { role: "alert", hidden: true });
    button.addEventListener("click", (event) => Club.act(button, error, async () => {
      await Club.post("/api/clock/confirm", { shown_at: new Date(clock.now_at * 1000).toISOString() });
      Club.say("The time is confirmed. This facility sells again.");
      later();
    })(event));
    return h("div.notice.bad", {},
      h("p", {}, h("strong", {}, "Nothing can be sold until the time is confirmed. "), clock.why, h("span.fine", {}, "Check-in and doors work as always. This box believes it is: ", h("strong", {}, day.format(new Date(clock.now_at * 1000))))),
      Club.may("book") ? button : null, error);
  }
})();
