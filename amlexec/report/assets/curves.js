// Curves of the chosen runs, a chart for each metric.

const MOST_CHARTS = 60;
const charts = { weight: 0.6, logarithmic: false, axis: 'step', names: '', most: MOST_CHARTS, drawn: [] };
const AXES = [['step', 'step'], ['relative', 'time since start'], ['time', 'time of day']];

let watcher = null;

async function drawCurves() {
  const panel = byId('panel-curves');
  for (const plot of charts.drawn) plot.destroy();
  charts.drawn = [];
  watcher?.disconnect();
  const rows = chosenRows();
  if (!rows.length) {
    fill(panel, empty('No run is chosen', 'Tick runs in the table to see their curves.'));
    return;
  }
  if (!panel.querySelector('.grid')) {
    fill(panel, curveControls(), el('div', { className: 'chosen-place' }), el('div', { className: 'grid' }));
  }
  fill(panel.querySelector('.chosen-place'), chosenBar());
  const grid = panel.querySelector('.grid');
  let all;
  try {
    all = await Promise.all(rows.map((row) => source.curves(row)));
  } catch (error) {
    fill(grid, empty('The curves could not be read', error.message));
    return;
  }
  if (state.view !== 'curves' || chosenRows().map(({ id }) => id).join() !== rows.map(({ id }) => id).join()) return;
  drawCards(grid, rows, all);
}

function curveControls() {
  const again = (change) => (value) => {
    change(value);
    drawCurves();
  };
  const names = el('input', {
    type: 'search', placeholder: 'Filter metrics', 'aria-label': 'Filter the metrics', spellcheck: false,
    oninput: () => again(() => { charts.names = names.value; })(),
  });
  const range = el('input', {
    type: 'range', min: '0', max: '0.99', step: '0.01', value: String(charts.weight),
    oninput: () => {
      fill(shown, Number(range.value).toFixed(2));
      again(() => { charts.weight = Number(range.value); })();
    },
  });
  const shown = el('output', { className: 'amount' }, charts.weight.toFixed(2));
  return el(
    'div',
    { className: 'controls' },
    names,
    el('span', { className: 'space' }),
    el('label', { className: 'field' }, el('span', {}, 'Smoothing'), range, shown),
    chooser('Horizontal', AXES, charts.axis, again((value) => { charts.axis = value; })),
    checkbox('Logarithmic', charts.logarithmic, again((value) => { charts.logarithmic = value; })),
  );
}

function drawCards(grid, rows, all) {
  const names = new Set();
  for (const curves of all) for (const name of curves.keys()) names.add(name);
  const wanted = [...names].filter((name) => name.toLowerCase().includes(charts.names.toLowerCase()));
  if (!wanted.length) {
    const text = names.size ? 'Change the filter of metrics.' : 'These runs have logged no numbers.';
    fill(grid, empty(names.size ? 'No metric matches' : 'No metrics', text));
    return;
  }
  // A chart is drawn when it comes into view: a run may have thousands of metrics.
  watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        watcher.unobserve(entry.target);
        entry.target.draw();
      }
    }
  }, { rootMargin: '300px' });
  const cards = wanted.slice(0, charts.most).map((name) => card(name, rows, all));
  const more = wanted.length - cards.length;
  fill(grid, cards, more > 0 ? el('button', { type: 'button', className: 'more', onclick: () => {
    charts.most += MOST_CHARTS;
    drawCurves();
  } }, `Show ${plural(more, 'more metric')}`) : null);
  for (const each of cards) watcher.observe(each);
}

function card(name, rows, all) {
  const names = labels(rows);
  const lines = rows
    .map((row, at) => ({ row, at, label: names.get(row.id), make: all[at].get(name) }))
    .filter(({ make }) => make);
  const place = el('div', { className: 'plot' });
  const legend = el('ul', { className: 'legend' });
  const figure = el('figure', { className: 'card', 'aria-label': `${name} of ${plural(lines.length, 'run')}` },
    el('figcaption', {}, name), place, legend);
  figure.draw = () => drawPlot(name, lines.map((line) => ({ ...line, curve: line.make() })), place, legend);
  return figure;
}

function horizontal({ curve, row }) {
  if (charts.axis === 'step') return curve.x;
  if (charts.axis === 'time') return curve.t;
  const began = row.started ? Date.parse(row.started) / 1000 : curve.t[0];
  return curve.t.map((time) => time - began);
}

// uPlot wants rising places. A step that comes again, as after a resume, keeps its last value.
function risingPairs(x, y) {
  const order = x.map((_, at) => at).sort((a, b) => x[a] - x[b] || a - b);
  const kept = order.filter((at, place) => place === order.length - 1 || x[order[place + 1]] !== x[at]);
  return [kept.map((at) => x[at]), kept.map((at) => y[at])];
}

