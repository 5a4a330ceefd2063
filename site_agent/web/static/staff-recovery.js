// After a loss, on the staff page: the two words that a person can give, each behind a question, beside the alarm that they end.
"use strict";
(() => {
  const { h } = Club;

  // called with every alarm: its buttons, for those who may let sales go on
  Club.recovery = (code, recovery, later) => {
    if (!recovery || !code.startsWith("recovery_") || !Club.may("resume")) return null;
    const button = (words, act) => h("div.actions", {}, h("button.button.small", { type: "button", onclick: () => act(later) }, words));
    if (code === "recovery_unvouched") return button("The old box is off…", vouch);
    if (code === "recovery_floor" && !recovery.unvouched) return button("State what was sold…", state);
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
