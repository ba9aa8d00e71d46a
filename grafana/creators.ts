import {
  type Dashboard,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  TextBoxVariableBuilder,
  VariableRefresh,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { CLICKHOUSE, sqlLines, sqlStat, sqlTable } from './clickhouse.ts'
import { bare } from './page.ts'

/** Of the platforms that are chosen above. */
const HERE = 'platform IN (${platform:singlequote})'
/** Rows of one key share a month, so FINAL may work month by month. */
const BY_MONTH = 'SETTINGS do_not_merge_across_partitions_select_final = 1'

/** The newest moment of each creator, cheap: the day's last number says when it was taken (`ord` is ms · 65536 + version). */
const NEWEST = `SELECT platform, creator_id, intDiv(max(ord), 65536) / 1000 AS taken_s
  FROM points_daily FINAL WHERE metric = 'followers' AND ${HERE} GROUP BY platform, creator_id`

/** *Creators*: growth, movers, coverage and freshness by platform, out of ClickHouse. */
export function creators(): Dashboard {
  return bare({
    title: 'creators',
    uid: 'millrace-creators',
    description:
      'Growth, movers, coverage and freshness by platform. Sums and movers are up to a minute old.',
    from: 'now-30d',
    refresh: '5m',
  })
    .withVariable(
      new DatasourceVariableBuilder('clickhouse').label('Data source').type('grafana-clickhouse-datasource'),
    )
    .withVariable(
      new QueryVariableBuilder('platform')
        .label('Platform')
        .datasource(CLICKHOUSE)
        .query('SELECT DISTINCT platform FROM platform_daily ORDER BY platform')
        .refresh(VariableRefresh.OnDashboardLoad)
        .multi(true)
        .includeAll(true)
        .current({ text: 'All', value: '$__all' }),
    )
    .withVariable(
      new TextBoxVariableBuilder('creator')
        .label('Creator')
        .description('An id or a handle, for the row on one creator.')
        .defaultValue(''),
    )
    .withRow(new RowBuilder('By platform'))
    .withPanel(
      sqlStat({
        title: 'Creators known',
        about: 'Whose facts are stored, those that are gone not included.',
        sql: `SELECT count() AS creators FROM creators FINAL WHERE ${HERE} AND NOT gone`,
        span: 6,
      }),
    )
    .withPanel(
      sqlStat({
        title: 'Seen in the last 24 hours, share',
        about: 'Coverage: look when producers say that they publish all of them.',
        sql: `SELECT countIf(taken_s >= toUnixTimestamp(now()) - 86400) / greatest(count(), 1) AS share FROM (${NEWEST}) ${BY_MONTH}`,
        unit: 'percentunit',
        span: 6,
      }),
    )
    .withPanel(
      sqlStat({
        title: 'Gone',
        about: 'Creators whom their platform does not know any more: stop following them.',
        sql: `SELECT countIf(gone) AS gone FROM creators FINAL WHERE ${HERE}`,
        span: 6,
      }),
    )
    .withPanel(
      sqlStat({
        title: 'Sudden losses, last 7 days',
        about: 'Creators who lost more than half of their followers between two snapshots.',
        sql: `SELECT countIf(has(flags, 'suspicious_drop') AND ts >= now() - INTERVAL 7 DAY) AS drops FROM creators FINAL WHERE ${HERE}`,
        span: 6,
      }),
    )
    .withPanel(
      sqlTable({
        title: 'Age of the newest numbers',
        about: 'Freshness and coverage: look when analysts say that the numbers are old.',
        sql: `SELECT platform, count() AS creators, countIf(age_s <= 86400) / count() AS "seen in 24 h",
  countIf(age_s <= 7 * 86400) / count() AS "seen in 7 days",
  quantile(0.5)(age_s) AS "median age", quantile(0.95)(age_s) AS "p95 age", max(age_s) AS "oldest"
FROM (SELECT platform, toUnixTimestamp(now()) - taken_s AS age_s FROM (${NEWEST}))
GROUP BY platform ORDER BY platform ${BY_MONTH}`,
        units: {
          'seen in 24 h': 'percentunit',
          'seen in 7 days': 'percentunit',
          'median age': 's',
          'p95 age': 's',
          oldest: 's',
        },
        span: 12,
      }),
    )
    .withPanel(
      sqlTable({
        title: 'How jobs ended',
        about: 'By reason, over the time chosen above. What to do about each reason: docs/reasons.md.',
        sql: `SELECT platform, status, reason, count() AS jobs, quantile(0.95)(duration_ms) / 1000 AS "p95 duration"
FROM jobs FINAL WHERE ${HERE} AND ts >= $__fromTime AND ts <= $__toTime
GROUP BY platform, status, reason ORDER BY jobs DESC LIMIT 50 ${BY_MONTH}`,
        units: { 'p95 duration': 's' },
        span: 12,
      }),
    )
    .withRow(new RowBuilder('Growth'))
    .withPanel(
      sqlLines({
        title: 'Followers, all creators',
        about: 'The sum over the creators that were seen on that day: it moves with coverage too.',
        sql: `SELECT toDateTime(day) AS time, platform, sum(total) AS followers FROM platform_daily
WHERE metric = 'followers' AND ${HERE} AND day >= toDate($__fromTime) AND day <= toDate($__toTime)
GROUP BY time, platform ORDER BY time`,
        span: 8,
      }),
    )
    .withPanel(
      sqlLines({
        title: 'Creators seen a day',
        about: 'Coverage by day: look when the sum of followers falls.',
        sql: `SELECT toDateTime(day) AS time, platform, sum(creators) AS creators FROM platform_daily
WHERE metric = 'followers' AND ${HERE} AND day >= toDate($__fromTime) AND day <= toDate($__toTime)
GROUP BY time, platform ORDER BY time`,
        span: 8,
      }),
    )
    .withPanel(
      sqlLines({
        title: 'Followers a creator',
        about:
          'The sum over the creators that were seen on that day, by their number: growth without coverage.',
        sql: `SELECT toDateTime(day) AS time, platform, sum(total) / sum(creators) AS followers FROM platform_daily
WHERE metric = 'followers' AND ${HERE} AND day >= toDate($__fromTime) AND day <= toDate($__toTime)
GROUP BY time, platform ORDER BY time`,
        span: 8,
      }),
    )
    .withPanel(movers('Gained most in 7 days', 'absolute DESC'))
    .withPanel(movers('Grew fastest in 7 days, from 1,000 on', 'relative DESC', 'AND value_from >= 1000'))
    .withPanel(movers('Lost most in 7 days', 'absolute ASC'))
    .withRow(new RowBuilder('One creator'))
    .withPanel(
      sqlLines({
        title: 'Numbers of ${creator}',
        about: 'Every snapshot of the creator named above.',
        sql: `SELECT p.ts AS time, concat(p.platform, ' ', p.metric) AS what, p.value AS value FROM points AS p FINAL
WHERE p.platform IN (\${platform:singlequote}) AND p.creator_id IN (
    SELECT creator_id FROM creators FINAL WHERE ${HERE} AND (creator_id = \${creator:singlequote} OR handle = \${creator:singlequote})
  ) AND p.ts >= $__fromTime AND p.ts <= $__toTime
ORDER BY time LIMIT 100000 ${BY_MONTH}`,
        span: 16,
      }),
    )
    .withPanel(
      sqlTable({
        title: 'Facts of ${creator}',
        about: 'The newest facts, and when the platform said them.',
        sql: `SELECT platform, creator_id, name, handle, verified, gone, flags, followers, ts, observed_at FROM creators FINAL
WHERE ${HERE} AND (creator_id = \${creator:singlequote} OR handle = \${creator:singlequote})`,
        span: 8,
      }),
    )
    .build()
}

function movers(title: string, order: string, where = '') {
  return sqlTable({
    title,
    about: 'By followers, first day against last day of the last seven.',
    // Names by key, of a page of creators: the order needs no join.
    sql: `WITH page AS (
  SELECT platform, creator_id, value_from, value_to, absolute, relative FROM growth_7d
  WHERE metric = 'followers' AND ${HERE} ${where} ORDER BY ${order}, platform, creator_id LIMIT 20
)
SELECT p.platform AS platform, if(c.name = '', p.creator_id, c.name) AS creator, p.value_from AS "before", p.value_to AS "now",
  p.absolute AS gained, p.relative AS share
FROM page AS p LEFT JOIN (
  SELECT platform, creator_id, name FROM creators FINAL WHERE (platform, creator_id) IN (SELECT platform, creator_id FROM page)
) AS c ON c.platform = p.platform AND c.creator_id = p.creator_id
ORDER BY ${order.replace('absolute', 'gained').replace('relative', 'share')}`,
    units: { share: 'percentunit' },
    span: 8,
  })
}
