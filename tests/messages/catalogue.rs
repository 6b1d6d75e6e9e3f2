//! Messages about a wrong `metrics.toml`, as its author meets them.

use support::catalogue::read;

/// A small catalogue without a mistake.
const FORUM: &str = r#"types = ["forum"]

[sources.posts]
index = "GSI3"
keys = ["GSI3PK", "GSI3SK"]
partitions = ["POST"]
sort_key_time = { attribute = "createdAt", format = "instant" }

[[metrics]]
type = "forum"
name = "newPosts"
source = "posts"
measure = "count"
window = "period"
time = ["createdAt"]
rollup = "sum"

[realtime]
flows = ["newPosts"]
headlines = ["newPosts"]
"#;

/// What is replaced by what in it.
const MISTAKES: [(&str, &str); 16] = [
    ("types = [\"forum\"]", "types = [\"forum\""),
    ("types = [\"forum\"]", "types = []"),
    ("type = \"forum\"", "type = \"shop\""),
    ("name = \"newPosts\"", "name = \"new posts\""),
    ("source = \"posts\"", "source = \"topics\""),
    ("source = \"posts\"\n", ""),
    ("measure = \"count\"", "measure = \"median\""),
    ("measure = \"count\"", "measure = \"count\"\nlimit = 3"),
    ("measure = \"count\"", "measure = \"count\"\ncolour = \"blue\""),
    ("measure = \"count\"", "measure = \"count\"\nwhere = { kind = 1 }"),
    ("window = \"period\"", "window = \"to_date\""),
    ("time = [\"createdAt\"]", "time = [\"a.b\"]"),
    ("rollup = \"sum\"", "rollup = \"last\""),
    ("partitions = [\"POST\"]", "partitions = []"),
    ("format = \"instant\"", "format = \"day\""),
    ("flows = [\"newPosts\"]", "flows = [\"oldPosts\"]"),
];

pub fn met() -> String {
    let mut met = vec!["As met\n".to_owned()];
    for (from, to) in MISTAKES {
        assert!(FORUM.contains(from), "{from}");
        let error = read(&FORUM.replacen(from, to, 1)).err().unwrap_or_else(|| panic!("{to}"));
        met.push(format!("    {}\n        {error}", to.replace('\n', "; ")));
    }
    met.join("\n") + "\n"
}
