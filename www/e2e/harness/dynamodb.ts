// The sample's table itself, for what no API does: taking a record away and putting it back.
import { DYNAMODB, TABLE } from './environment.ts';

type Item = Record<string, unknown>;

async function call(operation: string, body: object): Promise<{ Item?: Item; Attributes?: Item }> {
  const answer = await fetch(DYNAMODB, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': `DynamoDB_20120810.${operation}`,
      // The embedded DynamoDB asks for a signature and takes any.
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

/** Deletes the record of an hour; answers what puts it back. */
export async function takeHourAway(metricType: string, hour: number): Promise<() => Promise<void>> {
  const Key = { PK: { S: `ANALYTICS#${metricType}#hourly` }, SK: { S: new Date(hour).toISOString() } };
  const { Attributes: record } = await call('DeleteItem', { Key, ReturnValues: 'ALL_OLD' });
  if (!record) throw new Error(`there is no record ${Key.PK.S} ${Key.SK.S}`);
  return async () => {
    await call('PutItem', { Item: record });
  };
}
