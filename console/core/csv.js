// SPDX-License-Identifier: Apache-2.0
// Holders as CSV (RFC 4180) that a spreadsheet opens without running what a user called himself.

const RISKY = /^[=+\-@\t\r]/; // a spreadsheet takes it for a formula

function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = typeof value === "string" && RISKY.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** `columns`: names of fields. With a byte order mark, without which Excel reads Korean as something else. */
export function toCsv(columns, rows) {
  return `\uFEFF${[columns, ...rows.map((row) => columns.map((name) => row[name]))].map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
}
