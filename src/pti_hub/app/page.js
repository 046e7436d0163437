// gradio tells the server that a slider was let go when a pointer does it; keys are to do it too.
document.addEventListener("keyup", (event) => {
  const isSlider = event.target instanceof HTMLInputElement && event.target.type === "range";
  if (isSlider && /^(Arrow|Page|Home$|End$)/.test(event.key)) {
    event.target.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
  }
});

// gradio puts each picture into a button without a name: it takes the name of the picture's label.
// And a region that is to be read aloud has to be one before its text comes.
new MutationObserver(() => {
  for (const place of document.querySelectorAll("#note:not([aria-live]), #progress:not([aria-live]), #way:not([aria-live])")) {
    place.setAttribute("aria-live", "polite");
  }
  for (const frame of document.querySelectorAll("button:not([aria-label]) > .image-frame")) {
    const label = frame.closest(".block")?.querySelector("[data-testid=block-label]");
    if (label) {
      frame.parentElement.setAttribute("aria-label", label.textContent.trim());
    }
  }
}).observe(document, { childList: true, subtree: true });
