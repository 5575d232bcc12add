// Relations between parameters and metrics: parallel coordinates, and a scatter plot.

const relations = { axes: null, brushes: new Map(), x: null, y: null, logX: null, logY: null };
const MOST_AXES = 10;

function drawRelations() {
  const panel = byId('panel-relations');
  const rows = filteredRows().filter((row) => !row.broken);
  const usable = [...columns.values()].filter((column) => column.group !== 'Run' || column.key === 'duration');
  const values = usable.filter((column) => rows.some((row) => column.get(row) !== null));
  if (rows.length < 2 || values.length < 2) {
    fill(panel, empty('Nothing to relate yet', 'This view needs two runs with parameters or metrics.'));
    return;
  }
  const parallel = el('section', { className: 'card wide', 'aria-label': 'Parallel coordinates' });
  const scatter = el('section', { className: 'card wide', 'aria-label': 'Scatter plot' });
  const note = state.filter ? `${plural(rows.length, 'run')} that match the filter of the table: ${state.filter}` : plural(rows.length, 'run');
  fill(panel, el('p', { className: 'quiet' }, note), parallel, scatter);
  drawParallel(parallel, rows, values);
  drawScatter(scatter, rows, values);
}

// Parallel coordinates

function usualAxes(rows, usable) {
  const parameters = usable.filter((column) => column.group === 'Parameters' && differs(column, rows)).slice(0, 5);
  const metrics = usable.filter((column) => column.group === 'Metrics' && isNumeric(rows.map(column.get))).slice(0, 3);
  const chosen = [...parameters, ...metrics.reverse()];
  return (chosen.length > 1 ? chosen : usable.slice(0, 4)).map(({ id }) => id);
}

function drawParallel(place, rows, usable) {
  const ids = (relations.axes ?? usualAxes(rows, usable)).filter((id) => usable.some((column) => column.id === id));
  const axes = ids.map((id) => columns.get(id));
  const picker = el('details', { className: 'picker' }, el('summary', {}, 'Axes'), el('div', { className: 'menu' },
    usable.slice(0, 200).map((column) => checkbox(column.name, ids.includes(column.id), (wanted) => {
      relations.axes = wanted ? [...ids, column.id].slice(-MOST_AXES) : ids.filter((id) => id !== column.id);
      relations.brushes.delete(column.id);
      drawParallel(place, rows, usable);
    }))));
  picker.open = Boolean(place.querySelector('.picker')?.open);
  const canvas = el('div', { className: 'drawing' });
  const count = el('p', { className: 'quiet', role: 'status' });
  fill(place, el('div', { className: 'card-head' }, el('h2', {}, 'Parallel coordinates'), picker), canvas, count);
  if (axes.length < 2) fill(canvas, empty('Choose at least two axes'));
  else parallelLines(canvas, count, rows, axes);
}

function parallelLines(canvas, count, rows, axes) {
  const width = Math.max(canvas.clientWidth, 90 * axes.length);
  const height = 300;
  const [top, bottom, side] = [34, 16, 56];
  const scales = axes.map((column) => scaleOf(rows.map(column.get), height - bottom, top, isWide(rows.map(column.get))));
  const at = (number) => side + ((width - 2 * side) * number) / (axes.length - 1);
  const last = scales[scales.length - 1];
  const drawing = svg('svg', {
    width, height, viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': `Parallel coordinates of ${plural(rows.length, 'run')}: ${axes.map(({ name }) => name).join(', ')}`,
  });
  const lines = rows.map((row) => {
    const points = axes.map((column, number) => [at(number), scales[number]?.at(column.get(row) ?? null) ?? null]);
    const value = axes[axes.length - 1].get(row) ?? null;
    const part = last?.part(value) ?? null;
    const stroke = part === null ? themed('--quiet') : scaleColour(part);
    const line = svg('path', { d: pathOf(points), stroke, class: 'line' }, svg('title', {}, titleOf(row, axes)));
    line.addEventListener('click', () => openRun(row.id));
    drawing.append(line);
    return { row, line };
  });
  const refresh = () => {
    let within = 0;
    for (const { row, line } of lines) {
      const is = axes.every((column) => inBrush(column, row));
      within += is;
      line.classList.toggle('is-out', !is);
    }
    const hint = relations.brushes.size ? '' : ' Drag along an axis to keep a range; a click on a line opens its run.';
    fill(count, within < lines.length ? `${within} of ${plural(lines.length, 'run')}` : plural(lines.length, 'run'), '.', hint);
  };
  axes.forEach((column, number) => axis(drawing, column, scales[number], at(number), [top, height - bottom], refresh));
  fill(canvas, drawing);
  refresh();
}

