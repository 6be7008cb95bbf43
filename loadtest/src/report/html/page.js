// Read-outs, legends and the switch between scales. Everything shown is text that is already in the page; nothing
// here makes markup out of a string.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  document.documentElement.classList.add("js");

  const element = (name, attributes, parent) => {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    parent.append(made);
    return made;
  };
  const words = (name, text, parent, className) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.textContent = text;
    parent.append(made);
    return made;
  };
  // The place in a rising list that is nearest to a value.
  const nearest = (list, value) => {
    let low = 0, high = list.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (list[middle] < value) low = middle; else high = middle;
    }
    return value - list[low] <= list[high] - value ? low : high;
  };

  const figures = [...document.querySelectorAll("figure.plot")].map((figure) => {
    const plot = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
    const drawings = [...figure.querySelectorAll("svg.drawing")];
    const canvas = figure.querySelector(".canvas");
    const tip = words("div", "", canvas, "tip");
    const said = figure.querySelector("output");
    const [left, top, width, height] = plot.area;
    tip.hidden = true;
    const self = { group: figure.dataset.group, plot, variant: 0, at: null };
    const hidden = new Set();
    plot.series.forEach((_, at) => {
      if (drawings[0].querySelector(`.series[data-s="${at}"]`).classList.contains("off")) hidden.add(at);
    });

    // Shows what the lines say at a share (0 to 1) of the horizontal axis; with nothing, shows nothing.
    self.show = (share, own) => {
      for (const drawing of drawings) drawing.querySelector(".cursor").replaceChildren();
      tip.hidden = true;
      self.at = share;
      if (share === null) return;
      const drawing = drawings[self.variant];
      const cursor = drawing.querySelector(".cursor");
      const wanted = left + share * width;
      let at = null;
      const rows = [];
      plot.series.forEach((series, nth) => {
        if (hidden.has(nth) || series.x.length === 0) return;
        const place = nearest(series.x, wanted);
        const x = series.x[place], y = series.y[self.variant][place];
        if (y === null || Math.abs(x - wanted) > Math.max(24, 2 * width / series.x.length)) return;
        if (at === null || Math.abs(x - wanted) < Math.abs(at.x - wanted)) at = { x, text: series.at[place] };
        rows.push({ x, y, series, reads: series.reads[place] });
      });
      if (at === null) return;
      element("path", { d: `M${at.x} ${top}V${top + height}` }, cursor);
      for (const row of rows) element("circle", { cx: row.x, cy: row.y, r: 4, class: `c${row.series.colour}` }, cursor);
      tip.replaceChildren();
      words("b", at.text, tip);
      for (const row of rows) {
        const line = words("div", "", tip);
        words("i", "", line, `c${row.series.colour}`);
        words("span", row.series.name, line);
        words("span", row.reads, line);
      }
      tip.hidden = false;
      const scale = drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width;
      const right = at.x * scale + 14;
      const fits = right + tip.offsetWidth <= canvas.clientWidth;
      tip.style.left = `${Math.max(0, fits ? right : at.x * scale - 14 - tip.offsetWidth)}px`;
      tip.style.top = `${top * scale}px`;
      if (own) said.textContent = `${at.text}: ${rows.map((row) => `${row.series.name} ${row.reads}`).join(", ")}`;
    };

    const everyone = (share, own) => {
      for (const other of figures) {
        if (other === self) self.show(share, own);
        else if (other.group === self.group) other.show(share, false);
      }
    };
    for (const drawing of drawings) {
      const share = (event) => {
        const box = drawing.getBoundingClientRect();
        const x = ((event.clientX - box.left) / box.width) * drawing.viewBox.baseVal.width;
        return Math.min(1, Math.max(0, (x - left) / width));
      };
      drawing.addEventListener("pointermove", (event) => everyone(share(event), false));
      drawing.addEventListener("pointerleave", () => everyone(null, false));
      drawing.addEventListener("blur", () => everyone(null, false));
      drawing.addEventListener("keydown", (event) => {
        const steps = { ArrowLeft: -1, ArrowRight: 1 };
        if (event.key === "Escape") return everyone(null, false);
        if (!(event.key in steps)) return undefined;
        event.preventDefault();
        const xs = [...new Set(plot.series.flatMap((series, nth) => (hidden.has(nth) ? [] : series.x)))].sort((a, b) => a - b);
        if (xs.length === 0) return undefined;
        const now = self.at === null ? -1 : nearest(xs, left + self.at * width);
        const next = Math.min(xs.length - 1, Math.max(0, now + steps[event.key] * (event.shiftKey ? 10 : 1)));
        return everyone((xs[next] - left) / width, true);
      });
    }

    const buttons = [...figure.querySelectorAll(".legend button")];
    const apply = () => {
      buttons.forEach((button, nth) => button.setAttribute("aria-pressed", String(!hidden.has(nth))));
      for (const line of figure.querySelectorAll(".series")) line.classList.toggle("off", hidden.has(Number(line.dataset.s)));
      self.show(null, false);
    };
    buttons.forEach((button, nth) => {
      button.title = "Click to hide or show; Shift-click to show it alone";
      button.addEventListener("click", (event) => {
        const alone = buttons.every((_, other) => hidden.has(other) !== (other === nth));
        if (event.shiftKey) {
          hidden.clear();
          if (!alone) buttons.forEach((_, other) => other !== nth && hidden.add(other));
        } else if (!hidden.delete(nth)) hidden.add(nth);
        apply();
      });
    });
    for (const button of figure.querySelectorAll(".switch button")) {
      button.addEventListener("click", () => {
        self.variant = Number(button.dataset.v);
        for (const other of figure.querySelectorAll(".switch button")) other.setAttribute("aria-pressed", String(other === button));
        drawings.forEach((drawing, nth) => drawing.classList.toggle("hidden", nth !== self.variant));
        self.show(null, false);
      });
    }
    return self;
  });
})();
