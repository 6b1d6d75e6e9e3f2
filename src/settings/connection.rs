//! Where the table is, and with which credentials it is read.

use super::variables::{VariableReader, is_made_of, origin, visible};
use crate::dynamodb::{Connection, Credentials, TableName, is_region, regional_endpoint};

/// The connection and the table, or what is wrong with them in `reader`.
pub(super) fn read_connection<Lookup: Fn(&str) -> Option<String>>(
    reader: &mut VariableReader<Lookup>,
) -> Option<(Connection, String)> {
    let endpoint = reader.optional(
        "DYNAMODB_ENDPOINT",
        "an http or https URL without user, path or query, such as http://127.0.0.1:8000, or leave \
         it unset",
        |text| origin(text.strip_suffix('/').unwrap_or(text)),
    );
    let (table, region) = read_table_and_region(reader);
    let access_key_id = reader.required(
        "AWS_ACCESS_KEY_ID",
        "the id of an AWS access key, such as AKIAIOSFODNN7EXAMPLE",
        |text| visible(text, 256),
    );
    let secret_access_key = reader.required(
        "AWS_SECRET_ACCESS_KEY",
        "the secret of the AWS access key, without spaces, such as \
         wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        |text| visible(text, 256),
    );
    let session_token = reader.optional(
        "AWS_SESSION_TOKEN",
        "the SessionToken that `aws sts get-session-token` prints for temporary credentials, or \
         leave it unset",
        |text| visible(text, 8192),
    );
    let (region, table) = (region?, table?);
    let credentials = Credentials::new(access_key_id?, secret_access_key?, session_token);
    let endpoint = endpoint.unwrap_or_else(|| regional_endpoint(&region));
    Some((Connection { region, endpoint, credentials }, table))
}

/// The table and its region. A table that is named by its ARN has its region in there.
fn read_table_and_region<Lookup: Fn(&str) -> Option<String>>(
    reader: &mut VariableReader<Lookup>,
) -> (Option<String>, Option<String>) {
    const REGION: &str = "AWS_REGION";
    const EXPECTED: &str = "the region of the table, such as eu-central-1";
    // Of a DynamoDB elsewhere the region is only part of the signature, and can have any name.
    let is_elsewhere = reader.value("DYNAMODB_ENDPOINT").is_some();
    let is_valid = |text: &str| {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        is_region(text) || (is_elsewhere && is_made_of(text, 32, is_allowed))
    };
    let table = reader.required(
        "DYNAMODB_TABLE",
        "the name of the table (3 to 255 letters, digits, '_', '-' or '.') or its ARN, such as \
         arn:aws:dynamodb:eu-central-1:111122223333:table/platform",
        TableName::parse,
    );
    let in_arn = table.as_ref().and_then(|table| table.region.clone());
    let region = match &in_arn {
        None => reader.required(REGION, EXPECTED, |text| is_valid(text).then(|| text.to_owned())),
        Some(in_arn) => reader
            .optional(
                REGION,
                "the region in the ARN that DYNAMODB_TABLE is set to, such as eu-central-1, or \
                 leave it unset",
                |text| (text == in_arn).then(|| text.to_owned()),
            )
            .or_else(|| Some(in_arn.clone())),
    };
    (table.map(|table| table.text), region)
}
