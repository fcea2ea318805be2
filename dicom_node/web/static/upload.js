"use strict";
// Files may be dropped on the form; the form itself works without this.
(() => {
  const form = document.getElementById("upload");
  const drop = document.getElementById("drop");
  const file = document.getElementById("file");
  const busy = document.getElementById("busy");

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
  form.addEventListener("submit", () => { busy.textContent = busy.dataset.says; });
})();
