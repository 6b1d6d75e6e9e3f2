//! Messages about settings, as an operator meets them.

use edge_analytics::{
    dynamodb::{DynamoDbError, ErrorKind},
    settings::Settings,
};
use support::api::variable;

use crate::source;

/// The variables that the settings read: the upper-case literals in `src/settings`.
fn variables() -> Vec<String> {
    let mut names = Vec::new();
    for (file, content) in source::files() {
        if !file.starts_with("src/settings/") {
            continue;
        }
        for word in content.split('"') {
            let is_name = word.len() > 5
                && word.contains('_')
                && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            if is_name && !names.iter().any(|name| name == word) {
                names.push(word.to_owned());
            }
        }
    }
    names
}

fn problem(name: &str, value: Option<&str>) -> Option<String> {
    let read = |variable_name: &str| {
        if variable_name == name {
            value.map(str::to_owned)
        } else {
            variable(variable_name, "http://localhost:8000", "platform")
        }
    };
    Settings::read(read).err().map(|error| error.to_string())
}

/// Each variable where it is missing, if it must be there, and where it is malformed; then the
/// errors of DynamoDB.
pub fn met() -> String {
    let mut met = vec!["As met: settings\n".to_owned()];
    for name in variables() {
        for (state, value) in [("missing", None), ("malformed", Some("\u{1} wrong \u{1}"))] {
            match problem(&name, value) {
                Some(problem) => met.push(format!("    {problem}")),
                None if state == "missing" => {}
                None => met.push(format!("    {name}: any value is valid")),
            }
        }
    }
    let both = Settings::read(|_| None).unwrap_err();
    met.push(format!("    {both}\n\nAs met: DynamoDB\n"));
    for kind in [
        ErrorKind::Service {
            code: "ThrottlingException".to_owned(),
            status: 400,
            message: "Rate exceeded".to_owned(),
            cancellation: None,
        },
        ErrorKind::Connection("connection refused".to_owned()),
        ErrorKind::Timeout(10_000),
        ErrorKind::MalformedResponse("missing field `Items`".to_owned()),
        ErrorKind::Damaged { length: 512 },
        ErrorKind::Unprocessed(3),
        ErrorKind::InvalidRequest("signing failed".to_owned()),
    ] {
        let error = DynamoDbError {
            operation: "Query",
            target: "platform/GSI4".to_owned(),
            attempts: 3,
            kind,
        };
        met.push(format!("    {error}"));
    }
    met.join("\n") + "\n"
}
