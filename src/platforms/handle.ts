import { cleanLine } from './text.ts'

interface HandleRule {
  readonly shape: RegExp
  readonly expected: string
}

const RULES = {
  // https://help.instagram.com: letters, digits, full stops, underscores, at most 30; no full stop at an end or in a row.
  instagram: {
    shape: /^(?!.*\.\.)(?!\.)[a-z0-9._]{1,30}(?<!\.)$/,
    expected: 'a username: 1 to 30 letters, digits, . or _',
  },
  // https://support.tiktok.com: 2 to 24, and not a full stop at the end.
  tiktok: {
    shape: /^[a-z0-9._]{2,24}(?<!\.)$/,
    expected: 'a username: 2 to 24 letters, digits, . or _',
  },
  // https://support.google.com/youtube/answer/11585688: 3 to 30 letters or digits of any alphabet, and _ - . ·
  youtube: {
    shape: /^[\p{L}\p{M}\p{N}_.·-]{3,30}$/u,
    expected: 'a channel id (UC and 22 characters) or a handle (@ and 3 to 30 characters)',
  },
} satisfies Record<string, HandleRule>

export type HandlePlatform = keyof typeof RULES

/**
 * A handle as the platform compares them: without `@` and invisible marks, lower-case, NFC. Throws an Error with one sentence when it cannot be one
 * there.
 */
export function normaliseHandle(platform: HandlePlatform, text: string): string {
  // What comes from a copied page may carry marks that nobody sees.
  const handle = cleanLine(text).replace(/^@/, '').toLowerCase()
  const rule = RULES[platform]
  if (!rule.shape.test(handle)) {
    throw new Error(`creator_id ${JSON.stringify(text.slice(0, 80))}: expected ${rule.expected}`)
  }
  return handle
}

const CHANNEL_ID = /^UC[A-Za-z0-9_-]{22}$/

/** True for a YouTube channel id, which is case-sensitive, unlike a handle. */
export function isChannelId(text: string): boolean {
  return CHANNEL_ID.test(text)
}
