"use strict";
// The figure of a case, drawn by Observable Plot when the case is opened: `drawnFigure(figure, words, looks)`
// returns an element, from what page.py writes of a figure, its words for those who don't see it, and the
// marker of each backend.
window.drawnFigure = (() => {
const PANELS = {
  loss: "loss",
  share: "largest share of the rounding allowed",
  drift: "largest difference of a parameter",
};
const DASHES = { float64: null, float32: "6 3", float16: "6 3 1.5 3", bfloat16: "1.5 3" };
const TOP = 1.2, HEIGHT = 250, MARKED = 9, TICKS = 5, BINS = 60;
const PAIRS = 6; // colours of pairs, --pair-0 to --pair-5
const around = (corners, inner = 1, turn = 0) => Array.from({ length: corners }, (_, i) => {
  const angle = turn + 2 * Math.PI * i / corners, far = i % 2 ? inner : 1;
  return [far * Math.sin(angle), -far * Math.cos(angle)];
});
const CROSS = [[-0.3, -1], [0.3, -1], [0.3, -0.3], [1, -0.3], [1, 0.3], [0.3, 0.3], [0.3, 1], [-0.3, 1], [-0.3, 0.3], [-1, 0.3], [-1, -0.3], [-0.3, -0.3]];
// The corners of a marker by matplotlib's name for it, within a circle of radius 1.
const MARKERS = {
  o: around(20), s: around(4, 1, Math.PI / 4), D: around(4), d: around(4, 0.6), "^": around(3), v: around(3, 1, Math.PI),
  "<": around(3, 1, -Math.PI / 2), ">": around(3, 1, Math.PI / 2), p: around(5), h: around(6), "*": around(10, 0.45),
  P: CROSS, X: CROSS.map(([x, y]) => [(x - y) * Math.SQRT1_2, (x + y) * Math.SQRT1_2]),
};
const symbol = (marker) => ({
  draw(context, size) {
    const radius = Math.sqrt(size / Math.PI) * 1.15, corners = MARKERS[marker] ?? MARKERS.o;
    corners.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x * radius, y * radius));
    context.closePath();
  },
});
const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const power = (value) => `10${[...String(Math.round(Math.log10(value)))].map((digit) => SUPERSCRIPTS[digit]).join("")}`;
const number = (value) => value === null ? "not finite"
  : value === 0 || (Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5) ? String(Number(value.toPrecision(5))) : value.toExponential(2).replace("e+", "e");
const whole = (step) => step.toLocaleString("en");
const named = (line) => `${line.name} ${line.dtype}`;
const element = (tag, name, text) => Object.assign(document.createElement(tag), { className: name, textContent: text ?? "" });

// Give each line its points, its colour, and its marker.
function prepared(figure, looks) {
  const names = Object.keys(looks);
  const pairs = [...new Set(figure.lines.filter((line) => !names.includes(line.name)).map((line) => line.name))];
  return figure.lines.map((line) => {
    const at = names.indexOf(line.name);
    const colour = at < 0 ? `var(--pair-${pairs.indexOf(line.name) % PAIRS})` : `var(--look-${at})`;
    const points = figure.steps[line.steps].map((step, i) => ({ step, value: line.values[i] }));
    return { ...line, colour, marker: at < 0 ? null : looks[line.name], points };
  });
}

// Return how the values of a panel are written: the scale, its domain, and its ticks.
function scaleOf(panel, lines) {
  const values = lines.flatMap((line) => line.values).filter((value) => value !== null);
  if (panel === "share") return { domain: [0, TOP], ticks: [0, 0.2, 0.4, 0.6, 0.8, 1] };
  if (!values.length) return { domain: [0, 1], ticks: [] };
  const positive = values.filter((value) => value > 0);
  const low = d3.min(positive), high = d3.max(positive);
  if (panel === "drift" && !positive.length) return { domain: [0, 1], ticks: [], words: values.some((value) => value) ? "no difference is finite" : "all runs are equal to the bit" };
  const isLog = panel === "drift" || (positive.length > 0 && positive.length === values.length && high > 100 * low);
  if (!isLog) return { nice: true, ticks: TICKS };
  const [first, last] = [Math.floor(Math.log10(low)), Math.max(Math.ceil(Math.log10(high)), Math.floor(Math.log10(low)) + 1)];
  const ticks = d3.range(first, last + 1, Math.ceil((last - first) / TICKS) || 1).map((exponent) => 10 ** exponent);
  return { type: "log", domain: [10 ** first, 10 ** last], ticks, tickFormat: power };
}

function stepTicks(last) {
  const powers = [0, ...d3.range(0, 7).map((exponent) => 10 ** exponent)].filter((step) => step <= last);
  if (last < 10) return d3.range(0, last + 1);
  return last < 50 ? [0, 1, 2, 5, 10, 20].filter((step) => step <= last) : last > 2 * powers.at(-1) ? [...powers, last] : powers;
}

