// One run: a sheet over the page.

let openId = null;
let openRevision = null; // of a live server: what the open run had when it was shown

async function openRun(id) {
  const row = rowOf(id);
  if (!row) return;
  [openId, openRevision] = [id, row.revision];
  const sheet = byId('sheet');
  const body = el('div', { className: 'sheet-body' }, el('p', { className: 'quiet' }, 'reading \u2026'));
  fill(sheet, sheetHead(row), body);
  if (!sheet.open) sheet.showModal();
  sheet.scrollTop = 0;
  if (row.broken) {
    fill(body, empty('This record can\u2019t be read', row.broken));
    return;
  }
  try {
    const details = await source.details(row);
    if (openId === id) fill(body, sheetParts(row, details ?? { logs: [], files: [], more: 0, unread: [], missing: [], problems: [] }));
  } catch (error) {
    if (openId === id) fill(body, empty('The run could not be read', error.message));
  }
}

function sheetHead(row) {
  const close = el('button', { type: 'button', className: 'close', 'aria-label': 'Close', onclick: () => byId('sheet').close() }, '\u00d7');
  const title = el('h2', { id: 'sheet-title' }, el('span', { className: 'quiet' }, `#${row.number} `), row.id);
  return el('div', { className: 'sheet-head' }, title, close);
}

function sheetParts(row, details) {
  const chosen = state.chosen.includes(row.id);
  const problems = [...row.problems, ...details.unread, ...details.missing, ...details.problems].filter(Boolean);
  return [
    el('p', { className: 'sheet-state' }, status(row.status), row.reason ? ` ${row.reason}` : '', ' ',
      checkbox('chosen', chosen, (wanted) => choose(row.id, wanted))),
    problems.length ? el('ul', { className: 'problems' }, problems.map((problem) => el('li', {}, problem))) : null,
    pairs('Run', [
      ['Command', (details.argv ?? [row.script, ...row.arguments]).join(' ')],
      ['Configuration', row.configuration], ['Target', `${row.target} (${row.kind})`],
      ['Started', momentText(row.started)], ['Duration', durationText(seconds(row))], ['Exit code', row.exit],
      ['User', `${row.user} on ${row.host}`], ['Commit', row.commit && `${row.commit}${row.dirty ? ', with changes' : ''}`],
      ['Sweep', row.sweep && `${row.sweep}, point ${row.point}`], ['Snapshot', row.snapshot],
    ]),
    row.note ? part('Note', el('p', { className: 'note' }, row.note)) : null,
    pairs('Tags', Object.entries(row.tags)),
    pairs('Parameters', Object.entries(row.parameters)),
    metricsTable(row),
    (details.tables ?? []).map((table) => part(table.path, preview(table))),
    details.logs.map(log),
    outputs(details),
    pairs('Environment', [['Python', row.python], ['Interpreter', details.interpreter], ['Platform', row.platform],
      ['Environment', row.environment], ['Image', row.image], ...Object.entries(row.variables ?? {})]),
  ];
}

function part(title, ...children) {
  return el('section', {}, el('h3', {}, title), children);
}

function pairs(title, all) {
  const shown = all.filter(([, value]) => value !== null && value !== undefined && value !== '');
  if (!shown.length) return null;
  return part(title, el('dl', {}, shown.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, cellText(value))])));
}

function metricsTable(row) {
  const names = Object.keys(row.metrics);
  if (!names.length) return part('Metrics', el('p', { className: 'quiet' }, 'This run has logged no metrics.'));
  const head = ['Name', 'Last', 'Lowest', 'Highest', 'Values'].map((text, at) => el('th', { scope: 'col', className: at ? 'number' : '' }, text));
  const body = names.slice(0, 500).map((name) => {
    const [last, lowest, highest, count] = row.metrics[name];
    return el('tr', {}, el('th', { scope: 'row' }, name), [last, lowest, highest, count].map((value) => el('td', { className: 'number' }, cut(cellText(value), 60))));
  });
  const more = names.length > body.length ? el('p', { className: 'quiet' }, `and ${plural(names.length - body.length, 'more metric')}`) : null;
  return part('Metrics', el('div', { className: 'scroll' }, el('table', {}, el('thead', {}, el('tr', {}, head)), el('tbody', {}, body))), more);
}

function log({ name, size, text, cut: isCut, error }) {
  if (error) return part(name, el('p', { className: 'quiet' }, error));
  if (!size) return null;
  const note = isCut ? `the end of ${bytesText(size)}` : bytesText(size);
  return part(name, el('p', { className: 'quiet' }, note), el('pre', { className: 'log', tabIndex: 0, 'aria-label': name }, text));
}

function outputs({ files: all, more }) {
  if (!all.length) return null;
  const shown = all.map((file) => {
    const box = el('details', { className: 'file', open: Boolean(file.image) },
      el('summary', {}, file.path, ' ', el('span', { className: 'quiet' }, bytesText(file.size))), preview(file));
    return box;
  });
  return part('Outputs', shown, more ? el('p', { className: 'quiet' }, `and ${plural(more, 'more file')}`) : null);
}

function preview(file) {
  if (file.image) return el('img', { src: file.image, alt: file.path, loading: 'lazy', decoding: 'async' });
  if (file.table) {
    const [head, ...rows] = file.table;
    const note = rows.length < file.rows ? `${rows.length} of ${plural(file.rows, 'row')}` : plural(file.rows, 'row');
    const table = el('table', {}, el('thead', {}, el('tr', {}, (head ?? []).map((cell) => el('th', { scope: 'col' }, cell)))),
      el('tbody', {}, rows.map((cells) => el('tr', {}, cells.map((cell) => el('td', { className: cell !== '' && Number.isFinite(Number(cell)) ? 'number' : '' }, oneLine(cell)))))));
    return [el('p', { className: 'quiet' }, note), el('div', { className: 'scroll', tabIndex: 0 }, table)];
  }
  if (file.text !== undefined) {
    return [file.cut ? el('p', { className: 'quiet' }, 'the beginning') : null, el('pre', { className: 'log', tabIndex: 0 }, file.text || '(empty)')];
  }
  return el('p', { className: 'quiet' }, file.why ?? 'no preview');
}
