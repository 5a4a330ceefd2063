// Before "Open the door": the telephone looks at its owner's finger, face or code, and signs what the hub asks (WebAuthn).
// A browser that cannot keeps the sentence that leads to the PIN, which stands there without a script too.
(function () {
  "use strict";

  var NOT_CONFIRMED = "Your telephone did not confirm that it is you. Please use your PIN at the door.";
  var NOT_ASKED = "The booking centre cannot be reached just now. Please use your PIN at the door.";

  if (!window.PublicKeyCredential || !navigator.credentials) return;
  window.PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable().then(function (can) {
    if (can) document.querySelectorAll("[data-check]").forEach(show);
  }).catch(function () {});

  function show(box) {
    var form = box.querySelector("form");
    box.hidden = false;
    box.parentNode.querySelector("[data-check-no]").hidden = true;
    // a press that is sent already, or that first asks where the telephone is, has been held up by book.js
    form.addEventListener("submit", function (event) {
      if (event.defaultPrevented) return;
      event.preventDefault();
      begin(box, form);
    });
    form.addEventListener("located", function (event) {
      event.preventDefault();
      begin(box, form);
    });
  }

  function begin(box, form) {
    say(box, "");
    ask(box.dataset.check, form).then(function (question) {
      if (question.purpose !== "make") return question;
      return navigator.credentials.create({ publicKey: making(question.options) }).then(function (made) {
        return ask(box.dataset.check + "/bind", form, answered(made, { attestationObject: made.response.attestationObject }));
      });
    }).then(function (question) {
      return navigator.credentials.get({ publicKey: confirming(question.options) });
    }).then(function (signed) {
      form.elements.answer.value = JSON.stringify(answered(signed, {
        authenticatorData: signed.response.authenticatorData,
        signature: signed.response.signature
      }));
      form.submit();
    }).catch(function (error) {
      delete form.dataset.sent;
      form.querySelector("button").removeAttribute("aria-busy");
      say(box, error.told || NOT_CONFIRMED);
    });
  }

  // The hub's question; what it says instead, or that it says nothing, as an error with its sentence.
  function ask(address, form, answer) {
    var body = { booking: form.elements.booking.value };
    ["latitude", "longitude", "accuracy"].forEach(function (name) {
      var field = form.elements[name];
      if (field && field.value) body[name] = Number(field.value);
    });
    if (answer) body.answer = answer;
    return fetch(address, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json", "x-csrf-token": form.elements.csrf_token.value },
      credentials: "same-origin",
      body: JSON.stringify(body)
    }).then(function (response) {
      return response.json().then(function (value) {
        if (!response.ok) throw told(value.detail);
        return value;
      });
    }).catch(function (error) { throw error.told ? error : told(NOT_ASKED); });
  }

  function told(sentence) {
    var error = new Error(sentence);
    error.told = sentence || NOT_ASKED;
    return error;
  }

  function say(box, sentence) {
    var says = box.querySelector("[data-check-says]");
    says.textContent = sentence;
    says.hidden = !sentence;
  }

  // ---- octets travel as base64url
  function making(options) {
    options.challenge = bytes(options.challenge);
    options.user.id = bytes(options.user.id);
    return options;
  }

  function confirming(options) {
    options.challenge = bytes(options.challenge);
    options.allowCredentials.forEach(function (one) { one.id = bytes(one.id); });
    return options;
  }

  function answered(credential, parts) {
    var response = { clientDataJSON: text(credential.response.clientDataJSON) };
    Object.keys(parts).forEach(function (name) { response[name] = text(parts[name]); });
    return { id: credential.id, rawId: text(credential.rawId), type: credential.type, clientExtensionResults: {}, response: response };
  }

  function bytes(text) {
    var plain = window.atob(text.replace(/-/g, "+").replace(/_/g, "/")), found = new Uint8Array(plain.length), at;
    for (at = 0; at < plain.length; at += 1) found[at] = plain.charCodeAt(at);
    return found;
  }

  function text(buffer) {
    var octets = new Uint8Array(buffer), plain = "", at;
    for (at = 0; at < octets.length; at += 1) plain += String.fromCharCode(octets[at]);
    return window.btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }
})();
