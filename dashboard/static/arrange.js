// Puts children into an order with as few moves as there can be, so that focus and hover stay where they are.

/** Make `nodes` the children of `parent`, in this order; only those outside the longest run in order are moved. */
export function arrange(parent, nodes) {
  const places = new Map([...parent.children].map((node, place) => [node, place]));
  const resting = longestRise(nodes.map((node) => places.get(node) ?? -1));
  let next = null;
  for (let i = nodes.length - 1; i >= 0; i -= 1) {
    if (!resting.has(i)) parent.insertBefore(nodes[i], next);
    next = nodes[i];
  }
}

/** Indices of a longest increasing subsequence; values below zero take no part. */
function longestRise(values) {
  const ends = []; // the index that ends the best run of each length
  const before = new Array(values.length);
  values.forEach((value, i) => {
    if (value < 0) return;
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[ends[middle]] < value) low = middle + 1;
      else high = middle;
    }
    before[i] = ends[low - 1];
    ends[low] = i;
  });
  const found = new Set();
  for (let i = ends.at(-1); i !== undefined; i = before[i]) found.add(i);
  return found;
}
