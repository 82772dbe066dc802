// Adds a button to copy each block of commands, and handles buttons that copy their data-copy.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return;
  } catch {
    // Not available over plain HTTP, except on localhost: use the old API.
  }
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function addButtons() {
  for (const block of document.querySelectorAll("pre.command")) {
    if (block.parentElement.classList.contains("copyable")) continue;
    const frame = document.createElement("div");
    frame.className = "copyable";
    frame.dataset.script = "";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await copy(block.textContent.trim() + "\n");
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
    block.replaceWith(frame);
    frame.append(block, button);
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  await copy(button.dataset.copy);
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 2000);
});

addButtons();
document.addEventListener("live:updated", addButtons);
