// Makes the pages smoother; every one of them works without it.
// A form is sent once, a hold counts down, times follow the search, and a page that waits looks again by itself.
(function () {
  "use strict";

  var form, index;

  // ---- a form is sent once: the button says so, and a second press does nothing
  var once = document.querySelectorAll("form[data-once]");
  for (index = 0; index < once.length; index += 1) sendOnce(once[index]);

  function sendOnce(form) {
    form.addEventListener("submit", function (event) {
      if (form.dataset.sent) {
        event.preventDefault();
        return;
      }
      form.dataset.sent = "1";
      if (event.submitter) event.submitter.setAttribute("aria-busy", "true");
    });
  }
  // Coming back by the browser's own button: the page may send again.
  window.addEventListener("pageshow", function () {
    document.querySelectorAll("form[data-once]").forEach(function (form) {
      delete form.dataset.sent;
    });
    document.querySelectorAll("button[aria-busy]").forEach(function (button) {
      button.removeAttribute("aria-busy");
    });
  });

  // ---- a door that opens only near it: the telephone says where it is when somebody presses, or nothing where it may not
  var near = document.querySelectorAll("form[data-near]");
  for (index = 0; index < near.length; index += 1) sayWhere(near[index]);

  function sayWhere(form) {
    form.addEventListener("submit", function (event) {
      if (form.elements.latitude.value || !navigator.geolocation || form.dataset.asked) return;
      event.preventDefault();
      form.dataset.asked = "1";
      navigator.geolocation.getCurrentPosition(
        function (found) {
          form.elements.latitude.value = found.coords.latitude.toFixed(5);
          form.elements.longitude.value = found.coords.longitude.toFixed(5);
          form.elements.accuracy.value = Math.round(found.coords.accuracy);
          go(form);
        },
        function () { go(form); },
        { enableHighAccuracy: true, timeout: 8000, maximumAge: 30000 }
      );
    });
  }

  // Whoever has more to ask of the telephone sends the form when that is done.
  function go(form) {
    if (form.dispatchEvent(new Event("located", { cancelable: true }))) form.submit();
  }

  // ---- what is wrong is read first
  var errors = document.getElementById("errors");
  if (errors) errors.focus();

  // ---- the countdown of a hold, by the server's clock; spoken once a minute
  var hold = document.querySelector("[data-expires]");
  if (hold) countDown(hold);

  function countDown(hold) {
    var ends = Number(hold.dataset.expires), skew = Number(hold.dataset.now) - Date.now() / 1000;
    var face = hold.querySelector(".countdown"), spoken = hold.querySelector("[data-countdown-spoken]"), said = -1;
    function tick() {
      var left = Math.max(0, Math.round(ends - skew - Date.now() / 1000));
      var minutes = Math.floor(left / 60), seconds = left % 60;
      face.textContent = " · " + minutes + ":" + (seconds < 10 ? "0" : "") + seconds + " left";
      hold.classList.toggle("soon", left < 120);
      if (seconds === 0 && minutes !== said && minutes > 0) {
        said = minutes;
        spoken.textContent = minutes === 1 ? "One minute left" : minutes + " minutes left";
      }
      if (left === 0) {
        window.location.reload();
        return;
      }
      window.setTimeout(tick, 1000);
    }
    tick();
  }

  // ---- times follow the search
  form = document.querySelector("form[data-live]");
  if (form) follow(form);

  function follow(form) {
    var latest = 0;
    form.classList.add("live");
    form.addEventListener("change", function () {
      if (!form.checkValidity()) return;
      load(form.action + "?" + new URLSearchParams(new FormData(form)).toString());
    });
    document.addEventListener("click", function (event) {
      var link = event.target.closest(".days a");
      if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      event.preventDefault();
      form.elements.date.value = new URL(link.href).searchParams.get("date");
      load(link.href);
    });

    function load(address) {
      var mine = (latest += 1), target = document.getElementById(form.dataset.live);
      target.setAttribute("aria-busy", "true");
      fetch(address, { headers: { accept: "text/html" }, credentials: "same-origin" })
        .then(function (answer) { return answer.text(); })
        .then(function (text) {
          if (mine !== latest) return;
          var fresh = new DOMParser().parseFromString(text, "text/html").getElementById(form.dataset.live);
          if (!fresh) {
            window.location.assign(address);
            return;
          }
          target.replaceWith(fresh);
          fresh.querySelectorAll("form[data-once]").forEach(sendOnce);
          showDay(fresh);
          window.history.replaceState(null, "", address);
        })
        .catch(function () { window.location.assign(address); });
    }
  }

  // ---- the chosen day is in sight
  function showDay(root) {
    var day = root.querySelector('.days [aria-current="date"]'), strip = root.querySelector(".days ul");
    if (day && strip) strip.scrollLeft = day.offsetLeft - (strip.clientWidth - day.offsetWidth) / 2;
  }
  showDay(document);

  // ---- a page that waits for the facility looks again, and changes only when there is news
  var main = document.querySelector("main[data-waiting]");
  if (main) wait(main.dataset.waiting, 0);

  function wait(state, times) {
    window.setTimeout(function () {
      fetch(window.location.href, { headers: { accept: "text/html" }, credentials: "same-origin", redirect: "follow" })
        .then(function (answer) { return answer.text(); })
        .then(function (text) {
          var fresh = new DOMParser().parseFromString(text, "text/html").querySelector("main");
          if (!fresh || fresh.dataset.waiting !== state) window.location.reload();
          else wait(state, times + 1);
        })
        .catch(function () { wait(state, times + 1); });
    }, times < 10 ? 1500 : 6000);
  }
})();
