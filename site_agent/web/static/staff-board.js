// The day grid: one CSS grid of quarter hours; cells are for the hands and the keyboard, items lie over them.
"use strict";
Club.Grid = class {
  constructor(root) {
    this.root = root;
    this.items = new Map();
    this.cells = new Map();
    this.cursor = null;
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("pointerdown", (event) => this.dragStart(event));
  }

  // ---- draw
  show(board) {
    const { h } = Club;
    this.board = board;
    this.first = board.rows[0].slot;
    this.next = board.after[0].slot;
    this.count = (board.rows.length + board.after.length) * 2;
    this.root.replaceChildren();
    this.items.clear();
    this.cells.clear();
    this.root.style.gridTemplateColumns = `5.2rem repeat(${board.bays.length}, minmax(7.5rem, 1fr))`;
    this.root.style.gridTemplateRows = `auto repeat(${this.count}, var(--quarter))`;
    const head = h("div.row", { role: "row" }, h("div.corner", { role: "columnheader" }, board.rows.length === 48 ? "" : `${board.rows.length / 2} h`));
    board.bays.forEach((bay, column) => {
      const cell = h("div.head", { role: "columnheader" }, h("strong", {}, bay.bay), bay.name ? h("span", {}, bay.name) : null);
      cell.style.gridColumn = String(column + 2);
      head.append(cell);
    });
    this.root.append(head);
    [...board.rows, ...board.after].forEach((row, index) => this.root.append(this.row(row, index)));
    const midnight = h("div.midnight", { "aria-hidden": "true" });
    midnight.style.gridRow = `${this.next - this.first + 2} / span 1`;
    this.root.append(midnight);
    this.nowLine = h("div.now", { "aria-hidden": "true" }, h("span", {}));
    this.root.append(this.nowLine);
    this.lines = h("div.row", { "aria-hidden": "true" });
    this.root.append(this.lines);
    board.items.forEach((item) => this.put(item));
    this.drawLines();
    this.tick();
  }

  row(row, index) {
    const { h } = Club, top = index * 2 + 2, day = row.slot >= this.next ? `, ${this.board.after_title}` : "";
    const whole = row.label.startsWith("00", 3);
    const label = h(`div.time${whole ? ".whole" : ""}${index ? "" : ".first"}`, { role: "rowheader" }, row.slot === this.next ? `${this.board.after_title.slice(0, 3)} ${row.label}` : row.label);
    label.style.gridRow = `${top} / span 2`;
    const line = h("div.row", { role: "row" }, label);
    this.board.bays.forEach((bay, column) => {
      const cell = h(`div.cell${whole ? ".whole" : ""}`, { role: "gridcell", tabindex: "-1", "data-slot": row.slot, "data-column": column, "aria-label": `${bay.bay}, ${row.label}${day}` });
      cell.style.gridRow = `${top} / span 2`;
      cell.style.gridColumn = String(column + 2);
      this.cells.set(`${column}/${row.slot}`, cell);
      line.append(cell);
    });
    return line;
  }

  put(item) {
    const { h } = Club, key = `${item.kind}/${item.id}`;
    this.items.get(key)?.element.remove();
    const column = this.board.bays.findIndex((bay) => bay.id === item.resource_id);
    const from = Math.max(item.start, this.first), to = Math.min(item.end, this.first + this.count);
    if (column < 0 || to <= from) { this.items.delete(key); return; }
    const bay = this.board.bays[column];
    const late = Club.late(item), state = item.tone === "displaced" ? "displaced" : late ? "late" : item.state.replace("_", " ");
    const told = late || (item.kind === "booking" && !["web", "kiosk", "staff"].includes(item.tone)) ? state : item.detail;
    const element = h(`button.item.t-${item.tone}${late ? ".late" : ""}${to - from <= 2 ? ".short" : ""}`, {
      type: "button", "data-key": key, "aria-label": `${item.label}, ${bay.bay}, ${item.clock}, ${state}`, onclick: () => Club.openItem(item),
    }, h("strong", {}, item.label), h("span", {}, told ? `${item.clock} · ${told}` : item.clock));
    element.style.gridColumn = String(column + 2);
    element.style.gridRow = `${from - this.first + 2} / ${to - this.first + 2}`;
    this.root.append(element);
    this.items.set(key, { item, element, late });
  }

  change(changed) {
    changed.removed.forEach((key) => { this.items.get(key)?.element.remove(); this.items.delete(key); });
    changed.items.forEach((item) => {
      this.put(item);
      this.items.get(`${item.kind}/${item.id}`)?.element.classList.add("fresh");
    });
    if (changed.bays.length) {
      changed.bays.forEach((bay) => { this.board.bays[this.board.bays.findIndex((one) => one.id === bay.id)] = bay; });
      this.drawLines();
    }
    this.board.items = [...this.items.values()].map((one) => one.item);
  }

  drawLines() {
    const { h } = Club;
    this.lines.replaceChildren();
    this.board.bays.forEach((bay, column) => {
      if (bay.line <= this.first || bay.line >= this.first + this.count) return;
      const line = h("div.line", { title: "Until here this facility sells by itself; from here on the booking centre does" });
      line.style.gridColumn = String(column + 2);
      line.style.gridRow = `${bay.line - this.first + 2} / span 1`;
      this.lines.append(line);
    });
    for (const [key, cell] of this.cells) {
      const [column, slot] = key.split("/").map(Number);
      cell.classList.toggle("theirs", slot >= this.board.bays[column].line);
    }
  }

  tick() {
    const slot = Club.nowSlot(), inside = slot >= this.first && slot < this.first + this.count;
    this.nowLine.hidden = !inside;
    if (inside) {
      const whole = Math.floor(slot);
      this.nowLine.style.gridRow = `${whole - this.first + 2} / span 1`;
      this.nowLine.style.setProperty("--part", `${((slot - whole) * 100).toFixed(1)}%`);
      this.nowLine.firstChild.textContent = Club.clock(Club.now());
    }
    for (const cell of this.cells.values()) cell.classList.toggle("past", Number(cell.dataset.slot) + 2 <= slot);
    for (const { item, late } of [...this.items.values()]) if (Club.late(item) !== late) this.put(item);
  }

  scrollToNow() {
    const box = document.querySelector("[data-board-box]");
    if (!this.nowLine.hidden) box.scrollTop = Math.max(0, this.nowLine.offsetTop - box.clientHeight / 5);
    else box.scrollTop = this.cells.get(`0/${this.first + 36}`)?.offsetTop - 80 || 0;
    const start = this.nowLine.hidden ? this.first + 36 : Math.floor((Club.nowSlot() - this.first) / 2) * 2 + this.first;
    this.rove(this.cells.get(`0/${start}`) || this.cells.values().next().value, false);
  }

  // ---- keyboard: arrows move, Shift+Down stretches, Enter opens
  rove(cell, focus = true) {
    if (!cell) return;
    this.cursor?.setAttribute("tabindex", "-1");
    cell.setAttribute("tabindex", "0");
    this.cursor = cell;
    if (focus) { cell.focus({ preventScroll: true }); cell.scrollIntoView({ block: "nearest" }); }
  }

  key(event) {
    const cell = event.target.closest?.(".cell");
    if (!cell) return;
    const column = Number(cell.dataset.column), slot = Number(cell.dataset.slot);
    const moves = { ArrowUp: [0, -2], ArrowDown: [0, 2], ArrowLeft: [-1, 0], ArrowRight: [1, 0], PageUp: [0, -12], PageDown: [0, 12] };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.openAt(column, ...(this.range ? [this.range.from, this.range.to] : [slot, slot + 2]));
    } else if (event.shiftKey && event.key === "ArrowDown") {
      event.preventDefault();
      this.mark(column, this.range?.from ?? slot, slot + 4);
      this.rove(this.cells.get(`${column}/${slot + 2}`));
    } else if (event.key === "Escape") {
      this.unmark();
    } else if (moves[event.key]) {
      event.preventDefault();
      this.unmark();
      const [dx, dy] = moves[event.key];
      this.rove(this.cells.get(`${column + dx}/${Math.min(Math.max(slot + dy, this.first), this.first + this.count - 2)}`));
    }
  }

  openAt(column, from, to) {
    const bay = this.board.bays[column];
    const over = [...this.items.values()].find(({ item }) => item.resource_id === bay.id && item.start < to && item.end > from);
    this.unmark();
    if (over) Club.openItem(over.item);
    else Club.newAt(bay.id, from, to);
  }

  // ---- pointer: take a booking elsewhere; the move is confirmed in its sheet
  dragItem(event, element) {
    const held = this.items.get(element.dataset.key)?.item, under = (at) => document.elementsFromPoint(at.clientX, at.clientY).find((one) => one.matches(".cell"));
    const begun = under(event);
    if (!held || !begun || held.kind !== "booking" || held.state !== "confirmed" || !Club.may("book") || event.button !== 0 || event.pointerType === "touch") return;
    const offset = Number(begun.dataset.slot) - held.start, length = held.end - held.start;
    let to = null;
    const move = (moved) => {
      if (!to && Math.hypot(moved.clientX - event.clientX, moved.clientY - event.clientY) < 8) return;
      const cell = under(moved);
      if (!cell) return;
      to = { resource_id: this.board.bays[Number(cell.dataset.column)].id, start: Number(cell.dataset.slot) - offset };
      element.classList.add("held");
      this.mark(Number(cell.dataset.column), to.start, to.start + length);
    };
    const end = (how) => {
      for (const [name, listener] of listeners) removeEventListener(name, listener, true);
      element.classList.remove("held");
      this.unmark();
      if (how.type !== "pointerup" || !to) return;
      const still = (click) => { click.stopPropagation(); click.preventDefault(); };
      addEventListener("click", still, { capture: true, once: true });
      setTimeout(() => removeEventListener("click", still, true));
      if (to.resource_id !== held.resource_id || to.start !== held.start) Club.openBooking(held.id, to);
    };
    const escape = (pressed) => { if (pressed.key === "Escape") end(pressed); };
    const listeners = [["pointermove", move], ["pointerup", end], ["pointercancel", end], ["keydown", escape]];
    for (const [name, listener] of listeners) addEventListener(name, listener, true);
  }

  // ---- pointer: press and pull down a column
  dragStart(event) {
    const taken = event.target.closest?.(".item");
    if (taken) { this.dragItem(event, taken); return; }
    const cell = event.target.closest?.(".cell");
    if (!cell || event.button !== 0) return;
    const column = Number(cell.dataset.column), from = Number(cell.dataset.slot);
    let to = from + 2;
    if (event.pointerType === "touch") {
      const tap = () => { this.rove(cell); this.openAt(column, from, to); };
      cell.addEventListener("click", tap, { once: true });
      return;
    }
    event.preventDefault();
    this.rove(cell);
    this.mark(column, from, to);
    const move = (moved) => {
      const under = document.elementFromPoint(moved.clientX, moved.clientY)?.closest?.(".cell");
      if (!under || Number(under.dataset.column) !== column) return;
      to = Math.max(Number(under.dataset.slot) + 2, from + 2);
      this.mark(column, from, to);
    };
    const up = () => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      this.openAt(column, from, to);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
  }

  mark(column, from, to) {
    this.unmark();
    this.range = { column, from, to };
    for (let slot = from; slot < to; slot += 2) this.cells.get(`${column}/${slot}`)?.classList.add("marked");
  }

  unmark() {
    this.range = null;
    this.root.querySelectorAll(".marked").forEach((cell) => cell.classList.remove("marked"));
  }
};
