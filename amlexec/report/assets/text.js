// Text of runs is only ever added as text nodes, with what could control or mirror it escaped.

const CONTROL =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff\ufff9-\ufffb]|\udb40[\udc00-\udc7f]/g;

function visible(text) {
  return String(text).replace(CONTROL, (sign) => {
    const code = sign.codePointAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

function oneLine(text) {
  return visible(text).replace(/\n/g, '\\n');
}

// An element with properties, listeners (onclick), attributes (aria-label, data-x) and children.
function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name.includes('-') || name === 'role' || name === 'for') element.setAttribute(name, oneLine(value));
    else element[name] = typeof value === 'string' ? visible(value) : value;
  }
  append(element, children);
  return element;
}

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, oneLine(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined) {
      element.append(child instanceof Node ? child : document.createTextNode(visible(child)));
    }
  }
}

function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

const byId = (id) => document.getElementById(id);

function announce(text) {
  fill(byId('news'), text);
}

// Numbers

const MINUS = '\u2212';

function shortNumber(value, digits = 4) {
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return signed(String(value));
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split('e');
    return signed(`${trimmed(mantissa)}e${Number(exponent)}`);
  }
  return signed(trimmed(value.toPrecision(digits)));
}

const trimmed = (text) => (text.includes('.') ? text.replace(/\.?0+$/, '') : text);
const signed = (text) => text.replace('-', MINUS);

// A format for a column of numbers: as many decimals for each, so that they can be compared by eye.
function columnFormat(values) {
  const numbers = values.filter((value) => typeof value === 'number' && value !== 0);
  if (numbers.every(Number.isInteger)) return (value) => signed(String(value));
  const sizes = numbers.map(Math.abs);
  const largest = sizes.reduce((a, b) => Math.max(a, b), 0);
  const smallest = sizes.reduce((a, b) => Math.min(a, b), Infinity);
  if (largest >= 1e6 || smallest < 1e-4) return (value) => shortNumber(value);
  const decimals = Math.min(6, Math.max(1, 4 - Math.ceil(Math.log10(largest))));
  return (value) => signed(value.toFixed(decimals));
}

// Settings as they were given, with as many decimals for each.
function settingFormat(values) {
  const texts = values.filter((value) => typeof value === 'number').map(String);
  if (texts.some((text) => text.includes('e'))) return (value) => shortNumber(value);
  const decimals = texts.reduce((most, text) => Math.max(most, (text.split('.')[1] ?? '').length), 0);
  return decimals > 6 ? columnFormat(values) : (value) => signed(value.toFixed(decimals));
}

function cellText(value, format) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return format ? format(value) : shortNumber(value, 6);
  if (value === 'Infinity') return '\u221e';
  if (value === '-Infinity') return `${MINUS}\u221e`;
  return oneLine(value === true ? 'yes' : value === false ? 'no' : value);
}

function bytesText(size) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  for (; size >= 1000 && at < units.length - 1; at += 1) size /= 1000;
  return `${at && size < 10 ? size.toFixed(1) : Math.round(size)} ${units[at]}`;
}

function durationText(seconds) {
  if (seconds === null) return '';
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  const two = (number) => String(number).padStart(2, '0');
  return hours ? `${hours} h ${two(minutes)} min` : `${minutes} min ${two(whole % 60)} s`;
}

function momentText(text) {
  const time = new Date(text);
  if (text === null || Number.isNaN(time.getTime())) return '';
  const two = (number) => String(number).padStart(2, '0');
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}`;
}

function plural(count, word) {
  return `${count.toLocaleString('en')} ${word}${count === 1 ? '' : 's'}`;
}
