// Colours, axes and smoothing.

const dark = matchMedia('(prefers-color-scheme: dark)');

// Told apart by people who see few colours, too: dark and light ones alternate, and dashes follow.
const COLOURS = {
  light: ['#2f6fde', '#d9480f', '#0b8a5f', '#9c36b5', '#b7791f', '#0c8599', '#c2255c', '#5c5f66', '#5f3dc4', '#66800b'],
  dark: ['#74a9ff', '#ff9a5c', '#4fd1a1', '#d695f0', '#f2c14e', '#56d0e0', '#ff85ab', '#adb5bd', '#a894ff', '#b9cf4f'],
};
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
const SCALE = {
  light: ['#3b4cc0', '#5a8bd6', '#62a58f', '#c9922c', '#c2402a'],
  dark: ['#7f8cff', '#6fb3f2', '#7fd6b4', '#f0c35a', '#ff8266'],
};

const theme = () => (dark.matches ? 'dark' : 'light');

function colour(at) {
  const all = COLOURS[theme()];
  return all[at % all.length];
}

const dash = (at) => DASHES[Math.floor(at / COLOURS.light.length) % DASHES.length];

const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A colour for a part between 0 and 1.
function scaleColour(part) {
  const stops = SCALE[theme()];
  const place = Math.max(0, Math.min(1, part)) * (stops.length - 1);
  const at = Math.min(stops.length - 2, Math.floor(place));
  const channel = (text, number) => parseInt(text.slice(1 + 2 * number, 3 + 2 * number), 16);
  const mixed = [0, 1, 2].map((number) => {
    const [from, to] = [channel(stops[at], number), channel(stops[at + 1], number)];
    return Math.round(from + (to - from) * (place - at));
  });
  return `rgb(${mixed.join(' ')})`;
}

// An exponential moving average without the pull to zero at its begin. A gap stays a gap.
function smoothed(values, weight) {
  if (!weight) return values;
  let mean = 0;
  let mass = 0;
  return values.map((value) => {
    if (value === null || !Number.isFinite(value)) return null;
    mean = weight * mean + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return mean / mass;
  });
}

// A scale from values of a column to pixels: linear, logarithmic, or places of texts.
function scaleOf(values, from, to, logarithmic) {
  const present = values.filter((value) => value !== null && value !== undefined && !isOddNumber(value));
  if (!isNumeric(present)) return namesScale(present, from, to);
  const numbers = logarithmic ? present.filter((value) => value > 0) : present;
  if (!numbers.length) return null;
  const lowest = numbers.reduce((a, b) => Math.min(a, b));
  const highest = numbers.reduce((a, b) => Math.max(a, b));
  const bend = logarithmic ? Math.log10 : (value) => value;
  const [low, high] = lowest === highest ? around(lowest, logarithmic) : [lowest, highest];
  const part = (value) => (bend(value) - bend(low)) / (bend(high) - bend(low));
  return {
    isNumeric: true,
    low,
    high,
    part: (value) => (typeof value === 'number' && (!logarithmic || value > 0) ? part(value) : null),
    at: (value) => (typeof value === 'number' && (!logarithmic || value > 0) ? from + (to - from) * part(value) : null),
    ticks: logarithmic ? logTicks(low, high) : ticks(low, high, Math.max(3, Math.abs(to - from) / (to > from ? 90 : 45))),
  };
}

// Whether a logarithmic axis shows values better: positive ones over more than two powers of ten.
function isWide(values) {
  const numbers = values.filter((value) => typeof value === 'number');
  return isNumeric(values) && numbers.every((value) => value > 0) && Math.max(...numbers) > 100 * Math.min(...numbers);
}

const around = (value, logarithmic) =>
  logarithmic ? [value / 2, value * 2] : [value - (Math.abs(value) / 2 || 1), value + (Math.abs(value) / 2 || 1)];

function namesScale(values, from, to) {
  const names = [...new Set(values.map(String))].sort();
  if (!names.length) return null;
  const part = (value) => (names.length === 1 ? 0.5 : names.indexOf(String(value)) / (names.length - 1));
  const isAbsent = (value) => value === null || value === undefined || !names.includes(String(value));
  return {
    isNumeric: false,
    part: (value) => (isAbsent(value) ? null : part(value)),
    at: (value) => (isAbsent(value) ? null : from + (to - from) * part(value)),
    ticks: names.length <= 12 ? names : [names[0], names[names.length - 1]],
  };
}

function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  const found = [];
  const first = Math.ceil(low / step - 1e-9);
  for (let at = first; at * step <= high + step * 1e-9 && found.length < 50; at += 1) found.push(at * step);
  return found;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high * 1.0000001; power += 1) {
    if (10 ** power >= low * 0.9999999) found.push(10 ** power);
  }
  if (found.length < 2) return [low, high];
  const every = Math.ceil(found.length / 8);
  return found.filter((_, at) => at % every === 0);
}

const tickText = (value) => (typeof value === 'number' ? shortNumber(Number(value.toPrecision(6)), 3) : cut(value, 16));

function cut(text, most) {
  const line = oneLine(text);
  return line.length <= most ? line : `${line.slice(0, most / 2)}\u2026${line.slice(1 - most / 2)}`;
}

// A labelled select; its options are [value, text], and the values are numbers of places in a list.
function chooser(label, options, chosen, onchange) {
  const select = el('select', { onchange: () => onchange(options[select.selectedIndex][0]) });
  for (const [value, text] of options) select.append(el('option', { selected: value === chosen }, text));
  return el('label', { className: 'field' }, el('span', {}, label), select);
}

function checkbox(label, checked, onchange) {
  const input = el('input', { type: 'checkbox', checked, onchange: () => onchange(input.checked) });
  return el('label', { className: 'check' }, input, el('span', {}, label));
}

function empty(title, text) {
  return el('div', { className: 'empty' }, el('p', { className: 'empty-title' }, title), text ? el('p', {}, text) : null);
}

// The chosen runs as a row of removable marks.
function chosenBar() {
  const rows = chosenRows();
  const names = labels(rows);
  return el(
    'div',
    { className: 'chosen', role: 'group', 'aria-label': 'Chosen runs' },
    rows.map((row, at) => {
      const name = names.get(row.id);
      const open = el('button', { className: 'link', type: 'button', title: row.id, onclick: () => openRun(row.id) }, name);
      const remove = el('button', {
        className: 'remove', type: 'button', 'aria-label': `Remove ${name}`, onclick: () => choose(row.id, false),
      }, '\u00d7');
      return el('span', { className: 'mark' }, swatch(at), open, remove);
    }),
    rows.length > 1
      ? el('button', { className: 'link quiet', type: 'button', onclick: () => { state.chosen = []; changed('chosen'); } }, 'clear')
      : null,
  );
}

function swatch(at) {
  const line = svg('svg', { class: 'swatch', width: 18, height: 10, viewBox: '0 0 18 10', 'aria-hidden': 'true' });
  const attributes = { x1: 0, y1: 5, x2: 18, y2: 5, stroke: colour(at), 'stroke-width': 3 };
  line.append(svg('line', { ...attributes, 'stroke-dasharray': dash(at).join(' ') || 'none' }));
  return line;
}
