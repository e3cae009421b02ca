// Draws the report's charts over its tables. Without this script the tables say the same.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  // Three significant digits and a unit, as everywhere in the report.
  const digits = (v) => v.toFixed(v < 9.995 ? 2 : v < 99.95 ? 1 : 0);
  const scaled = (v, units) => {
    let i = 0;
    while (v >= 999.5 && i < units.length - 1) { v /= 1000; i += 1; }
    return (i === 0 && Number.isInteger(v) ? String(v) : digits(v)) + units[i];
  };
  const latency = (ns) => ns == null ? "–" : scaled(ns, [" ns", " µs", " ms", " s"]);
  const amount = (n) => n == null ? "–" : scaled(n, ["", " k", " M", " G"]);
  const trimmed = (text) => text.replace(/\.0+(?=\D|$)|(\.\d*?[1-9])0+(?=\D|$)/, "$1");
  const nines = (x) => {
    const q = 100 * (1 - 1 / x);
    return "p" + trimmed(q.toFixed(Math.max(1, Math.ceil(Math.log10(x)) )));
  };

  const step = data.timeline.step_s;
  const second = (t) => {
    if (t == null) return "–";
    const from = Math.max(0, t - step / 2);
    return trimmed(from.toFixed(1)) + "–" + trimmed((t + step / 2).toFixed(1)) + " s";
  };

  // Colours follow the page's: light, dark or print.
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // 1, 10, 100 …: the other lines of a logarithmic grid go unlabelled.
  const isPower = (v) => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9;

  // From the 1, 2 or 5 below to the one above: whole decades would squeeze a narrow range flat.
  const steps = [1, 2, 5, 10];
  const below = (v) => { const p = 10 ** Math.floor(Math.log10(v)); return p * steps.findLast((s) => s * p <= v * 1.0001); };
  const above = (v) => { const p = 10 ** Math.floor(Math.log10(v)); return p * steps.find((s) => s * p >= v * 1.02); };
  const logRange = (_, min, max) => min == null || min <= 0 ? [1e3, 1e6] : [below(min * 0.98), above(max)];
  const fromZero = (_, min, max) => [0, max > 0 ? max * 1.08 : 1];

  const axis = (extra) => ({
    stroke: colour("--faint"), grid: { stroke: colour("--rule"), width: 1 },
    ticks: { stroke: colour("--rule"), width: 1, size: 4 }, font: "12px system-ui, sans-serif", gap: 4, ...extra,
  });
  const line = (label, index, value, extra) => ({
    label, stroke: colour("--c" + (index % 6)), width: 1.75, value: (_, v, __, at) => at == null ? "" : value(v),
    points: { show: false }, ...extra,
  });

  // What was not measured is shaded and named; violations are marked on top.
  const phases = {
    hooks: {
      drawClear: (u) => {
        const { ctx, bbox } = u;
        ctx.save();
        ctx.beginPath();
        ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
        ctx.clip();
        for (const phase of data.phases) {
          const from = u.valToPos(phase.from_s, "x", true), to = u.valToPos(phase.to_s, "x", true);
          ctx.fillStyle = colour("--shade");
          ctx.fillRect(from, bbox.top, to - from, bbox.height);
        }
        ctx.restore();
      },
      draw: (u) => {
        const { ctx, bbox } = u, ratio = devicePixelRatio || 1;
        ctx.save();
        ctx.font = `${11 * ratio}px system-ui, sans-serif`;
        ctx.textBaseline = "top";
        ctx.textAlign = "left";
        ctx.fillStyle = colour("--faint");
        for (const phase of data.phases) {
          const from = u.valToPos(phase.from_s, "x", true), to = u.valToPos(phase.to_s, "x", true);
          const left = Math.max(from, bbox.left), right = Math.min(to, bbox.left + bbox.width);
          if (u.height > 200 && right - left > ctx.measureText(phase.name).width + 6 * ratio) {
            ctx.fillText(phase.name, left + 4 * ratio, bbox.top + 3 * ratio);
          }
        }
        ctx.fillStyle = ctx.strokeStyle = colour("--bad");
        ctx.globalAlpha = 0.85;
        const drawn = new Set();
        for (const mark of data.violations) {
          const x = Math.round(u.valToPos(mark.t_s, "x", true)), half = 4 * ratio;
          if (drawn.has(x) || x < bbox.left || x > bbox.left + bbox.width) continue;
          drawn.add(x);
          ctx.beginPath();
          ctx.moveTo(x - half, bbox.top);
          ctx.lineTo(x + half, bbox.top);
          ctx.lineTo(x, bbox.top + 2 * half);
          ctx.fill();
        }
        ctx.restore();
      },
    },
  };

  const t = data.timeline;
  const end = Math.max(t.t_s.length ? t.t_s[t.t_s.length - 1] + step / 2 : 1, ...data.phases.map((p) => p.to_s));
  const overTime = (series, y) => () => ({
    options: {
      cursor: { sync: { key: "time" }, drag: { x: true, y: false } },
      scales: { x: { time: false, range: (_, min, max) => min === t.t_s[0] && max === t.t_s[t.t_s.length - 1] ? [0, end] : [min, max] }, y: y.scale },
      series: [{ label: "time", value: (_, v, __, at) => at == null ? "" : second(v) }, ...series().map(([label, , value], i) => line(label, i, value))],
      axes: [
        axis({ size: 32, values: (_, splits) => splits.map((v) => trimmed(v.toFixed(2)) + " s") }),
        axis({ size: 64, values: (_, splits) => splits.map((v) => v == null ? "" : trimmed(y.format(v))), ...y.axis }),
      ],
      plugins: [phases],
    },
    columns: [t.t_s, ...series().map(([, values]) => values)],
    height: y.height,
  });

  // Labels of a logarithmic axis: the powers of ten, and 2 and 5 between them where few are.
  const sparse = (u, splits) => {
    const many = u.scales.y.max / u.scales.y.min > 500;
    return splits.map((v) => isPower(v) || (!many && (isPower(v / 2) || isPower(v / 5))) ? v : null);
  };

  // As many powers, from the left, as have room for their labels.
  const roomy = (u, splits) => {
    const { min, max } = u.scales.x, pixels = u.width - 110;
    let free = -Infinity;
    return splits.map((v) => {
      if (!isPower(v)) return null;
      const half = (v === 1 ? 3 : nines(v).length) * 3.6, at = pixels * Math.log10(v / min) / Math.log10(max / min);
      if (at - half < free) return null;
      free = at + half + 8;
      return v;
    });
  };

  // From the actual send: dotted, in the colour of the same from the intended one.
  const looks = {
    "ack": [0], "relay": [1], "last receiver": [2], "spread first → last": [3],
    "ack, from the actual send": [0, [2, 4]], "relay, from the actual send": [1, [2, 4]],
    "send lag": [4, [6, 4]], "connect": [5, [6, 4]],
  };

  const charts = {
    percentiles: () => ({
      options: {
        cursor: { drag: { x: true, y: false } },
        scales: { x: { time: false, distr: 3, range: (_, min, max) => [min, max] }, y: { distr: 3, range: logRange } },
        series: [
          { label: "percentile", value: (_, x, __, at) => at == null ? "" : nines(x) },
          ...data.percentiles.classes.map((c, i) => {
            const [shade, dash] = looks[c.name] ?? [i, []];
            return line(c.name, shade, latency, { dash });
          }),
        ],
        axes: [
          axis({ size: 32, filter: roomy, values: (_, splits) => splits.map((x) => x == null ? "" : x === 1 ? "min" : nines(x)) }),
          axis({ size: 64, filter: sparse, values: (_, splits) => splits.map((v) => v == null ? "" : trimmed(latency(v))) }),
        ],
      },
      columns: [data.percentiles.x, ...data.percentiles.classes.map((c) => c.ns)],
      height: 320,
    }),
    latency: overTime(() => [["p50", t.p50, latency], ["p99", t.p99, latency], ["max", t.max, latency]],
      { scale: { distr: 3, range: logRange }, format: latency, axis: { filter: sparse }, height: 230 }),
    deliveries: overTime(() => [["delivered/s", t.delivered, amount]],
      { scale: { range: fromZero }, format: amount, height: 130 }),
    publishes: overTime(() => [["sent/s", t.sent, amount], ["acked/s", t.acked, amount]],
      { scale: { range: fromZero }, format: amount, height: 130 }),
    clients: overTime(() => [["clients", t.clients, amount]],
      { scale: { range: fromZero }, format: amount, height: 110 }),
  };

  const drawn = new Map();

  const draw = (name) => {
    const figure = document.getElementById("chart-" + name), chart = charts[name]();
    if (chart.columns.length < 2 || chart.columns[0].length === 0) return;
    figure.hidden = false;
    const plot = figure.querySelector(".plot");
    drawn.get(name)?.destroy();
    const options = { width: plot.clientWidth, height: chart.height, padding: [8, 34, 0, 0], ...chart.options };
    const u = new uPlot(options, chart.columns, plot);
    // Until a pointer or a key asks for a point, the first row of the legend has nothing to say.
    u.root.querySelector(".u-legend").classList.toggle("idle", true);
    u.over.addEventListener("mouseenter", () => u.root.querySelector(".u-legend").classList.remove("idle"));
    drawn.set(name, u);
  };
  const drawAll = () => Object.keys(charts).forEach(draw);

  // Arrow keys move through the points; what is there is also read aloud.
  const read = (name, u, index) => {
    const figure = document.getElementById("chart-" + name);
    const words = u.series.map((s, i) => `${s.label} ${s.value(u, u.data[i][index], i, index)}`.trim());
    figure.querySelector(".sr").textContent = words.join(", ");
  };
  for (const name of Object.keys(charts)) {
    document.getElementById("chart-" + name).addEventListener("keydown", (event) => {
      const u = drawn.get(name), last = u ? u.data[0].length - 1 : -1;
      const now = u?.cursor.idx;
      const next = {
        ArrowLeft: now == null ? last : Math.max(0, now - 1), ArrowRight: now == null ? 0 : Math.min(last, now + 1),
        Home: 0, End: last,
      }[event.key];
      if (last < 0 || next == null) return;
      event.preventDefault();
      u.root.querySelector(".u-legend").classList.remove("idle");
      u.setCursor({ left: u.valToPos(u.data[0][next], "x"), top: u.bbox.height / (2 * devicePixelRatio) });
      read(name, u, next);
    });
  }

  drawAll();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    requestAnimationFrame(drawAll);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // On paper everything is open and in the colours of paper.
  matchMedia("print").addEventListener("change", drawAll);
  const closed = [];
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      details.open = true;
      closed.push(details);
    }
    drawAll();
  });
  addEventListener("afterprint", () => {
    for (const details of closed.splice(0)) details.open = false;
    drawAll();
  });
})();
