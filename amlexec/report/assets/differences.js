// How the chosen runs differ: settings, environments, code.

const differences = { all: false, other: 1 };

async function drawDifferences() {
  const panel = byId('panel-differences');
  const rows = chosenRows();
  if (rows.length < 2) {
    fill(panel, rows.length ? chosenBar() : null, empty('Choose two runs or more', 'Tick runs in the table to see how they differ.'));
    return;
  }
  const values = el('section', { className: 'card wide', 'aria-label': 'Values' });
  const code = el('section', { className: 'card wide', 'aria-label': 'Code' });
  fill(panel, chosenBar(), values, code);
  drawCode(code, rows);
  let packages = rows.map(() => null);
  try {
    packages = await Promise.all(rows.map((row) => (row.packages ? source.packages(row) : null)));
  } catch {
    // Then they count as unknown.
  }
  drawValues(values, rows, packages);
}

// Where packages are not known, nothing can differ: such a run has null.
function packageLines(rows, packages) {
  const names = [...new Set(packages.flatMap((each) => Object.keys(each ?? {})))].sort();
  return names.map((name) => {
    const found = packages.map((each) => each && (own(each, name) ?? ['absent', '']));
    const known = found.filter(Boolean);
    const sameVersions = known.every(([version]) => version === known[0][0]);
    const equal = sameVersions && known.every(([, build]) => build === known[0][1]);
    const values = found.map((each) => each && (sameVersions && !equal ? each.join(' ') : each[0]));
    return { group: 'Packages', name, values, equal };
  });
}

// What is compared, in this order: [group, name, value of a run].
function compared(rows) {
  const found = [];
  // Named arguments have rows of their own, and a commit has one with its code.
  const left = ['started', 'commit', ...(rows.some((row) => Object.keys(row.parameters).length) ? ['arguments'] : [])];
  for (const [key, name, get] of FIELDS) if (!left.includes(key)) found.push(['Run', name, get]);
  for (const [group, part] of [['Parameters', 'parameters'], ['Variables', 'variables'], ['Tags', 'tags']]) {
    const names = new Set(rows.flatMap((row) => Object.keys(row[part] ?? {})));
    for (const name of names) found.push([group, name, (row) => own(row[part], name) ?? null]);
  }
  const facts = [['Environment', 'environment'], ['Image', 'image'], ['Platform', 'platform'], ['Interpreter', 'python']];
  for (const [name, key] of facts) found.push(['Environment', name, (row) => row[key]]);
  found.push(['Code', 'Snapshot', (row) => row.snapshot], ['Code', 'Commit', (row) => row.commit && `${row.commit}${row.dirty ? ', changed' : ''}`]);
  for (const column of columns.values()) if (column.group === 'Metrics') found.push(['Metrics', column.name, column.get]);
  return found;
}

function drawValues(place, rows, packages) {
  const values = compared(rows)
    .map(([group, name, get]) => ({ group, name, values: rows.map((row) => get(row) ?? null) }))
    .filter((line) => line.values.some((value) => value !== null && value !== ''));
  for (const line of values) line.equal = line.values.every((value) => value === line.values[0]);
  const lines = [...values, ...packageLines(rows, packages)];
  const shown = lines.filter((line) => differences.all || !line.equal);
  const head = el('tr', {}, el('th', { scope: 'col' }, 'Key'), rows.map((row, at) => el('th', { scope: 'col' }, swatch(at), ` #${row.number}`)));
  let group = '';
  const body = shown.flatMap((line) => {
    const title = line.group === group ? [] : [el('tr', { className: 'group' }, el('th', { colSpan: rows.length + 1, scope: 'colgroup' }, line.group))];
    group = line.group;
    return [...title, valueRow(line)];
  });
  const equal = lines.filter((line) => line.equal).length;
  fill(place,
    el('div', { className: 'card-head' }, el('h2', {}, 'Values'), checkbox(`also the ${equal} that are equal`, differences.all, (value) => {
      differences.all = value;
      drawValues(place, rows, packages);
    })),
    body.length
      ? el('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Table of differences' },
        el('table', { className: 'values' }, el('thead', {}, head), el('tbody', {}, body)))
      : empty('No difference', 'Parameters, environment and results are equal.'));
}

function valueRow({ name, values, equal }) {
  const format = isNumeric(values) ? settingFormat(values) : null;
  return el('tr', { className: equal ? 'is-equal' : '' }, el('th', { scope: 'row' }, name), values.map((value) => {
    const text = cellText(value, format);
    return el('td', { title: text.length > 40 ? text : '' }, text.length > 40 ? cut(text, 40) : text);
  }));
}

// Code

