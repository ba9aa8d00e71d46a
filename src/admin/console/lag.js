import { keyed, make, setProp, setText, within } from './dom.js'
import { count, percent, short, some, sum } from './words.js'

/** @typedef {import('../status.ts').PartitionStatus} PartitionStatus */

/** A row for each topic, a bar for each partition; the figures stand in a table for who wants them. @param {HTMLElement} root @param {HTMLElement} total @param {HTMLElement} others */
export function lagView(root, total, others) {
  /** @param {readonly PartitionStatus[]} assigned @param {'kafka' | 'file'} source */
  return function show(assigned, source) {
    // A file is read as fast as there is room: what stands behind in it is not counted.
    const partitions = source === 'file' ? [] : assigned
    const lag = sum(partitions.map((one) => one.lag ?? 0))
    setText(
      total,
      partitions.length === 0 ? '' : `${some(lag, 'record')} in ${some(partitions.length, 'partition')}`,
    )
    const all = Object.entries(Object.groupBy(partitions, ({ topic }) => topic)).map(([topic, ones = []]) => {
      return { topic, ones, lag: sum(ones.map((one) => one.lag ?? 0)) }
    })
    // Every retry and every parked topic is one: those that are empty are worth one line together.
    const topics = all.filter((one, index) => one.lag > 0 || index === 0).sort((a, b) => b.lag - a.lag)
    const rest = all.filter((one) => !topics.includes(one))
    setText(others, rest.length === 0 ? '' : `Nothing behind in ${some(rest.length, 'other topic')}.`)
    setProp(others, 'title', rest.map(({ topic }) => topic).join(', '))
    // By its logarithm: one partition that is far behind must not make the others look well.
    const most = Math.log10(1 + Math.max(9, ...partitions.map((one) => one.lag ?? 0)))
    keyed(root, topics, {
      key: ({ topic }) => topic,
      create: ({ topic }) => {
        const table = make(
          'table',
          {},
          make(
            'thead',
            {},
            make('tr', {}, ...['partition', 'behind', ''].map((text) => make('th', { scope: 'col' }, text))),
          ),
          make('tbody'),
        )
        return make(
          'details',
          { class: 'topic' },
          make(
            'summary',
            {},
            make('code', {}, topic),
            make('span', { class: 'behind' }),
            make('span', { class: 'cells', 'aria-hidden': 'true' }),
          ),
          table,
        )
      },
      update: (node, { ones }) => {
        const ordered = [...ones].sort((a, b) => a.partition - b.partition)
        const paused = ones.filter((one) => one.paused).length
        const known = ones.some((one) => one.lag !== null)
        setText(
          within(node, '.behind'),
          `${known ? short(sum(ones.map((one) => one.lag ?? 0))) : '–'} behind${paused > 0 ? `, ${paused} paused` : ''}`,
        )
        keyed(within(node, '.cells'), ordered, {
          key: (one) => String(one.partition),
          create: () => make('i'),
          update: (cell, one) => {
            cell.style.setProperty('--lag', percent(Math.log10(1 + (one.lag ?? 0)) / most))
            setProp(cell, 'data-tone', one.paused ? 'busy' : undefined)
            setProp(
              cell,
              'title',
              `partition ${one.partition}: ${one.lag === null ? 'not known' : count(one.lag)}${one.paused ? ', paused' : ''}`,
            )
          },
        })
        if (/** @type {HTMLDetailsElement} */ (node).open) {
          keyed(within(node, 'tbody'), ordered, {
            key: (one) => String(one.partition),
            create: () => make('tr', {}, make('td'), make('td'), make('td')),
            update: (row, one) => {
              const texts = [
                String(one.partition),
                one.lag === null ? '–' : count(one.lag),
                one.paused ? 'paused' : '',
              ]
              for (const [index, text] of texts.entries())
                setText(/** @type {Element} */ (row.children[index]), text)
            },
          })
        }
      },
    })
    if (root.children.length === 0) {
      const why =
        source === 'file'
          ? 'Jobs come from a file: there is no lag.'
          : 'No partition is assigned to this daemon.'
      root.append(make('p', { class: 'none', 'data-key': 'none' }, why))
    }
  }
}