function drawPlot(name, lines, place, legend) {
  const usable = (value) => Number.isFinite(value) && (!charts.logarithmic || value > 0);
  const pairs = lines.map((line) =>
    risingPairs(horizontal(line), line.curve.y.map((value) => (usable(value) ? value : null))));
  const hasValues = pairs.some(([, y]) => y.some((value) => value !== null));
  if (!hasValues) {
    const isLog = charts.logarithmic && lines.some(({ curve }) => curve.y.some(Number.isFinite));
    fill(place, el('p', { className: 'no-values' }, isLog ? 'no positive values for a logarithmic axis' : 'no finite values'));
    drawLegend(legend, name, lines, null);
    return;
  }
  const raw = uPlot.join(pairs);
  const even = uPlot.join(pairs.map(([x, y]) => [x, smoothed(y, charts.weight)]));
  const single = raw[0].length < 2;
  const data = charts.weight ? [raw[0], ...raw.slice(1), ...even.slice(1)] : raw;
  const series = (alpha, width) => lines.map(({ at, label }) => ({
    label, stroke: colour(at), alpha, width, dash: dash(at), spanGaps: false,
    points: { show: single || undefined, size: single ? 6 : 4 },
  }));
  const options = {
    ...plotOptions(name, place),
    series: [{}, ...(charts.weight ? [...series(0.25, 1), ...series(1, 1.75)] : series(1, 1.5))],
    hooks: { setCursor: [(plot) => drawLegend(legend, name, lines, plot)] },
  };
  fill(place);
  const plot = new uPlot(options, data, place);
  charts.drawn.push(plot);
  drawLegend(legend, name, lines, plot);
  keys(plot, place, name);
}

function plotOptions(name, place) {
  const [ink, grid] = [themed('--quiet'), themed('--line')];
  const axis = { stroke: ink, font: '11px system-ui, sans-serif', ticks: { stroke: grid, width: 1, size: 4 }, grid: { stroke: grid, width: 1 } };
  const number = (_, splits) => splits.map((value) => (value === null ? '' : shortNumber(Number(value.toPrecision(6)), 4)));
  const isTime = charts.axis === 'time';
  return {
    width: Math.max(200, place.clientWidth),
    height: 210,
    legend: { show: false },
    cursor: { drag: { x: true, y: false }, focus: { prox: 24 }, points: { size: 6 } },
    scales: { x: { time: isTime }, y: { distr: charts.logarithmic ? 3 : 1 } },
    axes: [
      { ...axis, space: 60, size: 30, values: isTime ? undefined : charts.axis === 'step' ? number : (_, splits) => splits.map(clockText) },
      { ...axis, size: 56, values: number },
    ],
    focus: { alpha: 0.35 },
    padding: [8, 10, 0, 0],
  };
}

function clockText(value) {
  return Math.abs(value) < 60 ? `${shortNumber(value, 3)} s` : value < 3600 ? `${shortNumber(value / 60, 3)} min` : `${shortNumber(value / 3600, 3)} h`;
}

// The values under the cursor, else the last ones.
function drawLegend(legend, name, lines, plot) {
  const at = plot?.cursor.idx ?? null;
  const own = plot?.data.slice(1, 1 + lines.length);
  const values = lines.map(({ row, curve }, number) => {
    if (at === null) return row.metrics[name]?.[0] ?? curve.y[curve.y.length - 1];
    return own[number][at] ?? nearest(own[number], at);
  });
  const format = columnFormat(values);
  const shown = lines.slice(0, 8).map((line, number) =>
    el('li', {}, swatch(line.at), el('span', { className: 'name' }, line.label),
      el('span', { className: 'value' }, cellText(values[number], format))));
  const where = at === null ? 'last' : charts.axis === 'step' ? `step ${shortNumber(plot.data[0][at])}`
    : charts.axis === 'time' ? momentText(new Date(1000 * plot.data[0][at]).toISOString()) : clockText(plot.data[0][at]);
  fill(legend, el('li', { className: 'where' }, where, lines.length > 8 ? ` (8 of ${lines.length} runs)` : ''), shown);
}

function nearest(values, at) {
  for (let away = 1; away < 40; away += 1) {
    for (const place of [at - away, at + away]) if (Number.isFinite(values[place])) return values[place];
  }
  return null;
}

// Arrow keys move the cursor through the points.
function keys(plot, place, name) {
  place.tabIndex = 0;
  place.setAttribute('role', 'application');
  place.setAttribute('aria-label', oneLine(`Chart of ${name}: left and right arrow keys read the values`));
  place.onkeydown = (event) => {
    const size = plot.data[0].length;
    const now = plot.cursor.idx ?? -1;
    const next = { ArrowRight: now + 1, ArrowLeft: now < 0 ? size - 1 : now - 1, Home: 0, End: size - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const at = Math.max(0, Math.min(size - 1, next));
    plot.setCursor({ left: plot.valToPos(plot.data[0][at], 'x'), top: plot.over.clientHeight / 2 });
    announce(place.nextSibling.innerText);
  };
}

function resizePlots() {
  for (const plot of charts.drawn) {
    const width = plot.root.parentNode?.clientWidth;
    if (width && width !== plot.width) plot.setSize({ width, height: plot.height });
  }
}
