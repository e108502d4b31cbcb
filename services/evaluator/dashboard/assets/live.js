// Keeps running things fresh: fetches this very page and swaps the parts that carry data-live
// (seconds between looks). It rests while the tab is hidden and stops when nothing is live any more.
"use strict";
(() => {
  const live = () => [...document.querySelectorAll("[data-live]")];
  const pause = () => Math.min(60, ...live().map((part) => Number(part.dataset.live) || 5)) * 1000;
  let failures = 0;

  async function refresh() {
    if (document.hidden) return;
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok) throw new Error(String(response.status));
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of live()) {
      const next = fresh.getElementById(part.id);
      // A run that has ended brings new sections: load the page whole.
      if ("liveReload" in part.dataset && next && !("live" in next.dataset)) return location.reload();
      if (!next || next.isEqualNode(part) || part.contains(document.activeElement)) continue;
      part.replaceWith(document.importNode(next, true));
    }
  }

  async function watch() {
    try {
      await refresh();
      failures = 0;
    } catch {
      failures += 1; // the service may be restarting: ask again, ever less often
    }
    if (live().length) setTimeout(watch, pause() * 2 ** Math.min(failures, 4));
  }

  if (live().length) setTimeout(watch, pause());
})();
