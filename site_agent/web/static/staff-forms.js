// What the staff page's scripts share: elements, calls to the API, times, and the sheet in which everything is done.
"use strict";
const Club = {
  page: document.body.dataset,
  board: null,
  sheet: document.querySelector("[data-sheet]"),
};

Club.may = (right) => Club.page.rights.split(" ").includes(right);
Club.newId = () => crypto.randomUUID ? crypto.randomUUID() : [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, "0")).join("");

// h("button.primary", {onclick}, "text", child): an element; text is always text, never markup
Club.h = (what, attributes = {}, ...children) => {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
};

Club.get = (path) => Club.call("GET", path);
Club.post = (path, body) => Club.call("POST", path, body);
Club.remove = (path) => Club.call("DELETE", path);
Club.call = async (method, path, body) => {
  let answer;
  try {
    answer = await fetch(path, {
      method, credentials: "same-origin",
      headers: { accept: "application/json", "x-csrf-token": Club.page.csrf, ...(body ? { "content-type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw { code: "offline", detail: "The site agent does not answer. Is this computer on the facility's network?", suggestions: [], violations: [] };
  }
  if (answer.status === 401) { location.assign("/staff/sign-in"); throw { code: "not_signed_in", detail: "Please sign in again." }; }
  const text = await answer.text();
  const data = text ? JSON.parse(text) : null;
  if (!answer.ok) throw { suggestions: [], violations: [], ...data };
  return data;
};

// ---- times: the API speaks UTC, the board speaks slots of 15 minutes, and the site's clock is the one that counts
Club.skew = 0;
Club.now = () => Date.now() + Club.skew;
Club.nowSlot = () => Club.now() / 900e3;
Club.iso = (slot) => new Date(slot * 900e3).toISOString().replace(".000Z", "Z");
Club.slot = (iso) => Date.parse(iso) / 900e3;
const dayFormat = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit", timeZone: Club.page.zone });
Club.day = (at) => dayFormat.format(new Date(at));
const clockFormat = new Intl.DateTimeFormat("en-CA", { hour: "2-digit", minute: "2-digit", hour12: false, timeZone: Club.page.zone });
Club.clock = (at) => clockFormat.format(new Date(at));
// the clock, with the day where it is another than today
Club.when = (at) => (Club.day(at) === Club.day(Club.now()) ? Club.clock(at) : `${Club.day(at)} ${Club.clock(at)}`);
Club.ago = (at) => {
  if (!at) return "never";
  const s = Math.max(0, Math.round(Club.now() / 1000 - at));
  if (s < 90) return "just now";
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  return s < 129600 ? `${Math.round(s / 3600)} h ago` : `${Math.round(s / 86400)} days ago`;
};
Club.money = (price) => new Intl.NumberFormat("en-CA", { style: "currency", currency: price.currency, currencyDisplay: "narrowSymbol" }).format(price.total_cents / 100);
// the half hours that one can choose from on a board: the day's, then the first of the next day with its name beside
Club.starts = (board) => [...board.rows.map((row) => [row.slot, row.label]), ...board.after.map((row) => [row.slot, `${row.label} ${board.after_title.split(" ")[0]}`])];
// nobody has come five minutes after they were due; how long after it is, in minutes
Club.lateMin = (item) => Math.floor((Club.now() / 1000 - item.due_at) / 60);
Club.late = (item) => item.kind === "booking" && item.state === "confirmed" && Club.lateMin(item) >= 5 && item.end > Club.nowSlot();
Club.length = (minutes) => minutes % 60 ? `${Math.floor(minutes / 60) ? `${Math.floor(minutes / 60)} h ` : ""}${minutes % 60} min` : `${minutes / 60} h`;

// ---- notices
Club.say = (text, kind = "good", ...ways) => {
  const box = document.querySelector("[data-notices]"), { h } = Club;
  const note = h(`p.toast.${kind}`, {}, h("span", {}, text), ways.map(([words, work]) => h("button.link", { onclick: () => { note.remove(); work().catch((problem) => Club.say(problem.detail, "bad")); } }, words)), h("button.icon", { "aria-label": "Close", onclick: () => note.remove() }, "×"));
  box.append(note);
  while (box.children.length > 3) box.firstChild.remove();
  setTimeout(() => note.remove(), kind === "bad" || ways.length ? 12000 : 6000);
};

// ---- the sheet
Club.open = (title, sub, ...content) => {
  const { h, sheet } = Club;
  sheet.replaceChildren(
    h("header", {}, h("div", {}, h("h2", { id: "sheet-title" }, title), sub ? h("p.fine", {}, sub) : null),
      h("button.icon", { "aria-label": "Close", onclick: () => sheet.close() }, "×")),
    ...content.flat().filter(Boolean));
  if (!sheet.open) sheet.showModal();
};
Club.sheet.addEventListener("click", (event) => { if (event.target === Club.sheet) Club.sheet.close(); });

// runs an action behind a button: one press is one request, a refusal is told where the hands are
Club.act = (button, error, work) => async (event) => {
  event?.preventDefault();
  button.disabled = true;
  error.hidden = true;
  try {
    await work();
  } catch (problem) {
    error.replaceChildren(...Club.refusal(problem));
    error.hidden = false;
    error.scrollIntoView({ block: "nearest" });
    Club.onRefusal?.(problem);
  } finally {
    button.disabled = false;
  }
};
Club.refusal = (problem) => {
  const { h } = Club;
  const ways = (problem.suggestions || []).map((way) => {
    const bay = Club.board?.bays.find((one) => one.id === way.resource_id);
    return h("li", {}, `${bay ? bay.bay : way.bay || way.resource_id}, ${Club.clock(way.start)} to ${Club.clock(way.end)}, ${Club.money(way)}${way.instant ? "" : " (asked of the booking centre)"}`);
  });
  return [h("p", {}, problem.detail || "That did not work."), ways.length ? h("p", {}, "Free instead:") : null, ways.length ? h("ul", {}, ways) : null].filter(Boolean);
};
Club.field = (label, input) => Club.h("label", {}, label, input);
Club.options = (pairs, chosen) => pairs.map(([value, label]) => Club.h("option", { value, selected: String(value) === String(chosen) }, label));

// ---- new: a booking or a block
Club.newAt = (resourceId, start, end) => {
  const { h, board, page } = Club;
  const minutes = Math.max((end - start) * 15, Number(page.min));
  const bay = h("select", { name: "bay" }, Club.options(board.bays.map((one) => [one.id, one.bay]), resourceId));
  const from = h("select", { name: "start" }, Club.options(Club.starts(board), start));
  const lengths = [];
  for (let n = Number(page.min); n <= Number(page.max); n += Number(page.step)) lengths.push([n, Club.length(n)]);
  const long = h("select", { name: "minutes" }, Club.options(lengths, Math.min(minutes, Number(page.max))));
  const name = h("input", { name: "name", maxlength: 80, autocomplete: "off", required: true });
  const phone = h("input", { name: "phone", maxlength: 32, inputmode: "tel", autocomplete: "off", placeholder: "902-555-0142" });
  const guests = h("select", { name: "guests" });
  const fit = () => {  // as many people as the chosen bay holds
    const most = board.bays.find((one) => one.id === bay.value).capacity;
    guests.replaceChildren(...Club.options(Array.from({ length: most }, (_, n) => [n + 1, n + 1]), Math.min(Number(guests.value) || 1, most)));
  };
  fit();
  const price = h("p.price-line", { "aria-live": "polite" }, " ");
  const error = h("div.notice.bad", { role: "alert", hidden: true });
  const reason = h("input", { maxlength: 300 });
  const told = h("p", {}), field = Club.field("Reason for the override", reason);
  const warn = h("div.notice", { hidden: true }, told, field);
  let entering = false;  // a sale from before a loss, which only a person with paper knows
  const ask = (floor) => {
    entering = floor;
    told.textContent = floor ? "Was this sold before the repair? Then enter it here, and say where it is written. What was not sold is sold again once all of it is entered and stated." : Club.warning || "";
    field.firstChild.textContent = floor ? "Where is it written?" : "Reason for the override";
    reason.placeholder = floor ? "For example: the paper list of Saturday" : "Why is this sold over the line?";
    warn.hidden = false;
    reason.focus();
  };
  const button = h("button.button.primary", {}, "Book");
  const bookingId = Club.newId();
  let blockId = Club.newId();
  const times = () => ({ resource_id: bay.value, start: Club.iso(Number(from.value)), end: Club.iso(Number(from.value) + Number(long.value) / 15) });
  const ahead = () => Number(from.value) + Number(long.value) / 15 > board.bays.find((one) => one.id === bay.value).line;
  let asked = 0;
  const reprice = async () => {
    const mine = ++asked;
    if (!ahead() && !entering) warn.hidden = true;
    try {
      const quote = await Club.post("/api/quotes", { ...times(), phone: /\d{7}/.test(phone.value.replace(/\D/g, "")) ? phone.value.trim() : "" });
      if (mine !== asked) return;
      const against = quote.violations.map((one) => one.detail).join(" ");
      price.replaceChildren(h("strong", {}, Club.money(quote.price)), ` with tax${ahead() ? " · asked of the booking centre" : ""}`, against ? h("span.against", {}, against) : "");
    } catch (problem) { if (mine === asked) price.textContent = problem.detail || ""; }
  };
  const form = h("form.stack", {
    onsubmit: (event) => Club.act(button, error, async () => {
      const body = { booking_id: bookingId, ...times(), name: name.value, phone: phone.value.trim(), guests: Number(guests.value) };
      if (!warn.hidden && reason.value.trim()) body.override_reason = reason.value.trim();
      const outcome = await Club.post("/api/bookings", body);
      Club.sheet.close();
      if (outcome.state === "asked") Club.say(`The booking centre is asked for ${outcome.booking.bay}; the answer shows on the board.`, "warn");
      else { Club.say(`${outcome.booking.bay} is booked for ${outcome.booking.name}. PIN ${outcome.booking.pin}.`); }
    })(event),
  }, h("div.pair", {}, Club.field(page.word, bay), Club.field("Start", from), Club.field("Length", long)),
  h("div.pair", {}, Club.field("Name", name), Club.field("Phone", phone), Club.field("People", guests)), price, warn, error, h("footer", {}, button));
  bay.addEventListener("change", fit);
  for (const input of [bay, from, long, phone]) input.addEventListener("change", reprice);
  Club.onRefusal = (problem) => {
    if (!Club.may("override")) return;
    if (problem.code === "below_floor") ask(true);
    else if (["hub_unreachable", "straddles_line", "declined"].includes(problem.code) && ahead()) ask(false);
  };

  const kind = h("select", {}, Club.options([["maintenance", "Maintenance"], ["training", "Training"], ["private_event", "Private event"], ["blocked", "Blocked"]], "maintenance"));
  const why = h("input", { maxlength: 300, placeholder: "For example: projector lamp" });
  const blockBay = bay.cloneNode(true), blockFrom = from.cloneNode(true);
  blockBay.value = resourceId; blockFrom.value = String(start);
  const blockLong = h("select", {}, Club.options([30, 60, 90, 120, 180, 240, 360, 480, 720, 1440].map((n) => [n, Club.length(n)]), Math.max(60, (end - start) * 15)));
  const blockError = h("div.notice.bad", { role: "alert", hidden: true });
  const blockButton = h("button.button.primary", {}, "Take out of sale");
  const blockForm = h("form.stack", {
    hidden: true,
    onsubmit: (event) => Club.act(blockButton, blockError, async () => {
      const at = Number(blockFrom.value);
      const made = await Club.post("/api/blocks", { block_id: blockId, resource_id: blockBay.value, start: Club.iso(at), end: Club.iso(at + Number(blockLong.value) / 15), kind: kind.value, reason: why.value });
      blockId = Club.newId();
      Club.sheet.close();
      // the block stands, whatever becomes of this second question
      const waiting = await Club.get("/api/conflicts").catch(() => []);
      const displaced = waiting.some(({ booking }) => booking.resource_id === made.resource_id && booking.start < made.end && booking.end > made.start);
      Club.say(displaced ? "Out of sale. Whoever played there is moved where the rule allows it; the rest is under “Needs you”." : "Out of sale.", displaced ? "warn" : "good");
    })(event),
  }, h("div.pair", {}, Club.field(page.word, blockBay), Club.field("Start", blockFrom), Club.field("Length", blockLong)), Club.field("Kind", kind), Club.field("Reason", why), blockError, h("footer", {}, blockButton));
  const tabs = h("div.tabs", { role: "tablist" });
  let dated = null;
  const show = (which) => {
    form.hidden = which !== "book";
    blockForm.hidden = which !== "block";
    [...tabs.children].forEach((tab) => tab.setAttribute("aria-selected", String(tab.dataset.tab === which)));
    dated?.(which === "book" ? from : blockFrom);
  };
  if (Club.may("book")) tabs.append(h("button", { role: "tab", "data-tab": "book", onclick: () => show("book") }, "Booking"));
  if (Club.may("block")) tabs.append(h("button", { role: "tab", "data-tab": "block", onclick: () => show("block") }, "Block"));
  if (!tabs.children.length) return;
  const day = (slot) => slot < board.after[0].slot ? board.title : board.after_title;
  Club.open("New", day(start), tabs, form, blockForm);
  // the day above is that of the start which is chosen, also of one behind midnight
  dated = (input) => { Club.sheet.querySelector("header .fine").textContent = day(Number(input.value)); };
  for (const input of [from, blockFrom]) input.addEventListener("change", () => dated(input));
  show(Club.may("book") ? "book" : "block");
  if (Club.may("book")) { name.focus(); reprice(); }
};

// ---- something that lies on the board
Club.openItem = async (item) => {
  if (item.kind === "booking") await Club.openBooking(item.id);
  else if (item.kind === "block") Club.openBlock(item);
  else Club.say("Somebody is booking this just now. It is kept for ten minutes.", "warn");
};

Club.openBlock = (item) => {
  const { h } = Club, error = h("div.notice.bad", { role: "alert", hidden: true });
  const button = h("button.button.primary", {}, "Put back on sale");
  button.addEventListener("click", (event) => Club.act(button, error, async () => {
    await Club.remove(`/api/blocks/${item.id}`);
    Club.sheet.close();
    Club.say("Back on sale.");
  })(event));
  Club.open(item.label, item.clock, h("p.lead", {}, item.detail || "No reason was given."), error, Club.may("block") ? h("footer", {}, button) : null);
};

Club.openBooking = async (id, moveTo = null) => {
  const { h } = Club;
  let b;
  try { b = await Club.get(`/api/bookings/${id}`); } catch (problem) { Club.say(problem.detail, "bad"); return; }
  const error = h("div.notice.bad", { role: "alert", hidden: true }), more = h("div", {}), card = h("div", {});
  const seat = b.seat && b.seat !== b.resource_id ? Club.board.bays.find((one) => one.id === b.seat)?.bay : "";
  const facts = [
    ["Status", `${b.status.replace("_", " ")}${b.displaced ? ", displaced" : ""}${b.override ? ", override" : ""}${b.how ? `: ${b.how}` : ""}`],
    b.overtime_min ? ["Overtime", `${Club.length(b.overtime_min)} after the end, ${b.waived ? `not charged: ${b.waived}` : b.overtime_cents && b.price ? Club.money({ currency: b.price.currency, total_cents: b.overtime_cents }) + " with tax" : "free"}`] : null,
    seat ? ["Plays in", seat] : null,
    b.placed ? ["Moved", "by us, from a place that we could not keep; changing or cancelling costs nothing"] : null,
    b.phone ? ["Phone", h("a", { href: `tel:${b.phone}` }, b.phone)] : null,
    b.untold ? ["Messages", "none reaches this guest: no number and no mail address is known"] : null,
    b.guests ? ["People", String(b.guests)] : null,
    b.price ? ["Price", Club.money(b.price)] : null,
    b.pin ? ["PIN", h("span.mono", {}, b.pin)] : null,
    ["Reference", h("span.mono", {}, b.reference)], ["Sold by", `${b.channel}, ${b.owner === "site" ? "ours to change" : "the booking centre's to change"}`],
    b.answer_by ? ["Answer until", Club.clock(b.answer_by)] : null,
  ].filter(Boolean);
  const run = (label, kind, work) => {
    const button = h(`button.button${kind}`, { type: "button" }, label);
    button.addEventListener("click", (event) => Club.act(button, error, work)(event));
    return button;
  };
  const done = (text, kind) => { Club.sheet.close(); Club.say(text, kind); };
  const told = (outcome, text) => done(outcome.state === "asked" ? "Asked of the booking centre; the answer shows on the board." : text, outcome.state === "asked" ? "warn" : "good");
  const actions = [];
  const running = b.status === "confirmed" || b.status === "checked_in";
  if (Club.may("check_in") && (b.status === "confirmed" || b.status === "no_show") && !b.displaced) {
    actions.push(run("Check in and open the door", ".primary", async () => { const came = await Club.post(`/api/bookings/${id}/check-in`, { open_doors: true }); done(came.sentence, came.door === "opened" || came.door === "none" ? "good" : "warn"); }));
    actions.push(run("Check in only", "", async () => { await Club.post(`/api/bookings/${id}/check-in`, { open_doors: false }); done(`${b.name} is checked in.`); }));
  }
  if (Club.may("check_in") && b.status === "checked_in") actions.push(run("Visit is over", ".primary", async () => { await Club.post(`/api/bookings/${id}/attendance`, { state: "completed" }); done("Completed."); }));
  if (Club.may("check_in") && b.status === "confirmed" && Club.now() > Date.parse(b.start)) actions.push(run("No-show", "", async () => { Club.sheet.close(); await Club.noShow(id, b.name); }));
  if (Club.may("check_in") && b.status === "no_show") actions.push(run("Not a no-show", "", async () => { await Club.post(`/api/bookings/${id}/attendance`, { state: "none" }); done("Expected again."); }));
  if (Club.may("check_in") && b.rest_from) actions.push(run(`Sell the rest from ${Club.clock(b.rest_from)}`, "", async () => { await Club.sellRest(id); Club.sheet.close(); }));
  if (Club.may("book") && running) {
    const longer = Club.newId(), half = Club.newId();
    actions.push(run("+30 min", "", async () => told(await Club.post(`/api/bookings/${id}/extend`, { booking_id: half, minutes: 30 }), "Half an hour longer.")));
    actions.push(run("+60 min", "", async () => told(await Club.post(`/api/bookings/${id}/extend`, { booking_id: longer, minutes: 60 }), "An hour longer.")));
    actions.push(run("Move…", "", async () => Club.moveForm(b, more, error, told)));
  }
  if (Club.may("book") && ["confirmed", "requested"].includes(b.status)) actions.push(run("Cancel…", ".danger", async () => Club.cancelForm(b, more, error, done)));
  Club.open(b.name || "Guest", `${b.bay} · ${b.clock}`, h("dl.facts", {}, facts.map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]).flat()), error, h("div.actions", {}, actions), card, more);
  Club.card(b, card, error);
  if (moveTo && Club.may("book") && running) Club.moveForm(b, more, error, told, moveTo);
};

// marked at once, since staff stand before the empty bay; taken back as quickly
Club.noShow = async (id, name) => {
  try {
    const b = await Club.post(`/api/bookings/${id}/attendance`, { state: "no_show" });
    const ways = [["Undo", () => Club.post(`/api/bookings/${id}/attendance`, { state: "none" })]];
    if (b.rest_from) ways.unshift([`Sell the rest from ${Club.clock(b.rest_from)}`, () => Club.sellRest(id)]);
    Club.say(`${name || "The guest"} is marked as a no-show.`, "good", ...ways);
  } catch (problem) { Club.say(problem.detail, "bad"); }
};

// the rest of a no-show's time is free for whoever comes; its guest has bay and PIN until then
Club.sellRest = async (id) => {
  await Club.post(`/api/bookings/${id}/sell-rest`);
  Club.say("The rest of that time is on sale.");
};

Club.moveForm = (b, more, error, told, to = { resource_id: b.resource_id, start: Club.slot(b.start) }) => {
  const { h, board } = Club, newId = Club.newId();
  const bay = h("select", {}, Club.options(board.bays.map((one) => [one.id, one.bay]), to.resource_id));
  const day = h("input", { type: "date", required: true, value: Club.day(to.start * 900e3) });
  const from = h("select", {});
  const fill = async () => {
    if (!day.value) return;
    try {
      const shown = day.value === board.date ? board : await Club.get(`/api/board?date=${day.value}`);
      const same = shown.rows.find((row) => row.label === Club.clock(to.start * 900e3));
      from.replaceChildren(...Club.options(shown.rows.map((row) => [row.slot, row.label]), shown.rows.some((row) => row.slot === to.start) ? to.start : same?.slot));
    } catch (problem) { error.replaceChildren(...Club.refusal(problem)); error.hidden = false; }
  };
  day.addEventListener("change", fill);
  fill();
  const length = Club.slot(b.end) - Club.slot(b.start);
  const button = h("button.button.primary", {}, "Move");
  more.replaceChildren(h("form.stack", {
    onsubmit: (event) => Club.act(button, error, async () => {
      const at = Number(from.value);
      told(await Club.post(`/api/bookings/${b.id}/reschedule`, { booking_id: newId, resource_id: bay.value, start: Club.iso(at), end: Club.iso(at + length) }), "Moved.");
    })(event),
  }, h("div.pair", {}, Club.field(`To ${Club.page.word.toLowerCase()}`, bay), Club.field("On", day), Club.field("Start", from)), h("footer", {}, button)));
  more.scrollIntoView({ block: "nearest" });
  button.focus();
};

Club.cancelForm = (b, more, error, done) => {
  const { h } = Club, why = h("input", { maxlength: 300, placeholder: "For example: guest called" });
  const button = h("button.button.danger", {}, "Cancel this booking");
  more.replaceChildren(h("form.stack", {
    onsubmit: (event) => Club.act(button, error, async () => {
      const outcome = await Club.post(`/api/bookings/${b.id}/cancel`, { reason: why.value });
      const back = outcome.refund_cents ? ` ${Club.money({ total_cents: outcome.refund_cents, currency: b.price.currency })} to be given back.` : "";
      if (outcome.state === "asked") done("The booking centre, whose booking it is, has been told. Its answer shows on the board.", "warn");
      else done(`Cancelled.${back}`);
    })(event),
  }, Club.field("Reason", why), h("footer", {}, button)));
  why.focus();
};

// ---- the paired screens
Club.openScreens = async () => {
  const { h } = Club, error = h("div.notice.bad", { role: "alert", hidden: true });
  let screens;
  try { screens = await Club.get("/api/kiosks"); } catch (problem) { Club.say(problem.detail, "bad"); return; }
  const rows = screens.filter((one) => !one.revoked).map((one) => {
    const button = h("button.button.small", { type: "button", "aria-label": `Remove ${one.name}` }, "Remove");
    button.addEventListener("click", (event) => Club.act(button, error, async () => { await Club.remove(`/api/kiosks/${one.id}`); await Club.openScreens(); })(event));
    return h("li.door", {}, h("span.what", {}, h("strong", {}, one.name), h("span", {}, `paired ${Club.day(Date.parse(one.paired_at))}`)), button);
  });
  const name = h("input", { maxlength: 40, required: true, placeholder: "Kiosk at the entrance" }), add = h("button.button.primary", {}, "Make a code"), made = h("div", { "aria-live": "polite" });
  const form = h("form.stack", {
    onsubmit: (event) => Club.act(add, error, async () => {
      const code = await Club.post("/api/kiosks", { name: name.value });
      made.replaceChildren(h("p", {}, "Open on the new screen, once, before ", h("strong", {}, Club.clock(code.ends_at)), ":"), h("p.mono.address", {}, `${location.origin}${code.path}`));
    })(event),
  }, Club.field("A new screen, called", name), made, error, h("footer", {}, add));
  Club.open("Screens", "Browsers that guests use here. A removed one shows nothing any more.", rows.length ? h("ul.list", {}, rows) : h("p.fine", {}, "No screen is paired."), form);
};
