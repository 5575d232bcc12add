// The table of runs.

const FIRST_ROWS = 120;
let drawing = 0; // the number of the latest drawing; earlier ones stop

function drawRuns() {
  const panel = byId('panel-runs');
  if (!state.rows.length) {
    fill(panel, empty('There are no runs yet', 'amlexec experiment submit -c local train.py makes one.'));
    return;
  }
  if (!panel.querySelector('table')) {
    fill(panel, runControls(), el('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Table of runs' },
      el('table', { className: 'runs' }, el('thead'), el('tbody'))), el('div', { id: 'no-match' }));
  }
  drawTable();
}

function runControls() {
  const filter = el('input', {
    type: 'search',
    id: 'filter',
    placeholder: 'Filter: words, or lr<0.1',
    'aria-label': 'Filter the runs',
    'aria-describedby': 'filter-help',
    spellcheck: false,
    autocomplete: 'off',
    oninput: () => {
      state.filter = filter.value;
      changed('filter');
    },
  });
  const statistic = chooser('Metrics', [[0, 'last value'], [1, 'lowest'], [2, 'highest']], state.statistic, (value) => {
    state.statistic = value;
    changed('statistic');
  });
  return el(
    'div',
    { className: 'controls' },
    filter,
    el('span', { id: 'filter-help', className: 'unseen' },
      'Every word must occur in a run. Conditions such as lr<0.1, loss>=2 or status=Failed compare a column.'),
    el('span', { id: 'count', className: 'count', role: 'status' }),
    el('span', { className: 'space' }),
    el('span', { id: 'grouping' }, checkbox('Sweeps as groups', state.grouped, (wanted) => {
      state.grouped = wanted;
      changed('grouped');
    })),
    statistic,
    columnPicker(),
  );
}

function columnPicker() {
  const box = el('div', { className: 'menu' });
  const details = el('details', {
    className: 'picker',
    ontoggle: () => { if (details.open) fillPicker(box); },
    onkeydown: (event) => {
      if (event.key === 'Escape' && details.open) {
        details.open = false;
        details.querySelector('summary').focus();
      }
    },
  }, el('summary', {}, 'Columns'), box);
  document.addEventListener('pointerdown', (event) => {
    if (details.open && !details.contains(event.target)) details.open = false;
  });
  return details;
}

function fillPicker(box) {
  const shown = new Set(shownColumns().map(({ id }) => id));
  const groups = new Map();
  for (const column of columns.values()) {
    if (!groups.has(column.group)) groups.set(column.group, []);
    groups.get(column.group).push(column);
  }
  const toggle = (column, wanted) => {
    if (wanted) shown.add(column.id);
    else shown.delete(column.id);
    state.shown = new Set(shown);
    changed('columns');
  };
  fill(
    box,
    [...groups].map(([group, members]) =>
      el('fieldset', {}, el('legend', {}, group),
        members.slice(0, 200).map((column) => checkbox(column.name, shown.has(column.id), (wanted) => toggle(column, wanted))))),
    el('button', { type: 'button', className: 'link', onclick: () => {
      state.shown = null;
      changed('columns');
      fillPicker(box);
    } }, 'Usual columns'),
  );
}