// Some points of a line that bear its marker, equally far from each other to the eye.
function marked(line, shift) {
  const seen = new Map();
  for (const point of line.points) {
    if (point.value !== null) seen.set(Math.floor(Math.log1p(point.step) / Math.log1p(line.points.at(-1).step || 1) * MARKED + shift), point);
  }
  return [...seen.values()];
}

// Return, for each backend, the highest share of its dtypes in each part of the axis, and the lowest.
function envelopes(lines, last) {
  const share = (point) => point.value === null ? Infinity : point.value;
  return d3.groups(lines, (line) => line.name).map(([, some]) => {
    const bins = d3.groups(some.flatMap((line) => line.points), (point) => Math.floor(Math.log1p(point.step) / Math.log1p(last || 1) * BINS));
    const points = bins.map(([, inside]) => {
      const peak = d3.greatest(inside, share);
      return { step: peak.step, value: Math.min(share(peak), TOP), low: Math.min(d3.min(inside, share), TOP), isOut: share(peak) > TOP };
    });
    return { ...some[0], dtype: null, points: d3.sort(points, (point) => point.step) };
  });
}

function linesOf(panel, line, i, count, isLog) {
  const y = (point) => point.value === null || (isLog && point.value <= 0) ? NaN : point.value;
  const begins = line.points.filter((point, at) => point.isOut && !line.points[at - 1]?.isOut);
  return [
    panel === "share" && Plot.areaY(line.points, { x: "step", y1: "low", y2: "value", fill: line.colour, fillOpacity: 0.13 }),
    Plot.line(line.points, { x: "step", y, stroke: line.colour, strokeWidth: 1.6, strokeDasharray: DASHES[line.dtype] }),
    line.marker && Plot.dot(marked(line, i / count), { x: "step", y, fill: line.colour, symbol: symbol(line.marker), r: 3.2 }),
    begins.length && Plot.text(begins, { x: "step", y: TOP, text: () => "▲", fill: line.colour, fontSize: 13, className: "clipped" }),
  ].filter(Boolean);
}

// What stands beside the pointer at each step: all the values of the panel.
function tips(lines, failures) {
  const points = lines.flatMap((line) => line.points.map((point) => ({ ...point, line })));
  return d3.sort(d3.groups(points, (point) => point.step), ([step]) => step).map(([step, values]) => {
    return { step, values, failing: failures.filter((failure) => failure.step === step) };
  });
}

function showTip(tip, plot, at) {
  tip.hidden = !at;
  if (!at) return;
  const rows = at.values.map(({ line, value }) => {
    const row = element("div"), key = element("i");
    key.style.background = line.colour;
    row.append(key, element("span", "", named(line)), element("b", "", number(value)));
    return row;
  });
  const failing = at.failing.map((failure) => element("strong", "", `✗ ${named(failure)} ${failure.verdict ?? "differs"}`));
  tip.replaceChildren(element("em", "", `step ${whole(at.step)}`), ...rows, ...failing);
  const x = plot.scale("x").apply(at.step), { left } = plot.getBoundingClientRect(), width = tip.offsetWidth;
  const room = document.documentElement.clientWidth - left - width - 8; // within the window
  tip.style.left = `${Math.max(8 - left, Math.min(room, x + 12 < room ? x + 12 : x - 12 - width))}px`;
}

