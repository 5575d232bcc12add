// Start: the views, what redraws them, and the live updates.

const VIEWS = [['runs', 'Runs', drawRuns], ['curves', 'Curves', drawCurves], ['relations', 'Relations', drawRelations], ['differences', 'Differences', drawDifferences]];
const INTERVAL_MS = 1000;
const USUALLY_CHOSEN = 5;

function drawTabs() {
  const tabs = VIEWS.map(([id, name]) => el('button', {
    type: 'button', role: 'tab', id: `view-${id}`, 'aria-controls': `panel-${id}`, 'aria-selected': String(state.view === id),
    tabIndex: state.view === id ? 0 : -1, onclick: () => show(id),
  }, name, id === 'curves' || id === 'differences' ? el('span', { className: 'badge', 'data-for': id }) : null));
  fill(byId('views'), tabs);
  byId('views').onkeydown = (event) => {
    const at = VIEWS.findIndex(([id]) => id === state.view);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: VIEWS.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    show(VIEWS[(next + VIEWS.length) % VIEWS.length][0]);
    byId(`view-${state.view}`).focus();
  };
}

function show(view) {
  state.view = view;
  for (const [id] of VIEWS) {
    byId(`panel-${id}`).hidden = id !== view;
    byId(`view-${id}`).setAttribute('aria-selected', String(id === view));
    byId(`view-${id}`).tabIndex = id === view ? 0 : -1;
  }
  if (location.hash !== `#${view}`) history.replaceState(null, '', `#${view}`);
  draw();
}

const draw = () => VIEWS.find(([id]) => id === state.view)[2]();

function drawHead() {
  fill(byId('project'), main.project);
  const failed = state.rows.filter(({ status: name }) => name === 'Failed').length;
  const running = state.rows.filter((row) => row.final === false).length;
  const parts = [plural(state.rows.length, 'run'), failed ? `${failed} failed` : '', running ? `${running} not ended` : '',
    isLive ? '' : momentText(state.made)].filter(Boolean);
  fill(byId('summary'), parts.join(' \u00b7 '), main.left_out ? ` \u00b7 ${plural(main.left_out, 'older run')} left out` : '',
    isLive ? el('span', { className: 'live', id: 'live' }, 'live') : null);
  drawBadges();
}

function drawBadges() {
  for (const badge of document.querySelectorAll('.badge')) fill(badge, state.chosen.length ? String(state.chosen.length) : null);
}

listen((what) => {
  if (what === 'chosen') drawBadges();
  if (what === 'chosen' && state.view === 'runs') markChosen();
  else draw();
});

// A tick changes one row: the table stays as it is.
function markChosen() {
  for (const box of document.querySelectorAll('.runs .sweep [type=checkbox]')) markGroup(box, box.members);
  for (const box of document.querySelectorAll('.runs [data-key^="choose "]')) {
    const is = state.chosen.includes(box.dataset.key.slice('choose '.length));
    box.checked = is;
    box.closest('tr').className = is ? 'is-chosen' : '';
  }
}

// Live

let version = null;

async function poll() {
  let isConnected = true;
  try {
    const answer = await fetch('runs', { cache: 'no-store', credentials: 'omit', redirect: 'error', headers: version ? { 'If-None-Match': version } : {} });
    if (answer.status === 200) {
      version = answer.headers.get('ETag');
      accept(await answer.json());
      drawHead();
      draw();
      if (byId('sheet').open && openId) refreshSheet();
    } else if (answer.status !== 304) {
      isConnected = false;
    }
  } catch {
    isConnected = false;
  }
  byId('live').className = isConnected ? 'live' : 'live is-lost';
  fill(byId('live'), isConnected ? 'live' : 'connection lost');
  setTimeout(poll, document.hidden ? 5 * INTERVAL_MS : INTERVAL_MS);
}

function refreshSheet() {
  const sheet = byId('sheet');
  const [top, row] = [sheet.scrollTop, rowOf(openId)];
  if (row && row.revision !== openRevision) openRun(openId).then(() => { sheet.scrollTop = top; });
}

let resizing = 0;
addEventListener('resize', () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => (state.view === 'curves' ? resizePlots() : state.view === 'relations' ? drawRelations() : null));
});
dark.addEventListener('change', draw);
byId('sheet').addEventListener('close', () => { openId = null; });
byId('sheet').addEventListener('click', (event) => { if (event.target === byId('sheet')) byId('sheet').close(); });

accept(main);
state.chosen = state.rows.filter((row) => !row.broken && Object.keys(row.metrics).length).slice(0, USUALLY_CHOSEN).map(({ id }) => id);
drawTabs();
drawHead();
show(VIEWS.some(([id]) => `#${id}` === location.hash) ? location.hash.slice(1) : 'runs');
if (isLive) poll();
