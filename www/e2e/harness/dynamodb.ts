// Changes to the sample's table that the API does not offer: deleting or marking a record, and restoring it.
import { DYNAMODB, TABLE } from './environment.ts';

type Item = Record<string, unknown>;

async function call(operation: string, body: object): Promise<{ Item?: Item; Attributes?: Item }> {
  const answer = await fetch(DYNAMODB, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': `DynamoDB_20120810.${operation}`,
      // The embedded DynamoDB requires a signature and accepts any.
      'x-amz-date': '20260101T000000Z',
      authorization:
        'AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0',
    },
    body: JSON.stringify({ TableName: TABLE, ...body }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${operation}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

/** Deletes the record of an hour; returns a function that restores it. */
export async function takeHourAway(metricType: string, hour: number): Promise<() => Promise<void>> {
  const Key = { PK: { S: `ANALYTICS#${metricType}#hourly` }, SK: { S: new Date(hour).toISOString() } };
  const { Attributes: record } = await call('DeleteItem', { Key, ReturnValues: 'ALL_OLD' });
  if (!record) throw new Error(`there is no record ${Key.PK.S} ${Key.SK.S}`);
  return async () => {
    await call('PutItem', { Item: record });
  };
}

/** Marks values of a day's record as reconstructed, and the day as stale; returns a function that reverts it. */
export async function markDay(
  metricType: string,
  day: number,
  reconstructed: Record<string, 'lowerBound' | 'estimate'>,
): Promise<() => Promise<void>> {
  const start = new Date(day).toISOString();
  const Key = { PK: { S: `ANALYTICS#${metricType}#daily` }, SK: { S: start } };
  const { Attributes: record } = await call('UpdateItem', {
    Key,
    UpdateExpression: 'SET reconstructed = :values',
    ConditionExpression: 'attribute_exists(PK)',
    ExpressionAttributeValues: {
      ':values': {
        M: Object.fromEntries(Object.entries(reconstructed).map(([name, what]) => [name, { S: what }])),
      },
    },
    ReturnValues: 'ALL_OLD',
  });
  if (!record) throw new Error(`there is no record ${Key.PK.S} ${Key.SK.S}`);
  // Marked now, after every record was computed; the version excludes older responses from the cache.
  const marks = { SS: [`${start}#${new Date().toISOString()}`] };
  const state = (operation: 'ADD' | 'DELETE') =>
    call('UpdateItem', {
      Key: { PK: { S: 'ANALYTICS_STATE' }, SK: { S: 'daily' } },
      UpdateExpression:
        operation === 'ADD'
          ? 'ADD staleMarks :marks, cacheVersion :one'
          : 'DELETE staleMarks :marks ADD cacheVersion :one',
      ExpressionAttributeValues: { ':marks': marks, ':one': { N: '1' } },
    });
  await state('ADD');
  return async () => {
    await state('DELETE');
    await call('PutItem', { Item: record });
  };
}
