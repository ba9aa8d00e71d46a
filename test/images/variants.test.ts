import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  checkVariants,
  DEFAULT_VARIANTS,
  keyOf,
  planOf,
  sizeOf,
  type Variant,
} from '../../src/images/variants.ts'
import { MillraceError } from '../../src/job/errors.ts'

const BOX: Variant = { name: 'box', width: 800, height: 800, fit: 'inside', format: 'jpeg', quality: 85 }

test('the defaults are sound', () => checkVariants(DEFAULT_VARIANTS))

test('a key begins with two digits of the hash and ends with the extension of the format', () => {
  const sha256 = `ab${'0'.repeat(62)}`
  assert.equal(keyOf(sha256, BOX), `pictures/ab/${sha256}/box.jpg`)
  assert.equal(keyOf(sha256, { ...BOX, format: 'webp' }), `pictures/ab/${sha256}/box.webp`)
})

test('inside keeps the shape and the whole picture', () => {
  assert.deepEqual(sizeOf(BOX, { width: 1080, height: 1080 }), { width: 800, height: 800 })
  assert.deepEqual(sizeOf(BOX, { width: 1920, height: 1080 }), { width: 800, height: 450 })
  assert.deepEqual(sizeOf(BOX, { width: 30_000, height: 1 }), { width: 800, height: 1 })
  assert.deepEqual(sizeOf(BOX, { width: 320, height: 240 }), { width: 320, height: 240 })
})

test('cover has the shape of its box, smaller where the source is smaller', () => {
  const cover: Variant = { ...BOX, width: 300, height: 150, fit: 'cover' }
  assert.deepEqual(sizeOf(cover, { width: 1000, height: 1000 }), { width: 300, height: 150 })
  assert.deepEqual(sizeOf(cover, { width: 100, height: 1000 }), { width: 100, height: 50 })
  assert.deepEqual(sizeOf(cover, { width: 1, height: 1 }), { width: 1, height: 1 })
})

test('no variant is larger than its source or its box, and each follows from the base', () => {
  const side = fc.integer({ min: 1, max: 40_000 })
  const box = fc.integer({ min: 1, max: 4096 })
  const variant = fc.record({
    width: box,
    height: box,
    fit: fc.constantFrom('inside' as const, 'cover' as const),
  })
  fc.assert(
    fc.property(side, side, fc.array(variant, { minLength: 1, maxLength: 5 }), (width, height, boxes) => {
      const variants = boxes.map((one, index): Variant => ({ ...BOX, ...one, name: `v${index}` }))
      const plan = planOf(variants, { width, height })
      assert.equal(plan.steps.length, variants.length)
      assert.ok(
        plan.base.width <= width &&
          plan.base.height <= height &&
          plan.base.width >= 1 &&
          plan.base.height >= 1,
      )
      for (const step of plan.steps) {
        assert.ok(
          step.width >= 1 && step.width <= Math.min(plan.base.width, step.variant.width),
          JSON.stringify({ plan, step }),
        )
        assert.ok(
          step.height >= 1 && step.height <= Math.min(plan.base.height, step.variant.height),
          JSON.stringify({ plan, step }),
        )
      }
    }),
  )
})

test('everything wrong with configured variants is said at once', () => {
  assert.throws(
    () =>
      checkVariants([
        { ...BOX, name: 'Größe', width: 0 },
        { ...BOX, quality: 101 },
        { ...BOX, height: 5000 },
      ]),
    (error) => {
      assert.ok(error instanceof MillraceError && error.code === 'VARIANTS_INVALID' && error.kind === 'usage')
      for (const part of ['Größe', 'width=0', 'box.quality=101', 'name box twice', 'box.height=5000']) {
        assert.ok(error.message.includes(part), `${part} in ${error.message}`)
      }
      return true
    },
  )
  assert.throws(() => checkVariants([]), /0 variants; expected 1 to 8/)
})
