import type { Person, Role } from "../contract";
import { instant } from "../format";

/** What each role allows; the role that allows least comes first. */
export const ROLE_WORDS: Record<Role, string> = {
  reader: "Reader: chats",
  author: "Author: chats, works with stories, runs and versions, has keys",
  owner: "Owner: everything, and manages people",
};

export const ROLES = Object.keys(ROLE_WORDS) as Role[];

/** Describes whether a person has been invited, has signed in or is disabled. */
export function stateInWords(person: Person): string {
  const invited = person.invited_at === null ? "" : `Invited ${instant(person.invited_at)}`;
  if (!person.enabled) return `${invited}; disabled in Cognito's console.`;
  return person.has_signed_in ? `${invited}.` : `${invited}; has not signed in yet.`;
}
