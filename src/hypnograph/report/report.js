// A reading line over all figures: the epoch under the pointer. The page says everything without it.
const night = JSON.parse(document.getElementById("epochs").textContent);
const readout = document.getElementById("readout");
const two = (number) => String(number).padStart(2, "0");

function clock(seconds) {
  const at = night.begin_s === null ? seconds : (night.begin_s + seconds) % 86400;
  const hours = Math.floor(at / 3600);
  return `${night.begin_s === null ? hours : two(hours)}:${two(Math.floor(at / 60) % 60)}:${two(Math.floor(at) % 60)}`;
}

function describe(epoch) {
  const stage = night.stages[epoch];
  const parts = [clock(epoch * night.epoch_s), `epoch ${epoch + 1}`, stage < 0 ? "not scored" : night.labels[stage]];
  if (night.percent && stage >= 0) {
    const n = night.labels.length;
    const shares = night.labels.map((label, i) => [night.percent[epoch * n + i], label]).filter(([share]) => share >= 5);
    parts.push(shares.sort((a, b) => b[0] - a[0]).map(([share, label]) => `${label} ${share} %`).join(", "));
  }
  return parts.join("  ·  ");
}

function read(event) {
  const plot = event.currentTarget.querySelector(".plot").getBoundingClientRect();
  const share = (event.clientX - plot.left) / plot.width;
  const inside = share >= 0 && share < 1 && night.stages.length > 0;
  readout.hidden = !inside;
  document.body.classList.toggle("reading", inside);
  if (!inside) return;
  document.body.style.setProperty("--at", `${100 * share}%`);
  readout.textContent = describe(Math.floor(share * night.stages.length));
}

for (const timed of document.querySelectorAll(".timed")) {
  timed.addEventListener("pointermove", read);
  timed.addEventListener("pointerleave", () => { readout.hidden = true; document.body.classList.remove("reading"); });
}
