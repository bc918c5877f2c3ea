/** The runtime's own reasons, for people; a policy's reason stands as its author wrote it. */

const WORDS: ReadonlyMap<string, string> = new Map([
  ["no_candidates", "no loaded atlas has an action to decide about"],
  ["no_action_allowed", "no action is allowed, for more than one reason"],
  ["requires_approval", "a person has to approve first"],
  ["no_matching_policy", "no policy allows it"],
  ["out_of_scope", "out of scope for this agent"],
]);

/** What the reason says, and whether that is more than the reason's own text. */
export function reasonWords(reason: string): { readonly words: string; readonly isCode: boolean } {
  const words = WORDS.get(reason);
  return words === undefined ? { words: reason, isCode: false } : { words, isCode: true };
}