function drawnPanel(panel, lines, failures, width, last) {
  const scale = scaleOf(panel, lines), steps = d3.groups(failures, (failure) => failure.step).map(([step]) => ({ step }));
  const isLate = (mark) => Math.log1p(mark.step) > 0.6 * Math.log1p(last);
  const label = (some, textAnchor, dx) => Plot.text(some, { x: "step", frameAnchor: "top", dy: -14, dx, textAnchor, text: (mark) => `✗ step ${whole(mark.step)}`, fill: "var(--bad)", fontWeight: 650, className: "failing" });
  const told = tips(lines, failures), drawn = panel === "share" ? envelopes(lines, last) : lines;
  const plot = Plot.plot({
    width, height: HEIGHT, marginLeft: 50, marginRight: 14, marginTop: 26, marginBottom: 36, style: { fontSize: "12px", color: "inherit" },
    x: { type: "symlog", constant: 1, domain: [0, Math.max(last, 1)], ticks: stepTicks(last), tickFormat: (step) => step >= 1e4 && Number.isInteger(Math.log10(step)) ? power(step) : whole(step), label: "step", labelArrow: "none", labelAnchor: "center" },
    y: { ...scale, words: undefined, label: null },
    marks: [
      Plot.gridY({ ticks: scale.ticks }),
      panel === "share" && Plot.ruleY([1], { stroke: "currentColor", strokeOpacity: 0.7 }),
      panel === "share" && Plot.text(["all of it: above is wrong"], { frameAnchor: "top-left", dx: 4, dy: 20, y: undefined, fill: "currentColor", fillOpacity: 0.75 }),
      Plot.ruleX(steps, { x: "step", stroke: "var(--bad)", strokeDasharray: "4 3", strokeWidth: 1.5, className: "failing-rule" }),
      label(steps.filter((mark) => !isLate(mark)), "start", -2), label(steps.filter(isLate), "end", 2),
      ...drawn.flatMap((line, i) => linesOf(panel, line, i, drawn.length, scale.type === "log")),
      scale.words && Plot.text([scale.words], { frameAnchor: "middle", fontSize: 13 }),
      Plot.ruleX(told, Plot.pointerX({ x: "step", stroke: "currentColor", strokeOpacity: 0.5, maxRadius: Infinity })),
    ].filter(Boolean),
  });
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${PANELS[panel]}, steps 0 to ${whole(last)}`);
  const box = element("div", "panel"), frame = element("div", "frame"), tip = element("div", "tip");
  tip.hidden = true;
  tip.setAttribute("aria-live", "polite");
  plot.addEventListener("input", () => showTip(tip, plot, plot.value));
  frame.append(plot, tip);
  box.append(element("h4", "", PANELS[panel]), frame);
  steerable(box, plot, told.map((at) => at.step));
  return box;
}

// Let the arrow keys do what the pointer does.
function steerable(box, plot, steps) {
  let at = -1;
  box.tabIndex = 0;
  box.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    at = Math.max(0, Math.min(steps.length - 1, at + by));
    const { left, top, height } = plot.getBoundingClientRect();
    const place = { clientX: left + plot.scale("x").apply(steps[at]), clientY: top + height / 2, pointerType: "mouse" };
    plot.dispatchEvent(new PointerEvent("pointermove", place));
  });
  box.addEventListener("blur", () => plot.dispatchEvent(new PointerEvent("pointerleave", { pointerType: "mouse" })));
}

function sample(line) {
  const colour = line.colour ?? "currentColor";
  const marks = [Plot.line([[0, 0], [1, 0]], { stroke: colour, strokeWidth: 1.8, strokeDasharray: DASHES[line.dtype] })];
  if (line.marker) marks.push(Plot.dot([[0.5, 0]], { fill: colour, symbol: symbol(line.marker), r: 3.4 }));
  const plot = Plot.plot({ width: 30, height: 12, margin: 2, axis: null, x: { domain: [0, 1] }, y: { domain: [-1, 1] }, marks });
  plot.setAttribute("aria-hidden", "true");
  return plot;
}

// A button for each backend, pair and dtype, which takes its lines away and brings them back.
function legendOf(lines, hidden, redraw) {
  const legend = element("div", "legend");
  const dtypes = [...new Set(lines.map((line) => line.dtype))];
  const entries = [...new Map(lines.map((line) => [line.name, { ...line, dtype: null }])), ...(dtypes.length > 1 ? dtypes.map((dtype) => [dtype, { dtype }]) : [])];
  for (const [name, line] of entries) {
    const button = element("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.append(sample(line), name);
    button.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      redraw();
    });
    legend.append(button);
  }
  return legend;
}

function failuresOf(failures) {
  const list = element("ul", "failures");
  for (const failure of failures) {
    const step = `step ${whole(failure.step)}`, told = failure.words.startsWith(step) ? "" : `${step}, `;
    const item = element("li");
    item.append(element("b", "", `✗ ${named(failure)}`), `: ${told}${failure.words}`);
    list.append(item);
  }
  return list;
}

return (figure, words, looks) => {
  const lines = prepared(figure, looks), hidden = new Set(), panels = element("div", "panels"), whole = element("figure", "figure");
  const last = d3.max(figure.steps, (steps) => steps.at(-1)) ?? 0;
  const isSeen = (line) => !hidden.has(line.name) && !hidden.has(line.dtype);
  let drawnWidth = 0;
  const draw = () => {
    const kinds = Object.keys(PANELS).filter((panel) => lines.some((line) => line.panel === panel));
    const abreast = drawnWidth >= 1000 ? 3 : drawnWidth >= 650 ? 2 : 1;
    const width = Math.floor((drawnWidth - 28 * (abreast - 1)) / abreast);
    panels.style.gridTemplateColumns = `repeat(${abreast}, minmax(0, 1fr))`;
    panels.replaceChildren(...kinds.map((panel) => drawnPanel(panel, lines.filter((line) => line.panel === panel && isSeen(line)), figure.failures.filter(isSeen), width, last)));
  };
  new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width && Math.abs(contentRect.width - drawnWidth) >= 1) { drawnWidth = contentRect.width; draw(); }
  }).observe(panels);
  whole.setAttribute("aria-label", words);
  whole.append(panels, legendOf(lines, hidden, draw), failuresOf(figure.failures));
  return whole;
};
})();
