/**
 * Mixes whole numbers into one of 32 bits: MurmurHash3's block and final steps (Austin Appleby, public domain). The same
 * numbers give the same hash on every machine, which is all that the simulator needs of it.
 */
export function hash32(...parts: readonly number[]): number {
  let h = 0x9747_b28c
  for (const part of parts) {
    let k = Math.imul(part | 0, 0xcc9e_2d51)
    k = (k << 15) | (k >>> 17)
    h ^= Math.imul(k, 0x1b87_3593)
    h = (h << 13) | (h >>> 19)
    h = (Math.imul(h, 5) + 0xe654_6b64) | 0
  }
  h ^= h >>> 16
  h = Math.imul(h, 0x85eb_ca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2_ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** The same as a number from 0 up to, not including, 1. */
export function unit(...parts: readonly number[]): number {
  return hash32(...parts) / 0x1_0000_0000
}

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** The low 6 × `length` bits (at most 30) as base64url digits. */
export function toDigits(value: number, length: number): string {
  let text = ''
  for (let at = length - 1; at >= 0; at -= 1) text += DIGITS[(value >>> (6 * at)) & 63]!
  return text
}

/** The reverse; NaN when a character is none of the digits. */
export function fromDigits(text: string): number {
  let value = 0
  for (const character of text) {
    const digit = DIGITS.indexOf(character)
    if (digit < 0) return Number.NaN
    value = value * 64 + digit
  }
  return value
}
