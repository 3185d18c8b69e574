// Spans of time that a search is often for: a shift, a day, a week.

export const SPANS = ["this-shift", "last-shift", "today", "yesterday", "week"];
export const USUAL_STARTS = "06:00, 14:00, 22:00";

/** The times at which shifts begin, as minutes of the day in order, from a text as `06:00, 14:00`; null if it is none. */
export function shiftStarts(text) {
  const times = text.split(",").map((time) => /^\s*(\d{1,2}):(\d\d)\s*$/.exec(time));
  const minutes = times.map((time) => (time && time[1] < 24 && time[2] < 60 ? 60 * time[1] + Number(time[2]) : null));
  return minutes.includes(null) ? null : [...new Set(minutes)].sort((one, other) => one - other);
}

/** { since, until } of one of SPANS as it is now, as local times; `until` is null where it has not ended. */
export function timeSpan(name, starts, now) {
  if (name === "today") return { since: day(now, 0), until: null };
  if (name === "yesterday") return { since: day(now, -1), until: day(now, 0) };
  if (name === "week") return { since: day(now, -6), until: null };
  const begun = [-2, -1, 0].flatMap((days) => starts.map((minutes) => day(now, days, minutes))).filter((time) => time <= now);
  const [previous, present] = begun.slice(-2);
  return name === "this-shift" ? { since: present, until: null } : { since: previous, until: present };
}

/** A local time as a field for date and time has it; nothing for null. */
export function fieldText(time) {
  const digits = (value, count = 2) => String(value).padStart(count, "0");
  if (time === null) return "";
  return `${digits(time.getFullYear(), 4)}-${digits(time.getMonth() + 1)}-${digits(time.getDate())}T${digits(time.getHours())}:${digits(time.getMinutes())}`;
}

/** So many days from `now`, at a minute of that day; a day need not have 24 hours. */
function day(now, days, minutes = 0) {
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() + days, 0, minutes);
}
