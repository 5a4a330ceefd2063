// The bays' machines on the staff page: how each is as far as anybody knows, help from afar, what they need by themselves, and what came of it.
"use strict";
(() => {
  const { h } = Club;
  const box = document.querySelector("[data-machines]");
  const WORD = { good: "good", trouble: "trouble", unknown: "unknown", asleep: "asleep" };
  const CAME = { waiting: "waits", going: "under way", unclear: "being found out", done: "done", failed: "failed", unknown: "nobody knows", dropped: "not done" };

  // called with every look at the panels; asks for itself, so that it delays none of them
  Club.machines = async (later) => {
    let panel, jobs;
    try { [panel, jobs] = await Promise.all([Club.get("/api/machines"), Club.get("/api/machines/jobs")]); } catch { return; }  // the panels say themselves when nothing answers
    panel.jobs = jobs;
    const told = JSON.stringify(panel) + Math.floor(Club.now() / 60e3);
    box.hidden = !panel.configured;
    if (box.dataset.told === told) return;
    const focused = box.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    box.dataset.told = told;
    const bays = panel.bays.filter((bay) => bay.state !== "none");
    box.classList.toggle("hot", panel.alarms.length + jobs.needs.length > 0);
    box.replaceChildren(h("h2", {}, "Machines"),
      ...panel.alarms.map((text) => h("p.notice", {}, text)),
      panel.trouble ? h("p.notice", {}, panel.trouble) : "",
      ...jobs.needs.map((text) => h("p.notice.bad", {}, text)),
      bays.length ? h("ul.list", {}, bays.map((bay) => row(bay, panel, later))) : h("p.fine", {}, "No bay has a machine that anybody looks after."));
    // whoever went there by keyboard stays there
    if (focused) box.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
  };

  function row(bay, panel, later) {
    const button = Club.may("machines") ? h("button.button.small", { "aria-label": `Help for the machine of ${bay.bay}`, onclick: () => help(bay, panel, later) }, "Help…") : null;
    const since = bay.state === "unknown" ? (bay.seen_at ? `not heard of since ${when(bay.seen_at)}` : "") : "";
    const last = bay.commands[0], jobs = jobsOf(bay, panel), next = jobs.next[0], failed = jobs.lately.find((one) => FAILED.includes(one.state));
    const write = button && bay.does.includes("message") ? h("button.button.small", { "aria-label": `Message for the screen of ${bay.bay}`, onclick: () => message(bay, later) }, "Message…") : null;
    return h(`li.machine.${bay.state}`, { "data-machine": bay.resource_id },
      h("span.what", {}, h("strong", {}, bay.bay), h(`b.state`, {}, WORD[bay.state]),
        ...[since, ...bay.told].filter(Boolean).map((text) => h("span", {}, text)),
        last ? h(`span.came.${last.state}`, {}, came(last)) : null,
        failed ? h(`span.came.${failed.state}`, {}, came(failed)) : null,
        next ? h("span.fine", {}, `Next: ${next.told} ${when(next.at)}${next.held ? `, once this is over: ${next.held}` : ""}`) : null),
      h("span.actions", {}, write, button));
  }

  const FAILED = ["failed", "unknown", "dropped"];
  const jobsOf = (bay, panel) => panel.jobs.bays.find((one) => one.resource_id === bay.resource_id) ?? { next: [], lately: [], played_min: 0 };
  const came = (one) => `${one.told.split(", ")[0]}: ${CAME[one.state]}${one.way ? ` (${one.way})` : ""}${one.ended_at ? ` ${Club.ago(one.ended_at)}` : ""}${one.text ? `. ${one.text}` : ""}`;

  const when = (at) => Club.when(at * 1000);

  function help(bay, panel, later) {
    const offers = panel.offers.map((offer, at) => !bay.does.includes(offer.kind) ? null : h("label.choice", {}, h("input", { type: "radio", name: "offer", value: at, required: true }), offer.label));
    const reason = h("input", { maxlength: 300, required: true, placeholder: "What is wrong?" });
    const button = h("button.button.primary", {}, "Do it"), error = h("div.notice.bad", { role: "alert", hidden: true });
    let id = Club.newId(), sure = false, chosen = "";
    const form = h("form.stack", {
      // another choice is another command, and asks again
      onchange: () => { if (form.elements.offer.value !== chosen) { chosen = form.elements.offer.value; id = Club.newId(); sure = false; button.textContent = "Do it"; error.hidden = true; } },
      onsubmit: (event) => Club.act(button, error, async () => {
        const offer = panel.offers[Number(form.elements.offer.value)];
        try {
          await Club.post(`/api/machines/${encodeURIComponent(bay.resource_id)}/help`, { command_id: id, kind: offer.kind, name: offer.name, reason: reason.value, sure });
        } catch (problem) {
          if (problem.code === "bay_in_use") { sure = true; button.textContent = "Yes, do it all the same"; }
          throw problem;
        }
        Club.sheet.close();
        Club.say(`${bay.bay}: ${offer.label} is asked for. What came of it shows here.`);
        later();
      })(event),
    }, h("fieldset.choices", {}, h("legend", {}, "What is to be done?"), offers), Club.field("Why? It is written down.", reason), error, h("footer", {}, button));
    const past = bay.commands.map((one) => h("li", {}, `${when(one.at)}, ${one.told}: ${CAME[one.state]}${one.text ? `. ${one.text}` : ""} (${one.why})`));
    const jobs = jobsOf(bay, panel);
    const own = [...jobs.next.map((one) => `${when(one.at)}, ${one.told}${one.held ? `: waits. ${one.held}` : ""}`), ...jobs.lately.map((one) => `${when(one.at)}, ${came(one)}`)];
    const ways = bay.ways.map((way) => `${way.name}: ${way.able ? "answers" : way.why || "does not answer"}`);
    Club.open(`The machine of ${bay.bay}`, bay.in_use || "Nobody plays here just now.",
      h("p.fine", {}, `Ways: ${ways.join("; ")}. Played in the last seven days: ${Math.floor(jobs.played_min / 60)} h ${jobs.played_min % 60} min.`),
      own.length ? h("div", {}, h("p.fine", {}, "By itself:"), h("ul.list.fine", {}, own.map((text) => h("li", {}, text)))) : null,
      past.length ? h("div", {}, h("p.fine", {}, "Asked for in the last day:"), h("ul.list.fine", {}, past)) : null, form);
  }

  function message(bay, later) {
    const text = h("input", { maxlength: 300, required: true });
    const button = h("button.button.primary", {}, "Show it"), error = h("div.notice.bad", { role: "alert", hidden: true });
    const id = Club.newId();
    const form = h("form.stack", {
      onsubmit: (event) => Club.act(button, error, async () => {
        await Club.post(`/api/machines/${encodeURIComponent(bay.resource_id)}/message`, { command_id: id, text: text.value });
        Club.sheet.close();
        Club.say(`The message for ${bay.bay} is on its way.`);
        later();
      })(event),
    }, Club.field("Everybody in the bay reads it on the screen.", text), error, h("footer", {}, button));
    Club.open(`Message for ${bay.bay}`, bay.in_use || "Nobody plays here just now.", form);
  }
})();
