// Draws the charts that the page's data describes. Without this script the tables say the same.
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

  // Colours follow the page's: light, dark or print.
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // 1, 10, 100 …: the other lines of a logarithmic grid go unlabelled.
  const isPower = (v) => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9;

  // From the 1, 2 or 5 below to the one above: whole decades would squeeze a narrow range flat.
  const steps = [1, 2, 5, 10];
  const below = (v) => { const p = 10 ** Math.floor(Math.log10(v)); return p * steps.findLast((s) => s * p <= v * 1.0001); };
  const above = (v) => { const p = 10 ** Math.floor(Math.log10(v)); return p * steps.find((s) => s * p >= v * 1.02); };
  const round = (v) => { const p = 10 ** Math.floor(Math.log10(v)); return p * Math.floor(v / p); };
  const logRange = (_, min, max) => min == null || min <= 0 ? [1e3, 1e6] : [below(min * 0.98), above(max)];
  const fromZero = (_, min, max) => [0, max > 0 ? max * 1.08 : 1];

  const axis = (extra) => ({
    stroke: colour("--faint"), grid: { stroke: colour("--rule"), width: 1 },
    ticks: { stroke: colour("--rule"), width: 1, size: 4 }, font: "12px system-ui, sans-serif", gap: 4, ...extra,
  });

  // Stretches of the x axis are shaded and named, moments on it marked: each group of marks in a
  // lane of its own, while its row in the legend is switched on.
  const mark = "▼ ";
  const tinted = ({ shade }) => colour(shade == null ? "--bad" : "--c" + (shade % 6));
  const spans = {
    hooks: {
      drawClear: (u) => {
        const { ctx, bbox } = u;
        ctx.save();
        ctx.beginPath();
        ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
        ctx.clip();
        for (const span of data.spans) {
          const from = u.valToPos(span.from, "x", true), to = u.valToPos(span.to, "x", true);
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
        for (const span of data.spans) {
          const from = u.valToPos(span.from, "x", true), to = u.valToPos(span.to, "x", true);
          const left = Math.max(from, bbox.left), right = Math.min(to, bbox.left + bbox.width);
          if (u.height > 200 && right - left > ctx.measureText(span.name).width + 6 * ratio) {
            ctx.fillText(span.name, left + 4 * ratio, bbox.top + 3 * ratio);
          }
        }
        ctx.globalAlpha = 0.85;
        const half = 4 * ratio;
        data.marks.forEach((marks, lane) => {
          const row = u.series.find((s) => s.label === mark + marks.name);
          if (!row?.show) return;
          ctx.fillStyle = tinted(marks);
          const top = bbox.top + lane * (2 * half + ratio), drawn = new Set();
          for (const at of marks.of.flatMap(({ at }) => at)) {
            const x = Math.round(u.valToPos(at, "x", true));
            if (drawn.has(x) || x < bbox.left || x > bbox.left + bbox.width) continue;
            drawn.add(x);
            ctx.beginPath();
            ctx.moveTo(x - half, top);
            ctx.lineTo(x + half, top);
            ctx.lineTo(x, top + 2 * half);
            ctx.fill();
          }
        });
        ctx.restore();
      },
    },
  };

  // Labels of a logarithmic axis: the powers of ten, and 2 and 5 between them where few are.
  const sparse = (of) => (u, splits) => {
    const many = u.scales[of].max / u.scales[of].min > 500;
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

  // The seconds that a point in the middle or at the end of them stands for; the run may end within
  // the last.
  const stretch = (t, step_s, end_s) => {
    const from = (Math.ceil(t / step_s) - 1) * step_s;
    return [from, Math.max(t, Math.min(from + step_s, end_s))];
  };

  // What is marked from one time to another, in words: how many of each kind.
  const marked = ({ of }, [from, to]) => {
    const found = of.map(({ says, at }) => [at.filter((t) => from <= t && t < to).length, says]);
    return found.filter(([n]) => n > 0).map(([n, says]) => (n > 1 ? n + " " : "") + says).join(", ") || "none";
  };

  // What each kind of x axis says about itself: its scale, its labels, and a point on it in words.
  const over = {
    percentile: () => ({
      scale: { distr: 3, range: (_, min, max) => [min, max] },
      axis: { filter: roomy, values: (_, splits) => splits.map((x) => x == null ? "" : x === 1 ? "min" : nines(x)) },
      name: "percentile", says: nines, group: "percentile",
    }),
    // Until it is zoomed, from the beginning to the end of the run.
    time: ({ step_s, end_s }, at) => ({
      scale: { range: (_, min, max) => min === at[0] && max === at[at.length - 1] ? [0, end_s] : [min, max] },
      axis: { values: (_, splits) => splits.map((v) => trimmed(v.toFixed(2)) + " s") },
      name: "time", group: "time",
      says: (t) => stretch(t, step_s, end_s).map((s) => trimmed(s.toFixed(2))).join("–") + " s",
      // What was found after the last point began is told with it.
      within: (t) => [stretch(t, step_s, end_s)[0], t === at[at.length - 1] ? Infinity : stretch(t, step_s, end_s)[1]],
    }),
    load: ({ name }) => ({
      // Grid lines are counted from the left end: it has to be a round number.
      scale: { distr: 3, range: (_, min, max) => [round(min / 1.15), max * 1.15] },
      axis: { filter: sparse("x"), values: (_, splits) => splits.map((v) => v == null ? "" : trimmed(amount(v))) },
      name, says: (v) => String(v), group: "load",
    }),
  };

  // What each kind of y axis does.
  const up = {
    latency: { scale: { distr: 3, range: logRange }, axis: { filter: sparse("y") }, format: latency },
    "log-amount": { scale: { distr: 3, range: logRange }, axis: { filter: sparse("y") }, format: amount },
    amount: { scale: { range: fromZero }, axis: {}, format: amount },
  };

  // A chart of the data as what uPlot takes. A line with a range around it is three series: the
  // line, and the ends of the range, which nobody is told of.
  const plotted = (chart) => {
    const x = over[chart.x.kind](chart.x, chart.at), y = up[chart.y];
    const series = [{ label: x.name, value: (_, v, __, at) => at == null ? "" : x.says(v) }];
    const columns = [chart.at], bands = [];
    for (const { name, shade, dash, values, range } of chart.lines) {
      const tint = colour("--c" + (shade % 6));
      const around = (at) => range && range[0][at] !== range[1][at] ? ` (${y.format(range[0][at])} – ${y.format(range[1][at])})` : "";
      series.push({
        label: name, stroke: tint, width: 1.75, dash, points: { show: chart.dots && !dash, size: 7, fill: tint },
        value: (_, v, __, at) => at == null ? "" : y.format(v) + around(at),
      });
      columns.push(values);
      if (range) {
        const [low, high] = range;
        bands.push({ series: [columns.length + 1, columns.length], fill: tint + "2e" });
        for (const end of [low, high]) {
          series.push({ silent: true, stroke: "transparent", width: 0, points: { show: false } });
          columns.push(end);
        }
      }
    }
    // Marks have no values, only a row in the legend that says what is marked at a point.
    if (x.within) for (const marks of data.marks) {
      series.push({
        label: mark + marks.name, tint: tinted(marks), stroke: "transparent", width: 0, points: { show: false },
        value: (_, __, ___, at) => at == null ? "" : marked(marks, x.within(chart.at[at])),
      });
      columns.push(chart.at.map(() => null));
    }
    const options = {
      cursor: { sync: chart.x.kind === "percentile" ? undefined : { key: x.group }, drag: { x: true, y: false } },
      scales: { x: { time: false, ...x.scale }, y: y.scale },
      series, bands,
      legend: { markers: { dash: (u, i) => { const dash = u.series[i].dash; return !dash ? "solid" : dash[0] < 4 ? "dotted" : "dashed"; } } },
      axes: [
        axis({ size: 32, ...x.axis }),
        axis({ size: 64, values: (_, splits) => splits.map((v) => v == null ? "" : trimmed(y.format(v))), ...y.axis }),
      ],
      plugins: chart.x.kind === "percentile" ? [] : [spans],
      hooks: { setSeries: [(u, i, { show }) => { for (let j = i + 1; show != null && series[j]?.silent; j++) u.setSeries(j, { show }); }] },
    };
    return { options, columns, height: chart.height_px };
  };

  const drawn = new Map();

  const draw = (described) => {
    const name = described.id, figure = document.getElementById("chart-" + name), chart = plotted(described);
    if (chart.columns.length < 2 || chart.columns[0].length === 0) return;
    figure.hidden = false;
    const plot = figure.querySelector(".plot");
    drawn.get(name)?.destroy();
    const options = { width: plot.clientWidth, height: chart.height, padding: [8, 34, 0, 0], ...chart.options };
    const u = new uPlot(options, chart.columns, plot);
    // Until a pointer or a key asks for a point, the first row of the legend has nothing to say.
    u.root.querySelector(".u-legend").classList.add("idle");
    u.root.querySelectorAll(".u-series").forEach((row, i) => {
      row.hidden = u.series[i].silent;
      if (!u.series[i].tint) return;
      row.querySelector(".u-marker").remove();
      row.querySelector(".u-label").style.color = u.series[i].tint;
    });
    u.over.addEventListener("mouseenter", () => u.root.querySelector(".u-legend").classList.remove("idle"));
    drawn.set(name, u);
  };
  const drawAll = () => data.charts.forEach(draw);

  // Arrow keys move through the points; what is there is also read aloud.
  const read = (name, u, index) => {
    const figure = document.getElementById("chart-" + name);
    const words = u.series.map((s, i) => s.silent ? "" : `${s.label} ${s.value(u, u.data[i][index], i, index)}`.trim()).filter(Boolean);
    figure.querySelector(".sr").textContent = words.join(", ");
  };
  for (const { id: name } of data.charts) {
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
