// Asks the server for windows that are no longer held, with the ticket of the view.

const { search } = new URL(import.meta.url);
const { Columns } = await import(`./columns.js${search}`);

/** Windows of an asset within a range of time [s, s]; {columns, channels, cut, begins}, or throws with a sentence. */
export async function askPast(view, { asset, detector }, [from, to]) {
  const url = new URL("history", document.baseURI);
  url.search = new URLSearchParams({ asset, detector, from, to });
  const answer = await fetch(url, { headers: { authorization: `Bearer ${view.ticket()}` } });
  if (!answer.ok) throw new Error((await answer.text()).trim() || `The server answers ${answer.status}.`);
  const { columns, ...rest } = await answer.json();
  const found = new Columns();
  if (columns) found.append(columns, Infinity);
  return { ...rest, columns: found };
}

/** What to say where there is nothing in a range of the past. */
export function pastEnds(begins) {
  if (begins === null) return "Nothing older is kept of this asset.";
  const time = new Date(begins * 1000).toISOString().slice(0, 19).replace("T", " ");
  return `Nothing is kept of this asset there; the record begins at ${time} UTC.`;
}
