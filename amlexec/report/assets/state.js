// What is shown: the runs, the columns, the filter, and the runs that were chosen for comparison.

const MOST_CHOSEN = 40;
const STATISTICS = ['last', 'lowest', 'highest'];

const state = {
  rows: [],
  view: 'runs',
  filter: '',
  sort: { column: 'f:started', descending: true },
  shown: null, // ids of columns; null for the default ones
  statistic: 0,
  grouped: true, // whether the runs of a sweep are one group
  open: new Set(), // ids of sweeps whose runs are shown
  chosen: [], // ids of runs
};

const listeners = [];
const listen = (listener) => listeners.push(listener);
const changed = (what) => listeners.forEach((listener) => listener(what));

const rowOf = (id) => state.rows.find((row) => row.id === id);
const chosenRows = () => state.chosen.map(rowOf).filter((row) => row && !row.broken);

function choose(id, wanted) {
  if (wanted && state.chosen.length >= MOST_CHOSEN) {
    announce(`At most ${MOST_CHOSEN} runs can be compared.`);
    return false;
  }
  state.chosen = wanted ? [...state.chosen, id] : state.chosen.filter((other) => other !== id);
  changed('chosen');
  return true;
}

// As many of these as may be compared.
function chooseAll(ids, wanted) {
  const others = state.chosen.filter((id) => !ids.includes(id));
  const all = wanted ? [...others, ...ids] : others;
  state.chosen = all.slice(0, MOST_CHOSEN);
  if (all.length > MOST_CHOSEN) announce(`At most ${MOST_CHOSEN} runs can be compared.`);
  changed('chosen');
}

function accept(data) {
  state.rows = data.runs;
  state.made = data.made;
  forgetOld(state.rows);
  columns = allColumns();
}

function seconds(row) {
  if (row.duration !== null || row.final || !row.started) return row.duration ?? null;
  return Math.max(0, ((isLive ? Date.now() : Date.parse(state.made)) - Date.parse(row.started)) / 1000);
}

// Columns

let columns = new Map();

const FIELDS = [
  ['status', 'Status', (row) => (row.broken ? 'Unreadable' : row.status)],
  ['script', 'Script', (row) => row.script],
  ['target', 'Target', (row) => row.target],
  ['started', 'Started', (row) => row.started ?? row.created],
  ['duration', 'Duration', seconds],
  ['configuration', 'Configuration', (row) => row.configuration],
  ['exit', 'Exit code', (row) => row.exit],
  ['arguments', 'Arguments', (row) => row.arguments?.join(' ')],
  ['user', 'User', (row) => row.user],
  ['host', 'Host', (row) => row.host],
  ['python', 'Python', (row) => row.python],
  ['sweep', 'Sweep', (row) => row.sweep],
  ['point', 'Point', (row) => row.point],
  ['commit', 'Commit', (row) => row.commit?.slice(0, 10)],
];
const USUAL = ['status', 'script', 'target', 'started', 'duration'];
const FORMATS = { started: momentText, duration: durationText };

function allColumns() {
  const found = new Map();
  const add = (id, name, group, get) => found.set(id, { id, name, group, get, key: id.slice(2) });
  for (const [key, name, get] of FIELDS) add(`f:${key}`, name, 'Run', get);
  for (const [group, letter, part] of [['Parameters', 'p', 'parameters'], ['Tags', 't', 'tags']]) {
    for (const name of namesIn(part)) add(`${letter}:${name}`, name, group, (row) => own(row[part], name) ?? null);
  }
  for (const name of namesIn('metrics')) {
    add(`m:${name}`, name, 'Metrics', (row) => {
      const logged = own(row.metrics, name);
      if (!logged) return null;
      return logged[1] === null ? logged[0] : logged[state.statistic];
    });
  }
  return found;
}

const own = (object, name) => (object && Object.hasOwn(object, name) ? object[name] : undefined);

function namesIn(part) {
  const names = new Set();
  for (const row of state.rows) for (const name of Object.keys(row[part] ?? {})) names.add(name);
  return [...names];
}

function differs(column, rows) {
  const first = rows.length ? column.get(rows[0]) : null;
  return rows.some((row) => (column.get(row) ?? null) !== (first ?? null));
}

