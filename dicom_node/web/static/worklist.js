"use strict";
// Keeps the list as it stands on the node, without reloading the page.
(() => {
  const EVERY_MS = 3000;
  const rows = document.getElementById("rows");
  const said = document.getElementById("live");
  // As the list was asked for, not what is being typed for the next search.
  const asked = new URLSearchParams(new FormData(document.getElementById("filter")));
  asked.set("page", rows.dataset.page);
  let shown = null;

  function show(content) {
    if (content === shown) return;
    const focused = rows.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    if (shown !== null || content.trim() !== rows.innerHTML.trim()) rows.innerHTML = content;
    shown = content;
    const again = focused && [...rows.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused);
    if (again) again.focus();
  }

  async function follow() {
    if (document.hidden) return;
    try {
      const answer = await fetch("/rows", { method: "POST", body: asked, headers: { "X-Live": "1" } });
      if (answer.status === 401) {
        window.location.assign("/login?ended=1");
        return;
      }
      if (!answer.ok) throw new Error(answer.status);
      show(await answer.text());
      said.textContent = "";
    } catch {
      said.textContent = said.dataset.failed;
    }
  }

  async function repeat() {
    await follow();
    window.setTimeout(repeat, EVERY_MS);
  }

  document.addEventListener("visibilitychange", follow);
  window.setTimeout(repeat, EVERY_MS);
})();
