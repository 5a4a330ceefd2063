// The staff page alive: fetches the day, listens to its stream, draws the panels beside it.
"use strict";
(() => {
  const { h, page } = Club;
  const find = (name) => document.querySelector(`[data-${name}]`);
  const grid = new Club.Grid(find("board"));
  // minutes after a guest was due from which somebody who has not come can be marked with one press
  const NO_SHOW_MIN = Number(page.noshow);
  let day = new URLSearchParams(location.search).get("date") || page.today, stream = null, pulse = 0;

  // ---- the day
  async function load(first) {
    let board;
    try { board = await Club.get(`/api/board?date=${day}`); } catch (problem) { Club.say(problem.detail, "bad"); setTimeout(() => load(first), 3000); return; }
    if (board.date !== day) return;
    Club.board = board;
    Club.skew = board.now_at * 1000 - Date.now();
    if (Math.abs(Club.skew) < 2000) Club.skew = 0;
    grid.show(board);
    find("title").textContent = board.title;
    find("date").value = day;
    document.title = `${board.name} · ${board.title}`;
    if (first) grid.scrollToNow();
    arrivals();
    listen();
  }

  function listen() {
    stream?.close();
    stream = new EventSource(`/staff/events?date=${day}&version=${encodeURIComponent(Club.board.version)}`);
    stream.addEventListener("cells", (event) => {
      const changed = JSON.parse(event.data);
      if (changed.before !== Club.board.version) { load(false); return; }
      Club.board.version = changed.version;
      grid.change(changed);
      arrivals();
      later();
    });
    stream.addEventListener("refetch", () => load(false));
    stream.addEventListener("panels", later);
    Club.trail(stream);
    stream.onerror = () => document.body.classList.add("deaf");
    // what changed before the stream was open has come by no event
    stream.onopen = () => { document.body.classList.remove("deaf"); later(); };
  }

  function go(to) {
    day = to;
    history.replaceState(null, "", day === page.today ? "/staff" : `/staff?date=${day}`);
    load(true).then(panels);
  }
  const shifted = (days) => {
    const at = new Date(`${day}T12:00:00Z`);
    at.setUTCDate(at.getUTCDate() + days);
    return at.toISOString().slice(0, 10);
  };
  document.querySelectorAll("[data-day]").forEach((button) => button.addEventListener("click", () => go(button.dataset.day === "0" ? page.today : shifted(Number(button.dataset.day)))));
  find("date").addEventListener("change", (event) => { if (event.target.value) go(event.target.value); });

  // ---- panels
  const later = () => { clearTimeout(pulse); pulse = setTimeout(panels, 60); };
  async function panels() {
    if (!Club.may("view")) { doors(await Club.get("/api/doors")); return; }
    const asked = day;
    try {
      const all = await Club.get(`/api/panels?date=${asked}`);
      if (asked === day) figures(all.figures);
      alarms(all.alarms, all.recovery);
      Club.needs(all.conflicts, all.credentials, all.halts, later);
      doors(all.doors);
      Club.spares(all.spare_pins, all.doors, later);
      Club.held(all.doors, later);
      Club.machines(later);
      Club.bays(later);
      link(all.link, all.recovery);
      Club.time(all.clock, all.mark, later);
      Club.drill(all.drill, all.link, later);
      Club.notices(all.notices, later);
      backups(all.backups);
    } catch (problem) {
      if (problem.code === "offline") document.body.classList.add("deaf");
      if (problem.code === "unavailable") alarms([{ code: problem.code, text: problem.detail, runbook: "", bad: true }], null);
    }
  }

  // what stands in the way of selling at this box, above everything else, for as long as it does
  function alarms(list, recovery) {
    const box = find("alarms"), told = JSON.stringify([list, recovery]);
    if (box.dataset.told === told) return;
    box.dataset.told = told;
    box.hidden = !list.length;
    box.replaceChildren(...list.map((one) => h(`div.notice${one.bad ? ".bad" : ""}`, { "data-alarm": one.code },
      h("p", {}, one.text, one.runbook ? h("span.fine", {}, `What to do: the runbook “${one.runbook}”.`) : ""), Club.recovery(one.code, recovery, later))));
  }

  function figures(f) {
    const full = f.bay_minutes ? Math.round((100 * f.booked_minutes) / f.bay_minutes) : 0;
    const today = day === page.today;  // nobody plays or is late on another day
    const one = (value, label, kind = "") => h(`div.figure${kind}`, {}, h("strong", {}, String(value)), h("span", {}, label));
    find("figures").replaceChildren(one(f.expected, "expected"), one(today ? f.inside : "–", "playing"), one(today ? f.late : "–", "late", today && f.late ? ".hot" : ""), one(`${full} %`, "booked"));
  }

  function arrivals() {
    find("arrivals").hidden = Club.board.date !== page.today;
    if (find("arrivals").hidden) return;
    const now = Club.nowSlot();
    const coming = Club.board.items.filter((item) => item.kind === "booking" && ["confirmed", "checked_in"].includes(item.state) && item.end > now).sort((a, b) => a.start - b.start || a.label.localeCompare(b.label)).slice(0, 8);
    find("arrivals").replaceChildren(h("h2", {}, "Arrivals"), coming.length ? h("ul.list", {}, coming.map((item) => {
      const bay = Club.board.bays.find((one) => one.id === item.resource_id);
      const late = Club.late(item), gone = late && Club.lateMin(item) >= NO_SHOW_MIN && Club.may("check_in");
      return h("li.comer", {}, h("button.arrival", { onclick: () => Club.openItem(item) },
        h("span.when", {}, item.clock.split("–")[0]), h("span.what", {}, h("strong", {}, item.label), h("span", {}, bay ? bay.bay : "", late ? h("b.late", {}, ` · late ${Club.length(Club.lateMin(item))}`) : null)),
        late ? null : h(`span.state${item.state === "checked_in" ? ".in" : ""}`, {}, item.state === "checked_in" ? "in" : item.start <= now + 1 ? "due" : "")),
      gone ? h("button.button.small", { "aria-label": `${item.label} is a no-show`, onclick: () => Club.noShow(item.id, item.label) }, "No-show") : null);
    })) : h("p.fine", {}, "Nobody is expected for the rest of the day."));
  }

  function doors(panel) {
    // drawn only when it says something else: a press or the keyboard's place would be lost with the button under it
    const box = find("doors"), told = JSON.stringify(panel, (key, value) => (key === "seen_at" ? undefined : value));
    if (box.dataset.told === told) { if (panel.configured) Club.emergency(box, later); return; }
    box.dataset.told = told;
    const kept = box.querySelectorAll(":scope > [data-emergency], :scope > .spares, :scope > .held");
    if (!panel.configured) { box.replaceChildren(h("h2", {}, "Doors"), h("p.fine", {}, "No door controller is connected.")); return; }
    box.replaceChildren(h("h2", {}, "Doors"), panel.trouble ? h("p.notice", {}, panel.trouble) : "", h("ul.list", {}, panel.doors.map((door) => {
      const held = door.held ? `held unlocked${door.held_until ? ` until ${Club.when(door.held_until)}` : ""}` : door.lock;
      const states = [held, `leaf ${door.leaf}`].filter((words) => !words.endsWith("unknown")).join(" · ") || "state unknown", words = [door.where, states].filter(Boolean).join(" · ");
      const button = h("button.button.small", { "aria-label": `Unlock ${door.name}` }, "Unlock");
      button.addEventListener("click", async () => {
        button.disabled = true;
        try { await Club.post(`/api/doors/${encodeURIComponent(door.id)}/unlock`, { request_id: Club.newId() }); Club.say(`${door.name}: the controller took the command.`); } catch (problem) { Club.say(problem.detail, "bad"); }
        button.disabled = false;
        later();
      });
      return h("li.door", {}, h("span.what", {}, h("strong", {}, door.name), h("span", {}, words)), h("span.acts", {}, Club.hold(door, later), Club.may("unlock") && !door.held ? button : null));
    })), ...Club.devices(panel), ...kept);
    Club.emergency(box, later);
  }

  function link(state, recovery) {
    const up = state.link === "up", word = !state.configured ? "On its own" : up ? "Link up" : "Link dark";
    find("link-word").textContent = word;
    find("link-pill").className = `pill ${state.stopped ? "bad" : up ? "good" : "warn"}`;
    const row = (term, value) => [h("dt", {}, term), h("dd", {}, value)];
    const books = !state.books.compared_at ? "not yet" : `${Club.ago(state.books.compared_at)}: ${state.books.differing || state.books.answered_differing ? "they differ, being mended" : "the same"}`;
    find("link").replaceChildren(h("h2", {}, "Booking centre"), state.doubtful.length ? h("div.notice.bad", { role: "alert" }, h("p", {}, "This facility and the booking centre do not say the same of these bookings. Please call the booking centre and compare:"), h("ul.list", {}, state.doubtful.map((id) => h("li", {}, h("button.link", { onclick: () => Club.openBooking(id) }, id))))) : "", state.stopped ? h("p.notice.bad", {}, `The link stands still and needs a person: ${state.stopped}`) : "",
      h("p", {}, !state.configured ? "No broker is configured; this facility sells on its own." : up ? "Heard and answering." : recovery.state !== "sound" ? "Not heard." : "Not heard. Near times are sold here as always; far ones must wait or be overridden."),
      h("dl.facts", {}, !state.configured ? [] : row(up ? "Up since" : "Dark since", Club.ago(state.since_at)).concat(row("Last heard", Club.ago(state.heard_at)), row("Books compared", books), row("Waiting to be told", state.waiting ? `${state.waiting}, since ${Club.ago(state.waiting_since_at)}` : "nothing"), up && Math.abs(state.skew_s) > 5 ? row("Clocks differ by", `${Math.round(state.skew_s)} s`) : [])));
  }
  function backups(state) {
    const size = `${(state.octets / 1e6).toFixed(1)}\u00a0MB`, row = (term, value) => [h("dt", {}, term), h("dd", {}, value)];
    const last = state.good_at ? Club.ago(state.good_at) : "not yet";
    const tried = !state.drill_at ? "not yet" : state.drill_good_at === state.drill_at ? `${Club.ago(state.drill_at)}: good` : `${Club.ago(state.drill_at)}: failed`;
    find("backups").replaceChildren(h("h2", {}, "Backups"), ...state.told.map((text) => h(`p.${state.configured ? "notice" : "fine"}${state.status === "failing" ? ".bad" : ""}`, {}, text)),
      state.configured ? h("dl.facts", {}, row("Last backup", last).concat(state.good_at ? row("Its size", size) : [], row("Restored to check", tried), state.drill_bookings ? row("Bookings found in it", state.drill_bookings.toLocaleString("en-CA")) : [])) : "");
  }
  // ---- where there is no room beside the day, panels are folded below it
  const folds = [...document.querySelectorAll(".fold button")];
  const fold = (button, open) => button.setAttribute("aria-expanded", String(open));
  folds.forEach((button) => button.addEventListener("click", () => fold(button, button.getAttribute("aria-expanded") !== "true")));
  find("link-pill").addEventListener("click", () => {
    fold(find("link").previousElementSibling.firstElementChild, true);
    find("link").scrollIntoView({ behavior: "smooth", block: "center" });
  });

  // ---- begin
  addEventListener("pagehide", () => stream?.close());
  setInterval(() => {
    if (!Club.board) return;
    const today = Club.day(Club.now());
    if (today !== page.today) {  // midnight: a page that shows today goes on to the new day
      const shown = page.today;
      page.today = today;
      if (day === shown) { go(today); return; }
    }
    grid.tick();
    arrivals();
  }, 20000);
  setInterval(panels, 6000);
  find("screens")?.addEventListener("click", Club.openScreens);
  Club.get("/api/facility").then((facility) => { Club.warning = facility.override_warning; }).catch(() => {});
  if (Club.may("view")) load(true);
  panels();
})();
