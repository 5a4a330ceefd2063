// The outage drill on the staff page: the button and its confirmation, the bar that nobody overlooks while it runs, and the report.
"use strict";
(() => {
  const { h } = Club;
  const bar = document.querySelector("[data-unplugged]"), panel = document.querySelector("[data-link]");
  const ways = { time: "as planned", early: "ended early", restart: "ended by a restart", stopped: "ended because the agent was stopped" };
  let latest = null, again = () => {};

  // called with every look at the panels: the drill under way or the last one, and the link as it is
  Club.drill = (drill, link, later) => {
    again = later;
    latest = drill;
    const running = drill?.state === "running";
    document.body.classList.toggle("drilling", running);
    bar.hidden = !running;
    if (running && bar.dataset.no !== String(drill.no)) begun(drill);
    if (!running) { bar.replaceChildren(); delete bar.dataset.no; }
    if (!link.configured) return;
    const offer = Club.may("drill") && (!drill || drill.state === "done");
    panel.append(h("div.drill", {},
      drill?.state === "catching_up" ? h("p.fine", {}, "The outage drill is over; the booking centre is being told what happened meanwhile.") : null,
      offer ? h("button.button.small", { type: "button", onclick: () => ask(link) }, "Outage drill…") : null,
      drill && drill.state === "done" ? h("button.link", { type: "button", onclick: report }, "Report of the last drill") : null));
  };

  function begun(drill) {
    bar.dataset.no = drill.no;
    const end = h("button.button.small", { type: "button" }, "Plug in again"), error = h("div.notice.bad", { role: "alert", hidden: true });
    end.addEventListener("click", (event) => Club.act(end, error, async () => { await Club.post("/api/drills/end"); again(); })(event));
    bar.replaceChildren(h("p", {}, `Outage drill: unplugged from the booking centre until ${Club.clock(drill.ends_at * 1000)}. Sell, check in and open doors as always.`),
      Club.may("drill") ? end : "", error);
  }

  function ask(link) {
    const minutes = h("input", { type: "number", min: 1, max: 60, step: 1, value: 10, required: true, inputmode: "numeric" });
    const button = h("button.button.primary", {}, "Unplug now"), error = h("div.notice.bad", { role: "alert", hidden: true });
    const form = h("form.stack", {
      onsubmit: (event) => Club.act(button, error, async () => {
        await Club.post("/api/drills", { minutes: Number(minutes.value) });
        Club.sheet.close();
        again();
      })(event),
    }, Club.field("Minutes", minutes), error, h("footer", {}, button));
    const known = link.link === "up" ? null : h("p.notice", {}, "The booking centre is not heard just now: this is an outage already.");
    Club.open("Outage drill", "Unplugs this facility from the booking centre, as if the internet were gone. The kiosk and the doors go on; the web cannot ask for near times meanwhile. It plugs in again by itself.", known, form);
  }

  function report() {
    const drill = latest, row = (term, value) => [h("dt", {}, term), h("dd", {}, value)];
    const refused = (act) => act.refused.reduce((sum, why) => sum + why.count, 0);
    const outcome = (act) => [[act.worked, "worked"], [act.asked, "asked of the booking centre"], [refused(act), "refused"]].filter(([count]) => count).map((part) => part.join(" ")).join(", ") || "not tried";
    Club.open(`Outage drill ${drill.no}`, `${Club.clock(drill.started_at * 1000)}, ${ways[drill.ended] || ""}`,
      h("dl.facts", {},
        row("Unplugged for", `${drill.duration_s} s of ${drill.minutes} min`),
        row("Seen as gone after", drill.dark_after_s < 0 ? "–" : `${drill.dark_after_s} s`),
        drill.counts.acts.map((act) => row(act.what[0].toUpperCase() + act.what.slice(1), outcome(act))).flat(),
        drill.counts.longest_what ? row("Longest answer", `${drill.counts.longest_ms} ms (${drill.counts.longest_what})`) : [],
        row("Waiting at the end", `${drill.waiting_at_end} ${drill.waiting_at_end === 1 ? "message" : "messages"}`),
        row("All told after", drill.caught_up_s < 0 ? "not when the report was closed" : `${drill.caught_up_s} s`),
        row("Books of both sides", drill.books)),
      drill.counts.acts.some(refused) ? h("ul.list", {}, drill.counts.acts.flatMap((act) => act.refused.map((why) => h("li", {}, `${act.what}, ${why.count} × ${why.code}: ${why.sentence}`)))) : null);
  }
})();
