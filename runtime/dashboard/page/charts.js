// Numbers → SVG shapes, by the DOM alone: no markup is ever made from text. Knows nothing of what the numbers are.

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function drawing(width, height) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
}

/** A bar of a share (0–1); `reach` (0–1) is marked beside it where there is one. */
export function bar() {
  const svg = drawing(100, 10);
  const fill = shape("rect", { class: "fill", x: 0, y: 0, width: 0, height: 10 });
  const reach = shape("line", { class: "reach", y1: 0, y2: 10, "vector-effect": "non-scaling-stroke" });
  svg.append(shape("rect", { class: "track", x: 0, y: 0, width: 100, height: 10 }), fill);
  return {
    svg,
    show(share, mark) {
      fill.setAttribute("width", 100 * Math.min(1, Math.max(0, share)));
      if (mark === undefined) return;
      const at = 100 * Math.min(0.995, Math.max(0, mark));
      reach.setAttribute("x1", at);
      reach.setAttribute("x2", at);
      svg.append(reach);
    },
  };
}

/** Columns over time, oldest first, each a share (0–1), or null where nothing was counted. */
export function columns() {
  const svg = drawing(1, 1);
  const ground = shape("path", { class: "track" });
  const fill = shape("path", { class: "fill" });
  svg.append(ground, fill);
  return {
    svg,
    show(shares) {
      svg.setAttribute("viewBox", `0 0 ${shares.length} 100`);
      let known = "";
      let seen = "";
      shares.forEach((share, at) => {
        if (share === null) return;
        known += `M${at} 0h1v100h-1z`;
        seen += `M${at} ${100 - 100 * share}h1V100h-1z`;
      });
      ground.setAttribute("d", known);
      fill.setAttribute("d", seen);
    },
  };
}
