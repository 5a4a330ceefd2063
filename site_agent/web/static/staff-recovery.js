// The words that a person can give beside an alarm on the staff page, each behind a question: after a loss, and where the books were changed from outside.
"use strict";
(() => {
  const { h } = Club;

  const button = (words, act) => h("div.actions", {}, h("button.button.small", { type: "button", onclick: act }, words));

  // called with every alarm: its buttons, for those who may let sales go on
  Club.recovery = (code, recovery, later) => {
    if (code.endsWith("_changed") && Club.may("resume")) return button("I have looked…", () => changed(code, later));
    if (!recovery || !code.startsWith("recovery_") || !Club.may("resume")) return null;
    if (code === "recovery_unvouched") return button("The old box is off…", () => vouch(later));
    if (code === "recovery_floor" && !recovery.unvouched) return button("State what was sold…", () => state(later));
    return null;
  };

  function asked(title, words, label, fields, send, said, later) {
    const button = h("button.button.primary", {}, label), error = h("div.notice.bad", { role: "alert", hidden: true });
    const form = h("form.stack", {
      onsubmit: (event) => Club.act(button, error, async () => {
        await send();
        Club.sheet.close();
        Club.say(said);
        later();
      })(event),
    }, fields, error, h("footer", {}, button));
    Club.open(title, words, form);
  }

  function changed(code, later) {
    const reason = h("input", { maxlength: 300, required: true, placeholder: "Restored from yesterday's copy by the installer" });
    asked("What did you find?", "Somebody wrote to the books past this system. Please compare with the door controller's own log first, as the runbook says. It is written down that you said so, and another change is told again.",
      "Write it down", Club.field("What you found", reason), () => Club.post("/api/changed/answer", { alarm: code, reason: reason.value }), "Written down.", later);
  }

  function vouch(later) {
    asked("Is the old box off?", "Two boxes that sell for one facility would sell a time twice. Please say so only when you have seen that the box before this one is switched off and stays off. It is written down that you said so.",
      "It is off and stays off", [], () => Club.post("/api/recovery/vouch"), "Written down: the old box is off.", later);
  }

  function state(later) {
    const reason = h("input", { maxlength: 300, required: true, placeholder: "The paper list of Saturday is entered" });
    asked("What was sold before the repair", "Sales that only the lost disk knew are in no book. Please enter them first, as bookings on the board: from paper, from the terminal's slips. The form asks where each is written. Settle what “Needs you” shows. Then all times are sold again, and it is written down that you said so.",
      "All of it is entered", Club.field("How do you know?", reason), () => Club.post("/api/recovery/stated", { reason: reason.value }), "All times are sold again.", later);
  }
})();