function pathOf(points) {
  let path = '';
  let isDown = false;
  for (const [x, y] of points) {
    if (y === null) {
      isDown = false;
      continue;
    }
    path += `${isDown ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    isDown = true;
  }
  return path || 'M0 0';
}

const titleOf = (row, shown) =>
  [`#${row.number} ${row.id}`, ...shown.map((column) => `${column.name}: ${cellText(column.get(row) ?? null) || 'none'}`)].join('\n');

function inBrush(column, row) {
  const brush = relations.brushes.get(column.id);
  if (!brush) return true;
  const part = brush.scale.part(column.get(row) ?? null);
  return part !== null && part >= brush.from && part <= brush.to;
}

function axis(drawing, column, scale, x, [top, bottom], refresh) {
  const group = svg('g', { class: 'axis', transform: `translate(${x.toFixed(1)} 0)` });
  append(group, [
    svg('line', { x1: 0, x2: 0, y1: top, y2: bottom }),
    svg('text', { x: 0, y: 14, 'text-anchor': 'middle', class: 'axis-name' }, cut(column.name, 18), svg('title', {}, column.name)),
  ]);
  for (const tick of scale?.ticks ?? []) {
    const y = scale.at(tick);
    append(group, [svg('line', { x1: -4, x2: 0, y1: y, y2: y }), svg('text', { x: -7, y: y + 3.5, 'text-anchor': 'end' }, tickText(tick))]);
  }
  const brush = svg('rect', { x: -7, width: 14, y: top, height: 0, class: 'brush' });
  const area = svg('rect', { x: -14, width: 28, y: top - 6, height: bottom - top + 12, class: 'brush-area' });
  append(group, [brush, area]);
  drawing.append(group);
  if (!scale) return;
  const show = () => {
    const range = relations.brushes.get(column.id);
    const [from, to] = range ? [range.from, range.to] : [0, 0];
    brush.setAttribute('y', bottom - (bottom - top) * to);
    brush.setAttribute('height', (bottom - top) * (to - from));
  };
  const place = (event) => {
    const box = drawing.getBoundingClientRect();
    return Math.max(0, Math.min(1, (bottom - (event.clientY - box.top)) / (bottom - top)));
  };
  let start = null;
  area.addEventListener('pointerdown', (event) => {
    start = place(event);
    area.setPointerCapture(event.pointerId);
  });
  area.addEventListener('pointermove', (event) => {
    if (start === null) return;
    const [from, to] = [start, place(event)].sort((a, b) => a - b);
    relations.brushes.set(column.id, { from, to, scale });
    show();
    refresh();
  });
  area.addEventListener('pointerup', (event) => {
    if (Math.abs(place(event) - start) < 0.02) relations.brushes.delete(column.id);
    start = null;
    show();
    refresh();
  });
  show();
}

// Scatter

function drawScatter(place, rows, usable) {
  const find = (id, group) => usable.find((column) => column.id === id) ??
    usable.find((column) => column.group === group && differs(column, rows)) ?? usable[group === 'Metrics' ? usable.length - 1 : 0];
  const [x, y] = [find(relations.x, 'Parameters'), find(relations.y, 'Metrics')];
  const [logX, logY] = [relations.logX ?? isWide(rows.map(x.get)), relations.logY ?? isWide(rows.map(y.get))];
  const options = usable.map((column) => [column, `${column.name} (${column.group.toLowerCase()})`]);
  const again = (change) => (value) => {
    change(value);
    drawScatter(place, rows, usable);
  };
  const canvas = el('div', { className: 'drawing' });
  fill(
    place,
    el('div', { className: 'card-head' }, el('h2', {}, 'Scatter'),
      chooser('Horizontal', options, x, again((column) => {
        relations.x = column.id;
        relations.logX = null;
      })),
      checkbox('log', logX, again((value) => { relations.logX = value; })),
      chooser('Vertical', options, y, again((column) => {
        relations.y = column.id;
        relations.logY = null;
      })),
      checkbox('log', logY, again((value) => { relations.logY = value; }))),
    canvas,
  );
  points(canvas, rows, [x, y], [logX, logY]);
}

function points(canvas, rows, [x, y], [logX, logY]) {
  const width = Math.max(280, canvas.clientWidth);
  const height = 340;
  const [left, right, top, bottom] = [64, width - 16, 12, height - 40];
  const across = scaleOf(rows.map(x.get), left, right, logX);
  const up = scaleOf(rows.map(y.get), bottom, top, logY);
  const places = across && up ? rows
    .map((row) => ({ row, cx: across.at(x.get(row) ?? null), cy: up.at(y.get(row) ?? null) }))
    .filter(({ cx, cy }) => cx !== null && cy !== null)
    .sort((a, b) => a.cx - b.cx || a.cy - b.cy) : [];
  if (!places.length) {
    fill(canvas, empty('No run has both values', logX || logY ? 'A logarithmic axis shows only positive numbers.' : ''));
    return;
  }
  const drawing = svg('svg', {
    width, height, viewBox: `0 0 ${width} ${height}`, tabindex: 0, role: 'application', class: 'scatter',
    'aria-label': `Scatter plot of ${y.name} against ${x.name}, ${plural(places.length, 'run')}: arrow keys go from run to run, Enter opens one`,
  });
  append(drawing, frame(across, up, [left, right, top, bottom]));
  append(drawing, [
    svg('text', { x: (left + right) / 2, y: height - 6, 'text-anchor': 'middle', class: 'axis-name' }, cut(x.name, 40)),
    svg('text', { x: 12, y: (top + bottom) / 2, 'text-anchor': 'middle', class: 'axis-name', transform: `rotate(-90 12 ${(top + bottom) / 2})` }, cut(y.name, 40)),
  ]);
  const marks = places.map(({ row, cx, cy }) => {
    const at = state.chosen.indexOf(row.id);
    const fillColour = at >= 0 ? colour(at) : themed('--accent');
    const mark = svg('circle', { cx, cy, r: at >= 0 ? 6 : 4.5, fill: fillColour, class: at >= 0 ? 'point is-chosen' : 'point' }, svg('title', {}, titleOf(row, [x, y])));
    mark.addEventListener('click', () => openRun(row.id));
    return mark;
  });
  append(drawing, marks);
  walk(drawing, places.map(({ row }) => row), marks, [x, y]);
  fill(canvas, drawing);
}

function frame(across, up, [left, right, top, bottom]) {
  const parts = [];
  for (const tick of across.ticks) {
    const x = across.at(tick);
    parts.push(svg('line', { x1: x, x2: x, y1: top, y2: bottom, class: 'rule' }), svg('text', { x, y: bottom + 15, 'text-anchor': 'middle' }, tickText(tick)));
  }
  for (const tick of up.ticks) {
    const y = up.at(tick);
    parts.push(svg('line', { x1: left, x2: right, y1: y, y2: y, class: 'rule' }), svg('text', { x: left - 8, y: y + 3.5, 'text-anchor': 'end' }, tickText(tick)));
  }
  return parts;
}

function walk(drawing, rows, marks, shown) {
  let now = -1;
  drawing.addEventListener('keydown', (event) => {
    const next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: marks.length - 1 }[event.key];
    if (event.key === 'Enter' && now >= 0) openRun(rows[now].id);
    if (next === undefined) return;
    event.preventDefault();
    marks[now]?.classList.remove('is-current');
    now = Math.max(0, Math.min(marks.length - 1, next));
    marks[now].classList.add('is-current');
    announce(titleOf(rows[now], shown));
  });
}
