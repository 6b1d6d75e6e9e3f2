// The environment that `cargo xtask browser` sets: programs, the DynamoDB with the sample, known sessions.
import { join } from 'node:path';

function given(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run \`cargo xtask browser\`, which sets up all it needs`);
  return value;
}

export const CHROMIUM = given('EDGE_ANALYTICS_CHROMIUM');
export const NODE = given('EDGE_ANALYTICS_NODE');
export const WRANGLER = given('EDGE_ANALYTICS_WRANGLER');
/** A folder of this run, deleted after it. */
export const FOLDER = given('EDGE_ANALYTICS_FOLDER');
/** The URL of a DynamoDB whose table holds a sample platform. */
export const DYNAMODB = given('EDGE_ANALYTICS_DYNAMODB');
export const TABLE = given('EDGE_ANALYTICS_TABLE');
/** The full hour at which the sample ends, in epoch milliseconds. */
export const END = Date.parse(given('EDGE_ANALYTICS_END'));
/** The time in every browser, however long the tests take: the hour after END never ends. */
export const NOW = END + 20 * 60_000;

export const SESSIONS = {
  admin: given('EDGE_ANALYTICS_ADMIN_SESSION'),
  ordinary: given('EDGE_ANALYTICS_ORDINARY_SESSION'),
  expired: given('EDGE_ANALYTICS_EXPIRED_SESSION'),
};

export const ROOT = join(import.meta.dirname, '../../..');
