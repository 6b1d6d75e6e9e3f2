//! Regions: their names, their partitions, and the endpoints of DynamoDB.
//!
//! Sources: [partitions.json](https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json)
//! of AWS's SDKs, [DynamoDB endpoints](https://docs.aws.amazon.com/general/latest/gr/ddb.html).

/// A partition of AWS: a group of regions with its own domain and accounts.
struct Partition {
    /// The prefix of the names of its regions.
    prefix: &'static str,
    /// Its name in an ARN.
    name: &'static str,
    /// The domain of its endpoints.
    domain: &'static str,
}

/// Every partition except the commercial one, to which all other regions belong.
const PARTITIONS: [Partition; 7] = [
    Partition { prefix: "cn-", name: "aws-cn", domain: "amazonaws.com.cn" },
    Partition { prefix: "us-gov-", name: "aws-us-gov", domain: "amazonaws.com" },
    Partition { prefix: "eusc-", name: "aws-eusc", domain: "amazonaws.eu" },
    Partition { prefix: "us-iso-", name: "aws-iso", domain: "c2s.ic.gov" },
    Partition { prefix: "us-isob-", name: "aws-iso-b", domain: "sc2s.sgov.gov" },
    Partition { prefix: "eu-isoe-", name: "aws-iso-e", domain: "cloud.adc-e.uk" },
    Partition { prefix: "us-isof-", name: "aws-iso-f", domain: "csp.hci.ic.gov" },
];

const COMMERCIAL: Partition = Partition { prefix: "", name: "aws", domain: "amazonaws.com" };

fn partition_of(region: &str) -> &'static Partition {
    PARTITIONS.iter().find(|partition| region.starts_with(partition.prefix)).unwrap_or(&COMMERCIAL)
}

/// The name of the region's partition, as in an ARN.
pub(super) fn partition_name(region: &str) -> &'static str {
    partition_of(region).name
}

/// The URL of DynamoDB in `region`.
///
/// ```
/// # use edge_analytics::dynamodb::regional_endpoint;
/// assert_eq!(regional_endpoint("eu-west-1"), "https://dynamodb.eu-west-1.amazonaws.com");
/// assert_eq!(regional_endpoint("cn-north-1"), "https://dynamodb.cn-north-1.amazonaws.com.cn");
/// ```
#[must_use]
pub fn regional_endpoint(region: &str) -> String {
    format!("https://dynamodb.{region}.{}", partition_of(region).domain)
}

/// Whether `text` has the form of a region's name, such as `eu-central-1` or `us-gov-west-1`: an
/// area, one or two words, a number. It is not compared with a list, so that new regions are valid.
#[must_use]
pub fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [area, words @ .., number] = parts.as_slice() else { return false };
    let is_word = |word: &&str| {
        (1..=12).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    (2..=4).contains(&area.len())
        && is_word(area)
        && (1..=2).contains(&words.len())
        && words.iter().all(is_word)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
}
