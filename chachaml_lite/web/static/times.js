// Shows times relative to now, and exactly in the user's time zone on hover; updates the durations of running runs.
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const units = [
  [86400, "d", 3600, "h"],
  [3600, "h", 60, "min"],
  [60, "min", 1, "s"],
];
const refreshMs = 15_000;

/** Formats seconds as a duration: 12 s, 3 min 20 s, 5 h 12 min; like `format_duration` on the server. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  for (const [length, name, smaller, smallerName] of units) {
    if (whole >= length) {
      const rest = Math.floor((whole % length) / smaller);
      return `${Math.floor(whole / length)} ${name}${rest ? ` ${rest} ${smallerName}` : ""}`;
    }
  }
  return `${whole} s`;
}

function ago(then, now) {
  const seconds = (now - then) / 1000;
  if (seconds < -60 || seconds > 30 * 86400) return day.format(then);
  if (seconds < 5) return "just now";
  return `${duration(seconds).split(" ").slice(0, 2).join(" ")} ago`;
}

function refresh() {
  const now = Date.now();
  for (const element of document.querySelectorAll("time[datetime]")) {
    const then = new Date(element.dateTime);
    if (Number.isNaN(then.getTime())) continue;
    if (element.dataset.exact !== element.dateTime) {
      element.dataset.exact = element.dateTime;
      element.title = `${exact.format(then)} (${then.getTime()})`;
    }
    const text = ago(then, now);
    if (element.textContent !== text) element.textContent = text;
  }
  for (const element of document.querySelectorAll("[data-since]")) {
    element.textContent = duration((now - Number(element.dataset.since)) / 1000);
  }
}

refresh();
setInterval(refresh, refreshMs);
document.addEventListener("live:updated", refresh);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
