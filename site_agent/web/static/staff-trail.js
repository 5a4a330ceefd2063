// What happened at the doors: alarms that wait for a word, and below them every door that opened or did not, the newest first, a sentence each.
// Rows come over the page's own stream the moment they are written; what was missed while it was closed is fetched when it opens.
"use strict";
(() => {
  const { h } = Club;
  const box = document.querySelector("[data-trail]");
  const SHOWN_MAX = 400, STEP = 30;
  const SIGNS = { forced: "!", held: "!", denied: "×", unlocked: "✓", asked: "→", opened: "○", closed: "●", emergency: "!", hold: "→" };
  const ALARMS = { forced: "Forced open", held: "Standing open", denied: "Refused again and again" };
  let rows = [], more = false, doors = [], door = "", booking = null, live = true, asked = 0;

  const alarms = h("div.stack", { role: "alert" }), list = h("ul.list.trail", { role: "log", "aria-live": "off", "aria-label": "Newest first" });
  const chosen = h("select", { "aria-label": "Door", onchange: () => { door = chosen.value; load(); } });
  const only = h("p.fine", { hidden: true }), heard = h("p.fine", { hidden: true }, "The controller’s events come late just now, by its log.");
  const older = h("button.link", { type: "button", hidden: true, onclick: () => load(rows[rows.length - 1]?.n) }, "Earlier");
  const check = h("button.link", { type: "button", hidden: !Club.may("unlock"), onclick: verify }, "Check that nobody changed it");
  box.hidden = !Club.may("view");
  box.append(h("h2", {}, "At the doors"), alarms, h("div.actions", {}, chosen), only, heard, list, h("div.actions", {}, older, check));

  // called with every new stream of the page
  Club.trail = (stream) => {
    stream.addEventListener("open", () => { load(); alerts(); });
    stream.addEventListener("door", (event) => {
      const row = JSON.parse(event.data), known = rows.findIndex((one) => one.n === row.n);
      if (row.alert || ["forced", "held", "denied"].includes(row.kind)) alerts();
      if ((door && row.door_id !== door) || (booking && row.booking_id !== booking.id)) return;
      if (known >= 0) rows[known] = row;
      else rows = [row, ...rows].slice(0, SHOWN_MAX);
      if (!doors.some((one) => one.id === row.door_id)) { doors.push({ id: row.door_id, name: row.door }); choices(); }
      draw(known < 0 ? row.n : 0);
    });
  };

  async function load(before = 0) {
    const mine = (asked += 1), query = new URLSearchParams({ limit: STEP, before });
    if (door) query.set("door", door);
    if (booking) query.set("booking", booking.id);
    let page;
    try { page = await Club.get(`/api/doors/trail?${query}`); } catch { return; }  // the page says by itself that it is deaf
    if (mine !== asked) return;
    rows = before ? [...rows, ...page.rows].slice(0, SHOWN_MAX) : page.rows;
    ({ more, doors, live } = page);
    choices();
    draw();
  }

  function choices() {
    const told = JSON.stringify(doors);
    if (chosen.dataset.told === told) return;
    chosen.dataset.told = told;
    chosen.replaceChildren(...Club.options([["", "All doors"], ...doors.map((one) => [one.id, one.name])], door));
  }

  function draw(fresh = 0) {
    only.hidden = !booking;
    if (booking) only.replaceChildren("Of one booking only. ", h("button.link", { type: "button", onclick: () => { booking = null; load(); } }, "Show all"));
    heard.hidden = live;
    older.hidden = !more || rows.length >= SHOWN_MAX;
    list.replaceChildren(...(rows.length ? rows.map((row) => line(row, row.n === fresh)) : [h("li.fine", {}, "Nothing has happened at the doors yet.")]));
  }

  function line(row, fresh) {
    const day = Club.day(Date.parse(row.at)), today = day === Club.page.today;
    return h(`li.happened.${row.kind}${row.alert ? ".hot" : ""}${fresh ? ".fresh" : ""}`, { "data-n": row.n },
      h("span.mark", { "aria-hidden": "true" }, SIGNS[row.kind]),
      h("span.text", {}, row.sentence, today ? null : h("span.fine", {}, ` ${day}`)),
      row.clip ? h("a.link", { href: row.clip, target: "_blank", rel: "noreferrer noopener", "aria-label": `Recording: ${row.sentence}` }, "Clip") : null,
      row.booking_id && !booking ? h("button.link", { type: "button", "aria-label": `Access trail of this booking: ${row.sentence}`, onclick: () => { booking = { id: row.booking_id }; load(); } }, "Booking") : null);
  }

  // ---- alarms: each is answered with a word by somebody who has looked
  async function alerts() {
    let found;
    try { found = await Club.get("/api/doors/alerts"); } catch { return; }
    show(found);
  }

  function show(found) {
    const told = JSON.stringify(found);
    if (alarms.dataset.told === told) return;
    alarms.dataset.told = told;
    // a card that still stands stays the same card, with what somebody is typing in it
    const known = new Map([...alarms.children].map((card) => [card.dataset.alert, card]));
    alarms.replaceChildren(...found.map((one) => known.get(String(one.n)) || card(one)));
    box.classList.toggle("hot", found.length > 0);
  }

  function card(one) {
    const error = h("div.notice.bad", { role: "alert", hidden: true });
    const word = h("input", { maxlength: 300, required: true, placeholder: "What was it?", "aria-label": `What was it? ${one.sentence}` });
    const button = h("button.button.small", {}, "Answer");
    const form = h("form.actions", {
      onsubmit: (event) => Club.act(button, error, async () => { show(await Club.post("/api/doors/alerts/answer", { alert: one.n, word: word.value })); load(); })(event),
    }, word, button);
    return h("div.notice.bad", { "data-alert": one.n }, h("strong", {}, `${ALARMS[one.kind]}: ${one.door}`), h("p", {}, one.sentence), h("p.fine", {}, one.context), Club.may("unlock") ? form : null, error);
  }

  async function verify() {
    check.disabled = true;
    try {
      const told = await Club.post("/api/doors/trail/check");
      if (told.sound) Club.say("Every row of the trail is as it was written.");
      else told.problems.forEach((text) => Club.say(text, "bad"));
    } catch (problem) { Club.say(problem.detail, "bad"); }
    check.disabled = false;
  }
})();
