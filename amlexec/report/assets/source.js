// Where data comes from: the blocks of this file, or the live server that this page was loaded from.

const main = JSON.parse(byId('data-main').textContent);
const isLive = Boolean(main.live);

// The blocks stand after this script, so that the tables are drawn before the rest is read.
const loaded = new Promise((resolve) => {
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', resolve, { once: true });
  else resolve();
});

async function unpacked(id) {
  await loaded;
  const text = byId(id).textContent;
  let bytes;
  if (Uint8Array.fromBase64) {
    bytes = Uint8Array.fromBase64(text);
  } else {
    const letters = atob(text);
    bytes = new Uint8Array(letters.length);
    for (let at = 0; at < letters.length; at += 1) bytes[at] = letters.charCodeAt(at);
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).arrayBuffer();
}

const asJson = (buffer) => JSON.parse(new TextDecoder().decode(buffer));

async function asked(path) {
  const answer = await fetch(path, { cache: 'no-store', credentials: 'omit', redirect: 'error' });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.arrayBuffer();
}

// The inverse of `packed` in curves.py: run -> metric -> {x, y, t}, decoded when they are asked for.
function curvesIn(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const header = asJson(new Uint8Array(buffer, 4, size));
  const [steps, values] = header.sizes;
  const begin = 4 + size;
  const offsets = { steps: begin, values: begin + steps, times: begin + steps + values };
  const found = new Map();
  for (const [run, entries] of Object.entries(header.runs)) {
    const curves = new Map();
    for (const [metric, points, base, scale, began, first, distance] of entries) {
      const place = { ...offsets };
      curves.set(header.metrics[metric], () => decoded(buffer, place, points, base, scale, began, first, distance));
      if (first === null) offsets.steps += 8 * points;
      offsets.values += 4 * points;
      offsets.times += 4 * points;
    }
    found.set(run, curves);
  }
  return found;
}

function decoded(buffer, place, points, base, scale, began, first, distance) {
  const steps = first === null ? new Float64Array(buffer, place.steps, points) : null;
  const values = new Float32Array(buffer, place.values, points);
  const distances = new Int32Array(buffer, place.times, points);
  const curve = { x: new Array(points), y: new Array(points), t: new Array(points) };
  let time = began;
  for (let at = 0; at < points; at += 1) {
    time += distances[at] / 1000;
    curve.x[at] = steps ? steps[at] : first + distance * at;
    curve.y[at] = base + scale * values[at];
    curve.t[at] = time;
  }
  return curve;
}

const cache = { curves: new Map(), details: new Map(), code: new Map(), packages: new Map() };

function once(map, key, make) {
  if (!map.has(key)) {
    map.set(key, make().catch((error) => {
      map.delete(key);
      throw error;
    }));
  }
  return map.get(key);
}

// Each gives a promise.
const source = isLive
  ? {
      curves: (row) =>
        once(cache.curves, `${row.id} ${row.revision}`, async () => {
          const all = curvesIn(await asked(`curves/${row.id}`));
          return all.get(row.id) ?? new Map();
        }),
      details: (row) =>
        once(cache.details, `${row.id} ${row.revision}`, async () => asJson(await asked(`details/${row.id}`))),
      packages: (row) =>
        once(cache.packages, row.packages, async () => asJson(await asked(`packages/${row.id}`))),
      code: (trees) =>
        once(cache.code, trees.join('/'), async () => asJson(await asked(`code/${trees.join('/')}`))),
    }
  : {
      curves: async (row) => {
        const all = await once(cache.curves, '', async () => curvesIn(await unpacked('data-curves')));
        return all.get(row.id) ?? new Map();
      },
      details: async (row) =>
        (await once(cache.details, '', async () => asJson(await unpacked('data-details'))))[row.id],
      packages: async (row) => own((await source.code()).packages, row.packages) ?? null,
      code: () => once(cache.code, '', async () => asJson(await unpacked('data-code'))),
    };

// Old answers of a live server are only worth keeping for runs that have not changed.
function forgetOld(rows) {
  const current = new Set(rows.map((row) => `${row.id} ${row.revision}`));
  for (const map of [cache.curves, cache.details]) {
    for (const key of map.keys()) if (isLive && !current.has(key)) map.delete(key);
  }
}
