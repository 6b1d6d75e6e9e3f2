// The metrics on the dashboard: labels, units, how they are summarised, which chart shows them. A metric
// of metrics.toml that is not listed here appears on the chart of its type, under its own name.
import { humanise, type Unit } from './format.ts';

/**
 * How values of several periods are summarised: `sum` by their total, `stock` by the latest value,
 * `mean` by the average (distinct counts cannot be added).
 */
export type Kind = 'sum' | 'stock' | 'mean';

export interface Metric {
  type: string;
  /** The name in the API; a part of a value by group is `name.group`. */
  name: string;
  label: string;
  kind: Kind;
  unit: Unit;
  shown: boolean;
}

export interface ChartSpec {
  id: string;
  title: string;
  description: string;
  metrics: Metric[];
}

/** The one metric type of a chart. */
export const typeOf = (chart: ChartSpec): string => chart.metrics[0]?.type ?? '';

const metric = (
  type: string,
  name: string,
  label: string,
  kind: Kind,
  shown = false,
  unit: Unit = 'count',
) => ({
  type,
  name,
  label,
  kind,
  unit,
  shown,
});

export const CHARTS: readonly ChartSpec[] = [
  {
    id: 'users',
    title: 'Users',
    description: 'Visitors, active users and sign-ups.',
    metrics: [
      metric('users', 'visitors', 'Visitors', 'mean', true),
      metric('users', 'activeUsers', 'Active users', 'mean', true),
      metric('users', 'newUsers', 'New users', 'sum', true),
      metric('users', 'deletedUsers', 'Users who left', 'sum'),
      metric('users', 'totalUsers', 'Total users', 'stock'),
    ],
  },
  {
    id: 'views',
    title: 'Views',
    description: 'Views of media and albums.',
    metrics: [
      metric('interactions', 'newViews', 'New views', 'sum', true),
      metric('interactions', 'totalViews', 'Total views', 'stock'),
    ],
  },
  {
    id: 'media',
    title: 'Media',
    description: 'New media, and all media to date.',
    metrics: [
      metric('media', 'newMedia', 'New media', 'sum', true),
      metric('media', 'totalMedia', 'Total media', 'stock', true),
      metric('media', 'publicMedia', 'Public media', 'stock'),
      metric('media', 'privateMedia', 'Private media', 'stock'),
    ],
  },
  {
    id: 'media-status',
    title: 'Media by status',
    description: 'All media to date, by upload status.',
    metrics: [
      metric('media', 'mediaByStatus.processing', 'Processing', 'stock', true),
      metric('media', 'mediaByStatus.failed', 'Failed', 'stock', true),
      metric('media', 'mediaByStatus.completed', 'Completed', 'stock'),
    ],
  },
  {
    id: 'albums',
    title: 'Albums',
    description: 'New albums, and all albums to date.',
    metrics: [
      metric('albums', 'newAlbums', 'New albums', 'sum', true),
      metric('albums', 'totalAlbums', 'Total albums', 'stock', true),
      metric('albums', 'publicAlbums', 'Public albums', 'stock'),
      metric('albums', 'privateAlbums', 'Private albums', 'stock'),
    ],
  },
  {
    id: 'interactions',
    title: 'Interactions',
    description: 'Likes, bookmarks and comments.',
    metrics: [
      metric('interactions', 'newLikes', 'New likes', 'sum', true),
      metric('interactions', 'newBookmarks', 'New bookmarks', 'sum', true),
      metric('interactions', 'newComments', 'New comments', 'sum', true),
      metric('interactions', 'totalLikes', 'Total likes', 'stock'),
      metric('interactions', 'totalBookmarks', 'Total bookmarks', 'stock'),
      metric('interactions', 'totalComments', 'Total comments', 'stock'),
    ],
  },
  {
    id: 'generations',
    title: 'Generations',
    description: 'New generations and their results.',
    metrics: [
      metric('generations', 'newGenerations', 'New generations', 'sum', true),
      metric('generations', 'successfulGenerations', 'Successful', 'sum', true),
      metric('generations', 'failedGenerations', 'Failed', 'sum', true),
      metric('generations', 'totalGenerations', 'Total generations', 'stock'),
    ],
  },
  {
    id: 'generation-time',
    title: 'Generation time',
    description: 'Mean execution time of successful generations. No value where there were none.',
    metrics: [metric('generations', 'averageGenerationTime', 'Average time', 'mean', true, 'seconds')],
  },
  {
    id: 'revenue',
    title: 'Revenue',
    description: 'Completed orders. Amounts are added without currency conversion.',
    metrics: [
      metric('business', 'newRevenue', 'New revenue', 'sum', true, 'usd'),
      metric('business', 'totalRevenue', 'Total revenue', 'stock', false, 'usd'),
    ],
  },
  {
    id: 'mrr',
    title: 'MRR',
    description: 'Monthly recurring revenue of the active subscriptions.',
    metrics: [metric('business', 'MRR', 'MRR', 'stock', true, 'usd')],
  },
  {
    id: 'storage',
    title: 'Storage',
    description: 'Bytes in the bucket.',
    metrics: [
      metric('storage', 'totalStorageBytes', 'All objects', 'stock', true, 'bytes'),
      metric('storage', 'mediaStorageBytes', 'Media', 'stock', true, 'bytes'),
      metric('storage', 'thumbnailStorageBytes', 'Thumbnails', 'stock', true, 'bytes'),
    ],
  },
];

/** Not on a chart: a ranking has its own table, and gigabytes repeat the bytes. */
export const NOT_CHARTED: ReadonlySet<string> = new Set(['mostEngaged', 'totalStorageGB']);

const KNOWN = new Map(CHARTS.flatMap((chart) => chart.metrics).map((known) => [known.name, known]));

export function isKnown(name: string): boolean {
  return KNOWN.has(name) || NOT_CHARTED.has(name);
}

export function metricNamed(name: string, type = ''): Metric {
  return KNOWN.get(name) ?? metric(type, name, humanise(name), 'mean');
}

/** The metric types that can be selected for a recalculation. */
export const METRIC_TYPES = [
  'users',
  'media',
  'albums',
  'interactions',
  'generations',
  'storage',
  'business',
] as const;
