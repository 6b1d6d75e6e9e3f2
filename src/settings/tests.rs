use super::*;
use crate::metrics::retention::Retention;

const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn lookup(change: &'static str, value: Option<&'static str>) -> impl Fn(&str) -> Option<String> {
    move |variable| {
        if variable == change {
            return value.map(str::to_owned);
        }
        match variable {
            "AWS_REGION" => Some("eu-central-1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("example".to_owned()),
            "DYNAMODB_TABLE" => Some("platform".to_owned()),
            "API_TOKENS" => Some(format!("ops:{DIGEST}")),
            _ => None,
        }
    }
}

/// Whether the text has an example, or the command that prints the value.
fn has_example(text: &str) -> bool {
    text.contains("such as") || text.contains("prints")
}

#[test]
fn the_regional_endpoint_is_the_default() {
    let settings = Settings::read(lookup("", None)).unwrap();
    assert_eq!(settings.connection.endpoint, "https://dynamodb.eu-central-1.amazonaws.com");
    assert!(settings.allowed_origins.is_empty());
}

/// Source of the hosts: the regions' pages of AWS's documentation and partitions.json of its SDKs.
#[test]
fn every_partition_has_its_domain() {
    for (region, endpoint) in [
        ("us-east-1", "https://dynamodb.us-east-1.amazonaws.com"),
        ("ap-southeast-5", "https://dynamodb.ap-southeast-5.amazonaws.com"),
        ("mx-central-1", "https://dynamodb.mx-central-1.amazonaws.com"),
        ("cn-north-1", "https://dynamodb.cn-north-1.amazonaws.com.cn"),
        ("cn-northwest-1", "https://dynamodb.cn-northwest-1.amazonaws.com.cn"),
        ("us-gov-west-1", "https://dynamodb.us-gov-west-1.amazonaws.com"),
        ("us-iso-east-1", "https://dynamodb.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", "https://dynamodb.us-isob-east-1.sc2s.sgov.gov"),
        ("us-isof-south-1", "https://dynamodb.us-isof-south-1.csp.hci.ic.gov"),
        ("eu-isoe-west-1", "https://dynamodb.eu-isoe-west-1.cloud.adc-e.uk"),
        ("eusc-de-east-1", "https://dynamodb.eusc-de-east-1.amazonaws.eu"),
    ] {
        let settings = Settings::read(lookup("AWS_REGION", Some(region))).unwrap();
        assert_eq!(settings.connection.endpoint, endpoint);
        assert_eq!(settings.connection.region, region);
    }
}

#[test]
fn an_invalid_region_is_rejected_unless_there_is_an_endpoint() {
    for region in [
        "eu-central",
        "eu-central-",
        "-central-1",
        "eu--1",
        "eu-central-1a",
        "eu-central-123",
        "EU-CENTRAL-1",
        "eu_central_1",
        "eu-central-1.example.com",
        "eu-central-1/",
        "eu-central-1-",
        "europe-central-1",
        "e-central-1",
        "us-gov-west-extra-1",
        "local",
        "1",
    ] {
        let Misconfigured(problems) =
            Settings::read(lookup("AWS_REGION", Some(region))).unwrap_err();
        let names: Vec<_> =
            problems.iter().map(|problem| (problem.variable, problem.is_missing)).collect();
        assert_eq!(names, [("AWS_REGION", false)], "{region}");
    }
    let elsewhere = |variable: &str| match variable {
        "DYNAMODB_ENDPOINT" => Some("http://localhost:8000".to_owned()),
        _ => lookup("AWS_REGION", Some("local"))(variable),
    };
    let settings = Settings::read(elsewhere).unwrap();
    assert_eq!(settings.connection.region, "local");
    assert_eq!(settings.connection.endpoint, "http://localhost:8000");
}

/// The variables with this table and this region.
fn table_in(table: &'static str, region: Option<&'static str>) -> impl Fn(&str) -> Option<String> {
    move |variable| match variable {
        "DYNAMODB_TABLE" => Some(table.to_owned()),
        _ => lookup("AWS_REGION", region)(variable),
    }
}

#[test]
fn an_arn_names_the_table_and_its_region() {
    for (arn, region, endpoint) in [
        (
            "arn:aws:dynamodb:eu-central-1:111122223333:table/platform",
            "eu-central-1",
            "https://dynamodb.eu-central-1.amazonaws.com",
        ),
        (
            "arn:aws-cn:dynamodb:cn-north-1:111122223333:table/a.b_c-D1",
            "cn-north-1",
            "https://dynamodb.cn-north-1.amazonaws.com.cn",
        ),
        (
            "arn:aws-us-gov:dynamodb:us-gov-east-1:000000000001:table/abc",
            "us-gov-east-1",
            "https://dynamodb.us-gov-east-1.amazonaws.com",
        ),
    ] {
        for set in [None, Some(region)] {
            let settings = Settings::read(table_in(arn, set)).unwrap();
            assert_eq!(settings.table, arn);
            assert_eq!(settings.connection.region, region);
            assert_eq!(settings.connection.endpoint, endpoint);
        }
    }
}

#[test]
fn an_arn_of_another_region_names_both_variables() {
    let arn = "arn:aws:dynamodb:eu-central-1:111122223333:table/platform";
    for region in ["eu-west-1", "eu-central-2", "Frankfurt"] {
        let error = Settings::read(table_in(arn, Some(region))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "AWS_REGION is malformed: set it to the region in the ARN that DYNAMODB_TABLE is set \
             to, such as eu-central-1, or leave it unset"
        );
    }
}

#[test]
fn an_invalid_table_arn_is_rejected() {
    for arn in [
        "arn:aws:dynamodb:eu-central-1:111122223333:table/",
        "arn:aws:dynamodb:eu-central-1:111122223333:table/ab",
        "arn:aws:dynamodb:eu-central-1:111122223333:table/platform/index/GSI1",
        "arn:aws:dynamodb:eu-central-1:111122223333:table/platform/stream/2026",
        "arn:aws:dynamodb:eu-central-1:111122223333:platform",
        "arn:aws:dynamodb:eu-central-1:11112222333:table/platform",
        "arn:aws:dynamodb:eu-central-1:11112222333x:table/platform",
        "arn:aws:dynamodb:eu-central-1::table/platform",
        "arn:aws:dynamodb::111122223333:table/platform",
        "arn:aws:dynamodb:nowhere:111122223333:table/platform",
        "arn:aws:s3:eu-central-1:111122223333:table/platform",
        "arn:aws:dynamodb:eu-central-1:111122223333:table/platform:x",
        "arn:aws-cn:dynamodb:eu-central-1:111122223333:table/platform",
        "arn:aws:dynamodb:cn-north-1:111122223333:table/platform",
        "arn::dynamodb:eu-central-1:111122223333:table/platform",
        "aws:dynamodb:eu-central-1:111122223333:table/platform",
        "ab",
    ] {
        let Misconfigured(problems) =
            Settings::read(table_in(arn, Some("eu-central-1"))).unwrap_err();
        let names: Vec<_> =
            problems.iter().map(|problem| (problem.variable, problem.is_missing)).collect();
        assert_eq!(names, [("DYNAMODB_TABLE", false)], "{arn}");
    }
}

#[test]
fn options_of_runs_have_defaults() {
    let settings = Settings::read(lookup("", None)).unwrap();
    assert_eq!(settings.options, Options::default());
    assert_eq!(settings.realtime_cron, "*/5 * * * *");
    let settings = Settings::read(lookup("RETENTION_DAILY_DAYS", Some("0"))).unwrap();
    assert_eq!(settings.options.retention, Retention { daily: 0, ..Retention::default() });
    let settings = Settings::read(lookup("READ_UNITS_PRICE", Some("0.25"))).unwrap();
    assert!((settings.options.prices.read - 0.25).abs() < f64::EPSILON);
}

#[test]
fn every_required_variable_is_named_when_it_is_missing() {
    for variable in
        ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "DYNAMODB_TABLE", "API_TOKENS"]
    {
        for value in [None, Some("")] {
            let Misconfigured(problems) = Settings::read(lookup(variable, value)).unwrap_err();
            let names: Vec<_> =
                problems.iter().map(|problem| (problem.variable, problem.is_missing)).collect();
            assert_eq!(names, [(variable, true)]);
            assert!(has_example(problems[0].expected), "{}", problems[0].expected);
        }
    }
}

