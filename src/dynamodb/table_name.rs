//! The name of a table in requests: its name, or its ARN, which includes the account and the
//! region.
//!
//! Source: [Query, `TableName`](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html#DDB-Query-request-TableName),
//! [naming rules](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html).

use super::region::{is_region, partition_name};

/// The name or ARN of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName {
    /// The name or the ARN, as requests have it.
    pub text: String,
    /// The region in the ARN; `None` for a name.
    pub region: Option<String>,
}

impl TableName {
    /// Parses the name or ARN of a table. `None` if it is neither, if the ARN is not that of a
    /// DynamoDB table, or if its partition is not that of its region.
    ///
    /// ```
    /// # use edge_analytics::dynamodb::TableName;
    /// let arn = "arn:aws:dynamodb:eu-central-1:111122223333:table/platform";
    /// assert_eq!(TableName::parse(arn).unwrap().region.as_deref(), Some("eu-central-1"));
    /// assert_eq!(TableName::parse("platform").unwrap().region, None);
    /// assert_eq!(TableName::parse(&format!("{arn}/index/GSI1")), None);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if is_name(text) {
            return Some(Self { text: text.to_owned(), region: None });
        }
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "dynamodb", region, account, resource] = parts.as_slice() else {
            return None;
        };
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let is_table = is_account
            && is_region(region)
            && *partition == partition_name(region)
            && resource.strip_prefix("table/").is_some_and(is_name);
        is_table.then(|| Self { text: text.to_owned(), region: Some((*region).to_owned()) })
    }
}

fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (3..=255).contains(&text.len()) && text.bytes().all(is_allowed)
}

/// The name of a table, of which `table` may be the ARN.
pub(super) fn short_name(table: &str) -> &str {
    table.rsplit_once(":table/").map_or(table, |(_, name)| name)
}
