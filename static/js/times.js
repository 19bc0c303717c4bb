// Absolute times stand in the page in UTC. Here they are told in the reader's own zone, which the title names.
// data-local says how much of it: "day" (23 Nov, 14:05), "time" (14:05) or "second" (2026-11-23 14:05:09).
(() => {
  const two = (number) => String(number).padStart(2, "0");
  const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

  function told(moment, kind) {
    const clock = `${two(moment.getHours())}:${two(moment.getMinutes())}`;
    const date = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
    if (kind === "time") return clock;
    if (kind === "second") return `${date} ${clock}:${two(moment.getSeconds())}`;
    const year = moment.getFullYear() === new Date().getFullYear() ? "" : ` ${moment.getFullYear()}`;
    return `${moment.getDate()} ${MONTHS[moment.getMonth()]}${year}, ${clock}`;
  }
  function localise() {
    document.querySelectorAll("time[data-local]").forEach((time) => {
      const moment = new Date(time.getAttribute("datetime"));
      if (Number.isNaN(moment.getTime())) return;
      const text = told(moment, time.dataset.local);
      const title = `${told(moment, "second")} ${zone} · ${moment.toISOString().slice(0, 19).replace("T", " ")} UTC`;
      if (time.textContent !== text) time.textContent = text;
      if (time.title !== title) time.title = title;
    });
  }
  document.addEventListener("htmx:afterSwap", localise);
  localise();
})();