function drawTable() {
  const number = (drawing += 1);
  const table = byId('panel-runs').querySelector('table');
  const focused = document.activeElement?.dataset?.key;
  const shown = shownColumns();
  const rows = sortedRows();
  const entries = grouped(rows);
  byId('grouping').hidden = !state.rows.some((row) => row.sweep);
  const whole = state.rows.filter((row) => !row.broken);
  const kinds = shown.map((column) => {
    const values = whole.map(column.get);
    const numeric = isNumeric(values);
    const make = { Metrics: columnFormat, Parameters: settingFormat }[column.group];
    const text = column.group === 'Run' ? FORMATS[column.key] : null;
    const format = numeric && make ? make(values) : null;
    return { column, numeric: numeric || column.key === 'duration', text: text ?? ((value) => cellText(value, format)) };
  });
  fill(table.tHead, headRow(kinds));
  const body = table.tBodies[0];
  const draw = (entry) => (entry.members ? sweepRow(entry, kinds) : runRow(entry, kinds));
  fill(body, entries.slice(0, FIRST_ROWS).map(draw));
  const later = (at) => {
    if (number !== drawing || at >= entries.length) return;
    append(body, entries.slice(at, at + 200).map(draw));
    requestAnimationFrame(() => later(at + 200));
  };
  requestAnimationFrame(() => later(FIRST_ROWS));
  const count = state.rows.length === rows.length
    ? plural(rows.length, 'run') : `${rows.length.toLocaleString('en')} of ${plural(state.rows.length, 'run')}`;
  fill(byId('count'), count);
  fill(byId('no-match'), rows.length ? null : empty('No run matches', 'Every word of the filter must occur in a run.'));
  if (focused) table.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function headRow(kinds) {
  const choice = el('th', { className: 'choice', scope: 'col' }, el('span', { className: 'unseen' }, 'Chosen'));
  return el('tr', {}, choice, head('f:id', 'Run', 'Run', false), kinds.map(({ column, numeric }) =>
    head(column.id, column.name, column.group, numeric)));
}

function head(id, name, group, numeric) {
  const isSorted = state.sort.column === id;
  const sort = isSorted ? (state.sort.descending ? 'descending' : 'ascending') : 'none';
  const mark = isSorted ? (state.sort.descending ? ' \u2193' : ' \u2191') : '';
  const button = el('button', {
    type: 'button',
    'data-key': `sort ${id}`,
    title: `${group}: ${name}`,
    onclick: () => {
      // Times, results and durations are first wanted from the largest.
      const descending = isSorted ? !state.sort.descending : numeric || id === 'f:started';
      state.sort = { column: id, descending };
      changed('sort');
      announce(`Sorted by ${name}, ${descending ? 'descending' : 'ascending'}`);
    },
  }, cut(name, 32), el('span', { className: 'arrow', 'aria-hidden': 'true' }, mark));
  return el('th', { scope: 'col', className: numeric ? 'number' : '', 'aria-sort': sort }, button);
}

function runRow(row, kinds) {
  const at = state.chosen.indexOf(row.id);
  const open = el('button', { type: 'button', className: 'link run', 'data-key': `open ${row.id}`, onclick: () => openRun(row.id) },
    el('span', { className: 'run-number' }, `#${row.number}`), el('span', { className: 'run-id' }, row.id));
  if (row.broken) {
    return el('tr', { className: 'broken' }, el('td'), el('th', { scope: 'row' }, open),
      el('td', { colSpan: kinds.length || 1 }, status('Unreadable'), ` ${oneLine(row.broken)}`));
  }
  const box = el('input', {
    type: 'checkbox',
    checked: at >= 0,
    'data-key': `choose ${row.id}`,
    'aria-label': `Choose ${row.id}`,
    onchange: () => { if (!choose(row.id, box.checked)) box.checked = !box.checked; },
  });
  return el('tr', { className: at >= 0 ? 'is-chosen' : '' },
    el('td', { className: 'choice' }, box),
    el('th', { scope: 'row' }, open),
    kinds.map((kind) => runCell(row, kind)));
}

// What the runs of a sweep have in common, and the ranges of their numbers.
function sweepRow({ sweep, members }, kinds) {
  const isOpen = state.open.has(sweep);
  const opener = el('button', {
    type: 'button', className: 'link', 'data-key': `sweep ${sweep}`, 'aria-expanded': String(isOpen), onclick: () => {
      if (isOpen) state.open.delete(sweep);
      else state.open.add(sweep);
      changed('open');
      announce(`${sweep}: ${plural(members.length, 'run')} ${isOpen ? 'hidden' : 'shown'}`);
    },
  }, el('span', { className: 'twist', 'aria-hidden': 'true' }, isOpen ? '\u25be' : '\u25b8'), cut(sweep, 32));
  const box = el('input', {
    type: 'checkbox', 'data-key': `choose-all ${sweep}`, 'aria-label': `Choose the runs of ${sweep}`,
    onchange: () => chooseAll(members.map(({ id }) => id), box.checked),
  });
  markGroup(box, members);
  box.members = members;
  return el('tr', { className: 'sweep' },
    el('td', { className: 'choice' }, box),
    el('th', { scope: 'row' }, opener, el('span', { className: 'quiet' }, ` ${plural(members.length, 'run')}`)),
    kinds.map((kind) => el('td', { className: kind.numeric ? 'number' : '' }, sweepText(members, kind))));
}

function markGroup(box, members) {
  const chosen = members.filter(({ id }) => state.chosen.includes(id)).length;
  box.checked = chosen === members.length;
  box.indeterminate = chosen > 0 && !box.checked;
}

function sweepText(members, { column, numeric, text }) {
  if (column.id === 'f:status') {
    const counts = new Map();
    for (const { status: name } of members) counts.set(name, (counts.get(name) ?? 0) + 1);
    return [...counts].map(([name, count], at) => [at ? ', ' : '', status(name, name, `${count} ${name}`)]);
  }
  const values = members.map((row) => column.get(row) ?? null);
  const present = values.filter((value) => value !== null && value !== '');
  if (!present.length) return '';
  if (column.id === 'f:started') return text([...present].sort()[0]);
  if (values.every((value) => value === values[0])) return cut(text(values[0]), 48);
  const numbers = present.filter((value) => typeof value === 'number');
  if (!numeric || !numbers.length) return '';
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  return least === most ? text(least) : `${text(least)} \u2026 ${text(most)}`;
}

function runCell(row, { column, numeric, text: textOf }) {
  if (column.id === 'f:status') return el('td', {}, status(row.status, row.reason));
  const value = column.get(row) ?? null;
  const text = value === null ? '' : textOf(value);
  const long = text.length > 48;
  return el('td', { className: numeric ? 'number' : '', title: long ? text : '' }, long ? cut(text, 48) : text);
}

function status(name, reason, text = name) {
  return el('span', { className: `status status-${name.toLowerCase()}`, title: reason || name }, text);
}
