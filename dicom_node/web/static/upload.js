"use strict";
// Files may be dropped on the form, and stay chosen when the answer comes. The form itself works without this.
(() => {
  const form = document.getElementById("upload");
  const drop = document.getElementById("drop");
  const file = document.getElementById("file");
  const busy = document.getElementById("busy");
  const answers = document.getElementById("answers");

  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length > 0) {
      file.files = event.dataTransfer.files;
      form.requestSubmit();
    }
  });

  function show(page) {
    const answered = page.getElementById("answers");
    // A page that says why there is no answer has none: what it says is shown instead.
    const parts = answered ? answered.childNodes : page.querySelectorAll("main p");
    answers.replaceChildren(...parts);
  }

  async function ask(address) {
    busy.textContent = busy.dataset.says;
    answers.replaceChildren();
    const buttons = [...form.querySelectorAll("button")];
    const body = new FormData(form);
    for (const button of buttons) button.disabled = true;
    try {
      const answer = await fetch(address, { method: "POST", body, headers: { Accept: "text/html" } });
      if (answer.redirected) {
        window.location.assign(answer.url);
        return;
      }
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      busy.textContent = "";
    } catch {
      busy.textContent = busy.dataset.failed;
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(event.submitter && event.submitter.hasAttribute("formaction") ? event.submitter.formAction : form.action);
  });
})();
