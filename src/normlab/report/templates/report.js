"use strict";
(async () => {
  const data = JSON.parse(document.getElementById("charts").textContent);
  const dashes = { solid: "solid", dash: "dash", dot: "dot", dashdot: "dashdot" };
  const sources = { total: "whole", iterate: "weights move<br>(iterate)", sampling: "choice of samples<br>(sampling)", batch_statistics: "batch statistics", dropout: "dropout" };
  const narrow = () => window.innerWidth < 640;
  const layout = () => ({
    margin: { l: narrow() ? 52 : 70, r: 12, t: narrow() ? 8 : 30, b: 48 }, font: { family: "system-ui, sans-serif", size: 13, color: "#1d2328" },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "x unified",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: "#8a949c", activecolor: "#0b5c92" },
    legend: { orientation: "h", xref: "container", x: 0.02, yref: "container", y: 0, yanchor: "bottom" },
  });
  const ticks = [...Array(24).keys()].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** (power - 16)));
  const logarithmic = (values) => {
    const positive = values.filter((value) => value > 0);
    if (Math.max(...positive) < 8 * Math.min(...positive)) return { type: "log", nticks: 6 };
    return { type: "log", tickmode: "array", tickvals: ticks, ticktext: ticks.map((tick) => String(Number(tick.toPrecision(1)))) };
  };
  const faded = (color, opacity) => {
    const [r, g, b] = [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
    return `rgba(${r},${g},${b},${opacity})`;
  };

  function curveTraces(panel, what) {
    return panel[what].flatMap((band) => {
      const style = data.styles[band.norm];
      const every = Math.max(1, Math.floor(band.steps.length / 8));
      return [
        { x: band.steps.concat(band.steps.slice().reverse()), y: band.high.concat(band.low.slice().reverse()), fill: "toself",
          fillcolor: faded(style.color, 0.16), line: { width: 0 }, mode: "lines", hoverinfo: "skip", showlegend: false, legendgroup: band.norm },
        { x: band.steps, y: band.median, name: style.label, legendgroup: band.norm, mode: "lines+markers",
          line: { color: style.color, dash: dashes[style.dash], width: 2 },
          marker: { symbol: style.marker, color: style.color, size: band.steps.map((_, i) => (i % every === Math.floor(every / 2) ? 8 : 0)), line: { width: 0 } },
          customdata: band.low.map((low, i) => [low, band.high[i]]),
          hovertemplate: "%{y:.4g} (%{customdata[0]:.3g} to %{customdata[1]:.3g})" },
      ];
    });
  }

  function noiseTraces(panel) {
    const norms = [...new Set(panel.shares.map((share) => share.norm))];
    return norms.map((norm) => {
      const style = data.styles[norm];
      const own = panel.shares.filter((share) => share.norm === norm);
      return {
        type: "bar", orientation: "h", name: style.label, y: own.map((share) => sources[share.source]), x: own.map((share) => share.deviation),
        marker: { color: style.color, pattern: { shape: style.pattern, bgcolor: style.color, fgcolor: "#ffffff", size: 7, solidity: 0.25 } },
        error_x: { type: "data", symmetric: false, thickness: 1.2, color: "#222",
          array: own.map((share) => (share.high === null ? 0 : share.high - share.deviation)),
          arrayminus: own.map((share) => (share.low === null ? 0 : share.deviation - share.low)) },
        customdata: own.map((share) => (share.share === null ? "–" : Math.round(100 * share.share) + "%")),
        hovertemplate: "%{x:.4g}, %{customdata} of the variance<extra>" + style.label + "</extra>",
      };
    });
  }

  function sweepTraces(panel) {
    return panel.lines.flatMap((line) => {
      const style = data.styles[line.norm];
      const there = line.median.map((_, i) => i).filter((i) => line.median[i] !== null);
      const at = (values) => there.map((i) => values[i]);
      const x = at(panel.positions);
      return [
        { x: x.concat(x.slice().reverse()), y: at(line.high).concat(at(line.low).reverse()), fill: "toself", fillcolor: faded(style.color, 0.14),
          line: { width: 0 }, mode: "lines", hoverinfo: "skip", showlegend: false, legendgroup: line.norm },
        { x, y: at(line.median), name: style.label, legendgroup: line.norm, mode: "lines+markers", line: { color: style.color, dash: dashes[style.dash], width: 2 },
          marker: { symbol: style.marker, color: style.color, size: 8 }, customdata: there.map((i) => [line.low[i], line.high[i], panel.values[i]]),
          hovertemplate: "%{y:.4g} (%{customdata[0]:.3g} to %{customdata[1]:.3g}) at %{customdata[2]}" },
      ];
    });
  }

  let picked = 0;
  const pickers = [];

  function chart(name, draw) {
    const place = document.getElementById("chart-" + name);
    const controls = document.querySelector(`.controls[data-for="${name}"]`);
    const chosen = (kind) => controls?.querySelector(kind);
    const redraw = () => draw(place, picked, chosen);
    place.closest("figure").classList.add("drawn");
    if (controls) controls.hidden = false;
    controls?.addEventListener("change", redraw);
    pickers.push(redraw);
    redraw();
  }

  function options(select, values) {
    const before = select.value;
    select.replaceChildren(...values.map((value) => new Option(value || "all conditions", value)));
    if (values.includes(before)) select.value = before;
  }

  async function unpacked(name) {
    const packed = Uint8Array.from(atob(document.getElementById(name).textContent), (c) => c.charCodeAt(0));
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }

  async function library() {
    const script = document.createElement("script");
    script.textContent = await unpacked("plotly");
    document.head.append(script);
  }

  function sortable(table) {
    const value = (row, column) => {
      const text = row.cells[column].dataset.value ?? row.cells[column].textContent;
      return isNaN(parseFloat(text)) ? text : parseFloat(text);
    };
    table.querySelectorAll("th button").forEach((button, column) => {
      let up = false;
      button.addEventListener("click", () => {
        up = !up;
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const [x, y] = [value(a, column), value(b, column)];
          const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
          return up ? order : -order;
        });
        table.tBodies[0].append(...rows);
      });
    });
  }

  const filter = document.getElementById("filter");
  const applyFilter = () => document.querySelectorAll("tr[data-metric]").forEach((row) => { row.hidden = filter.value !== "" && row.dataset.metric !== filter.value; });
  filter?.addEventListener("change", applyFilter);
  document.querySelectorAll("table.sortable").forEach(sortable);

  const pick = document.getElementById("pick");
  const numbers = new Map([...(pick?.options ?? [])].map((option, number) => [option.value, number]));
  function show(number, parts) {
    picked = number;
    pick.selectedIndex = number;
    document.querySelectorAll("[data-view]").forEach((view) => { view.innerHTML = parts[number][view.dataset.view]; });
    document.querySelectorAll("table.map td").forEach((cell) => cell.classList.toggle("picked", cell.querySelector("a")?.hash === "#" + pick.value));
    document.querySelectorAll("[data-view] table.sortable").forEach(sortable);
    applyFilter();
    pickers.forEach((redraw) => redraw());
  }
  async function pickable() {
    const parts = JSON.parse(await unpacked("conditions"));
    const follow = (behavior) => {
      const number = numbers.get(location.hash.slice(1));
      if (number === undefined) return;
      show(number, parts);
      document.getElementById("condition").scrollIntoView({ behavior });
    };
    pick.addEventListener("change", () => { history.replaceState(null, "", "#" + pick.value); show(pick.selectedIndex, parts); });
    window.addEventListener("hashchange", () => follow("smooth"));
    follow("auto");
  }
  if (pick) await pickable().catch((error) => { console.warn("Only the first condition can be shown here.", error); pick.disabled = true; });

  try {
    await library();
    const settings = { responsive: true, displaylogo: false, displayModeBar: narrow() ? false : "hover" };
    if (data.curves.length) chart("curves", (place, which, chosen) => {
      const traces = curveTraces(data.curves[which], chosen(".what").value);
      const type = chosen(".log").checked ? logarithmic(traces.flatMap((trace) => trace.y)) : { type: "linear" };
      Plotly.react(place, traces, { ...layout(), xaxis: { title: { text: "step" }, automargin: true }, yaxis: { title: { text: "loss" }, automargin: true, ...type } }, settings);
    });
    if (data.noise.length) chart("noise", (place, which) => {
      Plotly.react(place, noiseTraces(data.noise[which]), { ...layout(), hovermode: "closest", barmode: "group", xaxis: { title: { text: "standard deviation of the loss" }, rangemode: "tozero", automargin: true }, yaxis: { autorange: "reversed", automargin: true } }, settings);
    });
    if (data.sweeps.length) chart("sweep", (place, _, chosen) => {
      const [what, field, view, at] = [".what", ".field", ".view", ".at"].map(chosen);
      const unique = (values) => [...new Set(values)];
      options(what, unique(data.sweeps.map((panel) => panel.metric)));
      options(field, unique(data.sweeps.filter((panel) => panel.metric === what.value).map((panel) => panel.field)));
      const either = data.sweeps.filter((panel) => panel.metric === what.value && panel.field === field.value);
      options(view, unique(either.map((panel) => panel.view)));
      chosen(".views").hidden = view.options.length < 2;
      const fitting = either.filter((panel) => panel.view === view.value);
      options(at, fitting.map((panel) => panel.title));
      chosen(".others").hidden = fitting.length < 2;
      const panel = fitting.find((one) => one.title === at.value) ?? fitting[0];
      const traces = sweepTraces(panel);
      Plotly.react(place, traces, { ...layout(), xaxis: { title: { text: [panel.field, panel.after].filter(Boolean).join(", ") }, type: panel.logarithmic ? "log" : "linear", tickmode: "array", tickvals: panel.positions, ticktext: panel.values, automargin: true }, yaxis: { title: { text: panel.metric }, automargin: true, ...(panel.log_metric ? logarithmic(traces.flatMap((trace) => trace.y)) : {}) } }, settings);
    });
  } catch (error) {
    console.warn("The interactive charts cannot be drawn here; the pictures stand in for them.", error);
    document.querySelectorAll("figure.drawn").forEach((figure) => figure.classList.remove("drawn"));
  }
})();
