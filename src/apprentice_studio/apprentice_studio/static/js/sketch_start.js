// With which values a curve begins: the draft on the server, the copy in this browser, the saved sketch, or nothing.

import { same } from "./draft.js";

/**
 * `curves`: what GET curves said; `journal`: the copy in this browser or null.
 * Returns {values, filled, base, version, origin, unsent, conflict}: `base` is the revision of the user's sketch that the values go back
 * to, `version` that of the server's draft, `unsent` says that the server has not got the values, `conflict` is the server's draft where
 * both changed.
 */
export function startOf(curves, user, frames, journal) {
  const own = curves.curves.filter((c) => c.kind === "sketch" && c.user === user).at(-1) ?? null;
  const revision = own?.revision ?? 0;
  const draft = curves.draft?.values?.length === frames ? curves.draft : null;
  const version = draft?.version ?? 0;
  const begin = { filled: [], base: revision, version, unsent: false, conflict: null };
  if (journal?.dirty && !(draft && same(journal.values, draft.values))) {
    const kept = { ...begin, values: journal.values, filled: journal.filled ?? [], base: journal.base, origin: "this browser", unsent: true };
    return journal.version === version || !draft ? kept : { ...kept, conflict: draft };
  }
  if (draft) {
    const mine = journal?.version === version && same(journal.values, draft.values);
    return { ...begin, values: draft.values, filled: mine ? journal.filled ?? [] : [], base: mine ? journal.base : revision, origin: "draft" };
  }
  if (own && own.values.length === frames) return { ...begin, values: own.values, origin: "sketch" };
  return { ...begin, values: new Array(frames).fill(null), origin: "nothing" };
}