#[test]
fn a_malformed_variable_is_named_with_an_example_and_without_its_value() {
    for (variable, value) in [
        ("AWS_REGION", "Frankfurt am Main"),
        ("AWS_SECRET_ACCESS_KEY", "two words"),
        ("DYNAMODB_TABLE", "a/b/c"),
        ("DYNAMODB_ENDPOINT", "ftp://hidden.example.com"),
        ("DYNAMODB_ENDPOINT", "http://user:hidden@localhost:8000"),
        ("DYNAMODB_ENDPOINT", "http://localhost:8000/hidden"),
        ("API_TOKENS", "hidden"),
        ("API_TOKENS", "ops:0123"),
        ("ALLOWED_ORIGINS", "*"),
        ("ALLOWED_ORIGINS", "https://admin.example.com/hidden"),
        ("HEALTH_TOKEN", "hidden"),
        ("RETENTION_HOURLY_DAYS", "36501"),
        ("RETENTION_MONTHLY_DAYS", "-1"),
        ("TRAILING_HOURS", "three"),
        ("MAXIMUM_LATENESS", "60"),
        ("CATCH_UP_REQUESTS", "10001"),
        ("CATCH_UP_SECONDS", "1e2"),
        ("READ_UNITS_PRICE", "0,125"),
        ("WRITE_UNITS_PRICE", "-0.625"),
        ("REALTIME_CRON", "every five minutes or so"),
        ("REALTIME_CRON", "0 * * * *"),
    ] {
        let error = Settings::read(lookup(variable, Some(value))).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("{variable} is malformed")), "{text}");
        assert!(!text.contains(value), "{text}");
        assert!(!text.contains("hidden"), "{text}");
        assert!(has_example(&text), "{text}");
    }
}

#[test]
fn debug_output_holds_no_secret() {
    let settings = Settings::read(lookup("AWS_SECRET_ACCESS_KEY", Some("swordfish"))).unwrap();
    let text = format!("{settings:?}");
    assert!(!text.contains("swordfish") && !text.contains(&DIGEST[..8]), "{text}");
}