async function drawCode(place, rows) {
  const [base, ...others] = rows;
  const at = Math.min(differences.other, others.length);
  const other = others[at - 1];
  const names = labels(rows);
  const select = others.length > 1
    ? chooser('Second run', others.map((row, number) => [number + 1, names.get(row.id)]), at, (value) => {
      differences.other = value;
      drawCode(place, rows);
    })
    : null;
  const list = el('div', { 'aria-live': 'polite' });
  fill(place, el('div', { className: 'card-head' }, el('h2', {}, 'Code'), el('p', { className: 'quiet' }, `${names.get(base.id)} \u2192 ${names.get(other.id)}`), select), list);
  if (!base.snapshot || !other.snapshot) {
    fill(list, empty('No snapshot', 'One of the runs has no snapshot of its code.'));
    return;
  }
  if (base.snapshot === other.snapshot) {
    fill(list, empty('The same code', 'Both runs executed the same snapshot.'));
    return;
  }
  try {
    const code = await source.code([base.snapshot, other.snapshot]);
    fill(list, files(code, code.trees[base.snapshot], code.trees[other.snapshot]));
  } catch (error) {
    fill(list, empty('The code could not be read', error.message));
  }
}

function files(code, before, after) {
  if (!before || !after) return empty('Not in this page', 'The snapshots are no longer in the project, or too large.');
  const paths = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((path) => before[path] !== after[path]).sort();
  return paths.map((path) => {
    const [old, now] = [own(before, path), own(after, path)];
    const what = !old ? 'added' : !now ? 'removed' : 'changed';
    const texts = [old, now].map((id) => (id ? own(code.texts, id) : ''));
    const isText = texts.every((text) => text !== undefined);
    const box = el('details', { className: 'file', ontoggle: () => {
      if (box.open && box.childElementCount === 1) box.append(isText ? lineChanges(...texts) : el('p', { className: 'quiet' }, 'Not a text, or too large to be shown.'));
    } }, el('summary', {}, el('span', { className: `change change-${what}` }, what), ' ', path));
    return box;
  });
}

function lineChanges(before, after) {
  const changes = hunks(split(before), split(after));
  if (!changes) return el('p', { className: 'quiet' }, 'Too different to be shown line by line.');
  return el('pre', { className: 'diff', tabIndex: 0 }, changes.map(([sign, text]) =>
    el('span', { className: sign === '+' ? 'plus' : sign === '-' ? 'minus' : sign === '@' ? 'gap' : 'same' }, sign === '@' ? '\u22ef\n' : `${sign} ${text}\n`)));
}

const split = (text) => (text === '' ? [] : text.replace(/\n$/, '').split('\n'));

// Lines as [sign, text], with three equal lines around each change (Myers' algorithm).
function hunks(before, after) {
  const trace = shortest(before, after);
  if (!trace) return null;
  const all = [];
  let [x, y] = [before.length, after.length];
  for (let depth = trace.length - 1; depth >= 0; depth -= 1) {
    const ends = trace[depth];
    const diagonal = x - y;
    const down = diagonal === -depth || (diagonal !== depth && ends.get(diagonal - 1) < ends.get(diagonal + 1));
    const from = down ? diagonal + 1 : diagonal - 1;
    const startX = ends.get(from);
    const startY = startX - from;
    while (x > startX && y > startY) {
      x -= 1;
      y -= 1;
      all.push([' ', before[x]]);
    }
    if (depth) all.push(x === startX ? ['+', after[startY]] : ['-', before[startX]]);
    [x, y] = [startX, startY];
  }
  return nearChanges(all.reverse());
}

function shortest(before, after) {
  const most = Math.min(before.length + after.length, 1500);
  const ends = new Map([[1, 0]]);
  const trace = [];
  for (let depth = 0; depth <= most; depth += 1) {
    trace.push(new Map(ends));
    for (let diagonal = -depth; diagonal <= depth; diagonal += 2) {
      const down = diagonal === -depth || (diagonal !== depth && ends.get(diagonal - 1) < ends.get(diagonal + 1));
      let x = down ? ends.get(diagonal + 1) : ends.get(diagonal - 1) + 1;
      let y = x - diagonal;
      while (x < before.length && y < after.length && before[x] === after[y]) {
        x += 1;
        y += 1;
      }
      ends.set(diagonal, x);
      if (x >= before.length && y >= after.length) return trace;
    }
  }
  return null;
}

function nearChanges(lines) {
  const near = lines.map((_, at) => lines.slice(Math.max(0, at - 3), at + 4).some(([sign]) => sign !== ' '));
  return lines.flatMap((line, at) => (near[at] ? [line] : at === 0 || near[at - 1] ? [['@', '']] : []));
}
