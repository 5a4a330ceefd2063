// Shows what the hub pushes to this browser, and opens the booking when it is tapped. It keeps nothing and answers for no page.
"use strict";

self.addEventListener("install", function () { self.skipWaiting(); });
self.addEventListener("activate", function (event) { event.waitUntil(self.clients.claim()); });

self.addEventListener("push", function (event) {
  var told = read(event.data);
  // Whatever came, something must be shown: a browser takes the right away from whoever pushes in silence.
  event.waitUntil(self.registration.showNotification(text(told.title) || "ClubOS Booking", {
    body: text(told.body) || "There is news about your booking.",
    tag: text(told.tag),
    data: { url: address(told.url) }
  }));
});

self.addEventListener("notificationclick", function (event) {
  var url = event.notification.data && event.notification.data.url;
  event.notification.close();
  if (!url) return;
  event.waitUntil(self.clients.matchAll({ type: "window", includeUncontrolled: true }).then(function (pages) {
    var open = pages.find(function (page) { return page.url === url; });
    return open ? open.focus() : self.clients.openWindow(url);
  }));
});

function read(data) {
  try {
    var told = data ? data.json() : null;
    return told && typeof told === "object" ? told : {};
  } catch (error) {
    return {};
  }
}

function text(value) {
  return typeof value === "string" ? value : "";
}

function address(value) {
  try {
    var url = new URL(text(value), self.location.origin);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : "";
  } catch (error) {
    return "";
  }
}
