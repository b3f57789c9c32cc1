// SPDX-License-Identifier: Apache-2.0
// Numbers, times and spans of time as people read them. Pure: what is now is an argument.

const LOCALES = { en: "en-GB", ko: "ko-KR" };
const DATES = { en: "sv-SE", ko: "ko-KR" }; // 2026-12-01: in English 01/12 is two different days
const DASH = "–";
const made = new Map(); // making an Intl formatter costs more than a page of formatting

function formatter(kind, lang, options) {
  const name = `${kind.name} ${lang} ${JSON.stringify(options)}`;
  const locales = kind === Intl.DateTimeFormat ? DATES : LOCALES;
  if (!made.has(name)) made.set(name, new kind(locales[lang] ?? locales.en, options));
  return made.get(name);
}

/** Grouped digits; a dash for what is not known, which is never 0. */
export function number(value, lang = "en", digits = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  return formatter(Intl.NumberFormat, lang, { maximumFractionDigits: digits }).format(value);
}

/** A rate a second: one decimal below ten, none above. */
export function rate(value, lang = "en") {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  return number(value, lang, value < 10 ? 1 : 0);
}

/** Money in minor units with its currency, whose number of decimals Intl knows (KRW has none). */
export function money(minor, currency, lang = "en") {
  if (!Number.isFinite(minor)) return DASH;
  try {
    const format = formatter(Intl.NumberFormat, lang, { style: "currency", currency });
    return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
  } catch {
    return `${number(minor, lang)} ${currency}`; // three letters that are no currency
  }
}

/** A number of bytes in the unit that a machine's memory is bought in. */
export function bytes(value, lang = "en") {
  return `${number(value / 1_048_576, lang, 1)} MiB`;
}

/** The zone's time to the second, with the date unless `short`. `zone`: "kst" or "local". */
export function time(at, { lang = "en", zone = "kst", short = false } = {}) {
  const date = new Date(at);
  if (at === null || at === undefined || Number.isNaN(date.getTime())) return DASH;
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const day = short ? {} : { year: "numeric", month: "2-digit", day: "2-digit" };
  return formatter(Intl.DateTimeFormat, lang, { ...day, ...clock, ...(zone === "kst" ? { timeZone: "Asia/Seoul" } : {}) }).format(date);
}

/** The same instant in UTC, for who compares it with a log line. */
export function utc(at) {
  const date = new Date(at);
  return at === null || at === undefined || Number.isNaN(date.getTime()) ? "" : date.toISOString().replace(/\.\d+Z$/, "Z");
}

const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1000],
];

/** A span of time in its two largest units: "1 h 20 min". `words` are the catalogue's names of the units. */
export function span(ms, words) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return DASH;
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ${words.millisecond}`;
  const at = UNITS.findIndex(([, size]) => ms >= size);
  const [unit, size] = UNITS[at];
  const whole = Math.floor(ms / size);
  const next = UNITS[at + 1];
  const rest = next ? Math.floor((ms - whole * size) / next[1]) : 0;
  return rest > 0 ? `${whole} ${words[unit]} ${rest} ${words[next[0]]}` : `${whole} ${words[unit]}`;
}

/** How old something is that was known at `at`; "" when it is not known. Whole seconds: what jumps every tenth is not read. */
export function age(at, now, words) {
  if (!Number.isFinite(at)) return "";
  const seconds = Math.max(0, Math.floor((now - at) / 1000));
  return seconds === 0 ? `0 ${words.second}` : span(seconds * 1000, words);
}