function shownColumns() {
  if (state.shown) return [...columns.values()].filter((column) => state.shown.has(column.id));
  const whole = state.rows.filter((row) => !row.broken);
  const inGroup = (group) => [...columns.values()].filter((column) => column.group === group);
  const parameters = inGroup('Parameters').filter((column) => differs(column, whole)).slice(0, 5);
  const usual = USUAL.map((key) => columns.get(`f:${key}`));
  return [...usual, ...inGroup('Tags').slice(0, 2), ...parameters, ...inGroup('Metrics').slice(0, 6)];
}

const isNumeric = (values) =>
  values.some((value) => typeof value === 'number') &&
  values.every((value) => ['number', 'undefined'].includes(typeof value) || value === null || isOddNumber(value));
const isOddNumber = (value) => ['NaN', 'Infinity', '-Infinity'].includes(value);

// Filter and sort

const CONDITION = /^([^<>=!]+?)(<=|>=|!=|<|>|=)(.+)$/;

function conditions(text) {
  return text.split(/\s+/).filter(Boolean).map((word) => {
    const found = CONDITION.exec(word);
    const column = found && [...columns.values()].find(({ name, key }) => name === found[1] || key === found[1]);
    return column ? condition(column, found[2], found[3]) : (row) => haystack(row).includes(word.toLowerCase());
  });
}

function condition(column, operator, text) {
  const number = Number(text);
  const compare = {
    '<': (value) => value < number,
    '<=': (value) => value <= number,
    '>': (value) => value > number,
    '>=': (value) => value >= number,
    '=': (value) => value === number || String(value) === text,
    '!=': (value) => value !== number && String(value) !== text,
  }[operator];
  const ordered = operator.startsWith('<') || operator.startsWith('>');
  return (row) => {
    const value = row.broken ? null : column.get(row) ?? null;
    return value !== null && (!ordered || typeof value === 'number') && compare(value);
  };
}

const haystacks = new WeakMap();

function haystack(row) {
  if (!haystacks.has(row)) {
    const pairs = ['parameters', 'tags'].flatMap((part) => Object.entries(row[part] ?? {}).map((pair) => pair.join('=')));
    const parts = [row.id, `#${row.number}`, row.status ?? 'unreadable', row.script, row.target, row.configuration, row.sweep];
    haystacks.set(row, [...parts, ...pairs, ...(row.arguments ?? []), row.user, row.host, row.note].join('\n').toLowerCase());
  }
  return haystacks.get(row);
}

function order(a, b) {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'number') return -1;
  if (typeof b === 'number') return 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

function filteredRows() {
  const all = conditions(state.filter);
  return state.rows.filter((row) => all.every((holds) => holds(row)));
}

function sortedRows() {
  const column = columns.get(state.sort.column);
  const rows = filteredRows();
  if (!column) return rows;
  const sign = state.sort.descending ? -1 : 1;
  const value = new Map(rows.map((row) => [row, (row.broken ? null : column.get(row)) ?? null]));
  const isAbsent = (row) => value.get(row) === null || value.get(row) === '' || value.get(row) === 'NaN';
  return rows.sort((a, b) => {
    // What has no value comes last, whatever the direction.
    if (isAbsent(a) || isAbsent(b)) return isAbsent(a) - isAbsent(b);
    return sign * order(value.get(a), value.get(b));
  });
}

// The rows, with a group in place of the runs of a sweep; where it is open, they follow it.
function grouped(rows) {
  if (!state.grouped) return rows;
  const groups = new Map();
  for (const row of rows) {
    if (!row.sweep) continue;
    if (!groups.has(row.sweep)) groups.set(row.sweep, []);
    groups.get(row.sweep).push(row);
  }
  const found = [];
  for (const row of rows) {
    const members = row.sweep ? groups.get(row.sweep) : null;
    if (!members || members.length < 2) {
      found.push(row);
    } else if (members[0] === row) {
      found.push({ sweep: row.sweep, members });
      if (state.open.has(row.sweep)) found.push(...members);
    }
  }
  return found;
}

// Labels of chosen runs: their number, and the parameters in which they differ.
function labels(rows) {
  const parameters = [...columns.values()].filter(({ group }) => group === 'Parameters');
  const different = parameters.filter((column) => differs(column, rows)).slice(0, 3);
  return new Map(
    rows.map((row) => {
      const parts = different.filter((column) => column.get(row) !== null);
      const words = parts.map((column) => `${column.name}=${cellText(column.get(row))}`);
      return [row.id, [`#${row.number}`, ...words].join(' ')];
    }),
  );
}
