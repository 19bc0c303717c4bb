// The chat: Enter sends, the answer grows as it is written, and the page follows it if it was at the end.
(() => {
  const $ = (id) => document.getElementById(id);
  const page = document.scrollingElement;
  const atEnd = () => page.scrollHeight - page.scrollTop - page.clientHeight < 80;
  const toEnd = () => page.scrollTo({ top: page.scrollHeight });
  let follow = true;

  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "text" || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  });

  // --- Text deltas. Lengths count code points, as the server does ---
  let stream; // what was heard of the answer being written: {run, start, points}
  let asked = 0;
  function paint() {
    const draft = $("draft");
    if (!stream || draft?.dataset.run !== stream.run) return !stream;
    const shown = Number(draft.dataset.length);
    const end = stream.start + stream.points.length;
    if (shown < stream.start) return false;
    if (shown < end) {
      const follows = atEnd();
      draft.append(stream.points.slice(shown - stream.start).join(""));
      draft.dataset.length = end;
      if (follows) toEnd();
    }
    return true;
  }
  document.body.addEventListener("nod:text", ({ detail }) => {
    const points = Array.from(detail.text);
    const end = stream ? stream.start + stream.points.length : -1;
    const joins = stream?.run === detail.run && detail.at === end;
    if (joins) stream.points.push(...points);
    else stream = { run: detail.run, start: detail.at, points };
    const fits = paint();
    if ((joins && fits) || (fits && detail.at > 0)) return;
    if (performance.now() - asked < 400) return; // the server saves the answer twice a second
    asked = performance.now();
    nodRefresh();
  });

  document.addEventListener("htmx:beforeSwap", ({ detail }) => { if (detail.target.id === "chat") follow = atEnd(); });
  document.addEventListener("htmx:afterSwap", ({ detail }) => {
    if (detail.target.id !== "chat") return;
    if (!$("dots")) stream = undefined; // no answer is being written any more
    paint();
    if (follow || detail.requestConfig?.verb === "post") toEnd();
  });
  if ($("flow") && !new URLSearchParams(location.search).has("before")) toEnd();
})();
