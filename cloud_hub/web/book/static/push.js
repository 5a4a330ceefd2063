// Lets this browser be told of an order whose page it shows. What can be done without it is on the page already.
// A browser that has been let in once is told of every order whose page it shows from then on.
(function () {
  "use strict";

  var box = document.querySelector("[data-push]");
  if (!box || !("serviceWorker" in navigator) || !("PushManager" in window) || !("Notification" in window)) return;

  var WORKER = "/b/push.js", SCOPE = "/b/";
  var DENIED = "This browser has been told to let no message through from this page. That can be changed in its settings.";
  var key = bytes(box.dataset.push), root = box.dataset.root, token = box.querySelector("[name=csrf_token]").value;
  var on = box.querySelector("[data-push-on]"), off = box.querySelector("[data-push-off]");
  var says = document.querySelector("[data-push-says]");

  existing().then(function (subscription) {
    if (subscription) return tell("push", subscription.toJSON()).then(function () { show(true, "This device is told."); });
    show(false, Notification.permission === "denied" ? DENIED : "");
  }).catch(function () { show(false, ""); });
  if (!on) return;

  box.hidden = false;
  on.addEventListener("click", function () { busy(on, begin()); });
  off.addEventListener("click", function () { busy(off, end()); });

  function begin() {
    return Notification.requestPermission().then(function (permission) {
      if (permission !== "granted") throw new Error(permission === "denied" ? DENIED : "Nothing was changed, since this browser was not let in.");
      return navigator.serviceWorker.register(WORKER, { scope: SCOPE });
    }).then(function () {
      return navigator.serviceWorker.ready;
    }).then(function (registration) {
      return fresh(registration).then(function (subscription) {
        return tell("push", subscription.toJSON()).catch(function (error) {
          // what the hub does not know of would look as if it told
          return subscription.unsubscribe().then(function () { throw error; });
        });
      });
    }).then(function () { show(true, "This device is told of this booking from now on."); });
  }

  function end() {
    return existing().then(function (subscription) {
      if (!subscription) return null;
      return tell("push/off", { endpoint: subscription.endpoint }).then(function () { return subscription.unsubscribe(); });
    }).then(function () { show(false, "This device is told nothing any more."); });
  }

  // The subscription of this browser that was made for our key; null where there is none.
  function existing() {
    return navigator.serviceWorker.getRegistration(SCOPE).then(function (registration) {
      return registration ? registration.pushManager.getSubscription() : null;
    }).then(function (subscription) { return subscription && ours(subscription) ? subscription : null; });
  }

  // One that was made for another key can be sent nothing, and stands in the way of a new one.
  function fresh(registration) {
    return registration.pushManager.getSubscription().then(function (subscription) {
      if (subscription && ours(subscription)) return subscription;
      return Promise.resolve(subscription ? subscription.unsubscribe() : null).then(function () {
        return registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
      });
    });
  }

  function ours(subscription) {
    var theirs = subscription.options && subscription.options.applicationServerKey;
    return !theirs || new Uint8Array(theirs).join() === key.join();
  }

  function tell(where, what) {
    return fetch(root + "/" + where, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json", "x-csrf-token": token },
      credentials: "same-origin",
      body: JSON.stringify(what)
    }).then(function (answer) {
      if (answer.ok) return null;
      return answer.json().then(function (problem) { throw new Error(problem.detail); });
    });
  }

  function busy(button, work) {
    button.setAttribute("aria-busy", "true");
    work.catch(function (error) {
      show(button === off, error.message || "That did not work. Please try again.");
    }).then(function () { button.removeAttribute("aria-busy"); });
  }

  function show(told, words) {
    if (!on) return;
    on.hidden = told;
    off.hidden = !told;
    says.textContent = words;
  }

  function bytes(text) {
    var plain = window.atob(text.replace(/-/g, "+").replace(/_/g, "/")), found = new Uint8Array(plain.length), at;
    for (at = 0; at < plain.length; at += 1) found[at] = plain.charCodeAt(at);
    return found;
  }
})();
