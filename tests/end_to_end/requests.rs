//! Paths, simultaneous requests, the log, panics and misconfiguration.

use chrono::TimeDelta;
use http::Method;
use serde_json::{Value, json};
use support::engine_suite::{TYPES, end};

use crate::{
    common::{
        API, TOKEN, assert_common_headers, assert_error, assert_late_hour_is_right, bearer,
        day_path, end_to_end, get, instant, note,
    },
    worker::Worker,
};

#[test]
fn unknown_paths_are_404_and_wrong_methods_405() {
    end_to_end(async |shared| {
        for path in [
            "/api/admin/analytics",
            "/api/admin/analytics/",
            "/api/admin/analytics/metrics/",
            "/api/admin/analytics/metrics/users",
            "/api/admin/analytics/metrics%00",
            "/api/admin/analytics/%ff",
            "/API/admin/analytics/metrics",
            "//api/admin/analytics/metrics",
            "/api/admin/analytics/metric%1b%5b31m",
            // Not in the released package.
            "/fault/panic",
        ] {
            let answer = get(&shared.worker, path).await;
            assert_eq!(assert_error(&answer, 404, path), "Not found");
        }
        let authorization = bearer(TOKEN);
        let headers = [("authorization", authorization.as_str())];
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = shared.worker.send(method.clone(), &day_path("users"), &headers).await;
            assert_eq!(assert_error(&answer, 405, method.as_str()), "Method not allowed");
            let allow = answer.header("allow");
            let methods: Vec<&str> = allow.split(',').map(str::trim).collect();
            assert!(methods.contains(&"GET") && !methods.contains(&method.as_str()), "{allow}");
        }
        let answer = shared.worker.send(Method::HEAD, &day_path("users"), &headers).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    });
}

#[test]
fn fifty_requests_at_once_are_all_answered_alike() {
    end_to_end(async |shared| {
        let path = day_path("all");
        let requests = (0..50).map(|_| get(&shared.worker, &path));
        let answers = futures_util::future::join_all(requests).await;
        let mut ids: Vec<&str> = Vec::new();
        for answer in &answers {
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_common_headers(answer, "one of fifty");
            assert!(answer.body == answers[0].body, "two of fifty answers differ");
            ids.push(answer.header("x-request-id"));
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 50, "distinct request ids");
        assert_eq!(answers[0].json()["data"]["missing"], json!([]));
    });
}

#[test]
fn a_run_leaves_one_structured_line_in_the_log() {
    end_to_end(async |shared| {
        let hour = end() - TimeDelta::days(6);
        shared.worker.aggregate(hour).await;
        let of_hour = |line: &Value| line["event"] == "run" && line["timestamp"] == instant(hour);
        let lines = shared.worker.wait_for_events("the run's line", 1, of_hour).await;
        let [line] = &lines[..] else { panic!("not one line: {lines:?}") };
        assert_eq!(line["status"], "complete", "{line}");
        assert_eq!(line["granularity"], "hourly", "{line}");
        assert_eq!(line["runId"].as_str().map(str::len), Some(32), "{line}");
        let mut types = TYPES.to_vec();
        types.sort_unstable();
        assert_eq!(line["typesWritten"], json!(types), "{line}");
        assert_eq!(line["typesFailed"], json!({}), "{line}");
        assert!(line["estimatedCostUsd"].as_f64().is_some_and(|cost| cost > 0.0), "{line}");
        for name in ["requests", "pages", "readUnits", "writeUnits"] {
            assert!(line[name].as_f64().is_some_and(|number| number > 0.0), "{name} in {line}");
        }
        assert!(line["milliseconds"].as_i64().is_some_and(|number| number >= 0), "{line}");
        let malformed = line["malformed"].as_object().unwrap();
        assert!(malformed.contains_key("totalUsers"), "{line}");
        assert_late_hour_is_right(shared, hour, "after the run").await;
    });
}

#[test]
fn a_request_leaves_one_structured_line_in_the_log() {
    end_to_end(async |shared| {
        let good = get(&shared.worker, &day_path("users")).await;
        let bad = get(&shared.worker, "/nowhere%1b%5b31m").await;
        for (answer, path) in [(&good, API), (&bad, "/nowhere%1b%5b31m")] {
            let id = answer.header("x-request-id");
            let of_request = |line: &Value| line["requestId"] == id;
            let lines = shared.worker.wait_for_events("the request's line", 1, of_request).await;
            let [line] = &lines[..] else { panic!("not one line: {lines:?}") };
            assert_eq!(line["event"], "request", "{line}");
            assert_eq!(line["method"], "GET", "{line}");
            assert_eq!(line["path"], path, "{line}");
            assert_eq!(line["status"], json!(answer.status), "{line}");
            assert!(line["milliseconds"].is_i64(), "{line}");
        }
    });
}

/// The dashboard is there, from this origin alone; what is no file of it is the Worker's.
#[test]
fn the_dashboard_is_served_with_a_strict_policy() {
    end_to_end(async |shared| {
        let page = shared.worker.send(Method::GET, "/", &[]).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        let script = page.body.split('"').find(|part| part.starts_with("/assets/")).unwrap();
        let script = shared.worker.send(Method::GET, script, &[]).await;
        assert_eq!(script.status, 200);
        assert!(script.header("cache-control").contains("immutable"), "{script:?}");
    });
}

#[test]
fn a_misconfigured_worker_names_the_variable_and_goes_on() {
    const MALFORMED: &str = "tests:neither-a-digest-nor-anything";
    end_to_end(async |shared| {
        for (variable, value, state) in
            [("DYNAMODB_TABLE", None, "missing"), ("API_TOKENS", Some(MALFORMED), "malformed")]
        {
            let variables = shared.variables_with(variable, value);
            let worker = Worker::start(&shared.tools, &shared.package, &variables).await;
            let _log = worker.show_log_on_failure();
            // Before a cron event and after it.
            for round in ["before", "after"] {
                let context = format!("{variable}, {round} a cron event");
                for (method, path) in
                    [(Method::GET, day_path("users")), (Method::POST, "/api/".into())]
                {
                    let answer = worker.send(method, &path, &[]).await;
                    let error = assert_error(&answer, 500, &context);
                    assert_eq!(error, "misconfigured", "{context}");
                    let body = answer.json();
                    let message = body["message"].as_str().unwrap();
                    let named = format!("{variable} is {state}");
                    assert!(message.contains(&named), "{context}: {message}");
                    assert_eq!(body["details"]["variables"], json!([variable]), "{context}");
                    assert!(!answer.body.contains(MALFORMED), "{context}");
                    let id = answer.header("x-request-id");
                    let of_request = |line: &Value| line["requestId"] == id;
                    let lines = worker.wait_for_events("the request's line", 1, of_request).await;
                    let cause = lines[0]["cause"].as_str().unwrap_or("");
                    assert!(cause.contains(&named), "{context}: {}", lines[0]);
                }
                worker.aggregate(end() - TimeDelta::hours(1)).await;
            }
            let of_run = |line: &Value| line["event"] == "run";
            for line in worker.wait_for_events("the lines of the runs", 2, of_run).await {
                assert_eq!(line["status"], "failed", "{line}");
                assert!(line["problems"].to_string().contains(variable), "{line}");
            }
            let log = worker.log();
            assert!(!log.contains("neither-a-digest"), "the value of {variable} is in the log");
            assert!(!log.to_lowercase().contains("panic"), "{variable}: a panic in the log");
            shared.assert_no_secret_in_the_log_of(&worker);
        }
    });
}

#[test]
fn a_panic_in_one_request_does_not_poison_the_next() {
    // Each takes ten seconds: so long a request that was taken down waits for the timer of its own
    // that keeps the runtime from noticing.
    const ROUNDS: usize = 3;
    end_to_end(async |shared| {
        let worker = Worker::start(&shared.tools, &shared.fault_package, &shared.variables).await;
        let _log = worker.show_log_on_failure();
        let path = day_path("users");
        let expected = get(&worker, &path).await;
        assert_eq!(expected.status, 200, "{expected:?}");
        let is_panic = |line: &Value| line["event"] == "panic";
        let mut taken_down = 0;
        for round in 1..=ROUNDS {
            // On their own.
            let failed = get(&worker, "/fault/panic").await;
            assert!(failed.status >= 500, "round {round}: {failed:?}");
            let next = get(&worker, &path).await;
            assert_eq!(next.status, 200, "round {round}, right after the panic: {next:?}");
            assert!(next.body == expected.body, "round {round}: another answer than before");

            // And with others in flight: those it takes down are answered with an error, none
            // with a wrong body, and the one right after it succeeds while they end.
            let others = futures_util::future::join_all((0..8).map(|_| get(&worker, &path)));
            let (others, (failed, next)) = tokio::join!(others, async {
                (get(&worker, "/fault/panic").await, get(&worker, &path).await)
            });
            assert!(failed.status >= 500, "round {round}: {failed:?}");
            let after = futures_util::future::join_all((0..8).map(|_| get(&worker, &path))).await;
            for next in [&next].into_iter().chain(&after) {
                assert_eq!(next.status, 200, "round {round}, after the panic: {next:?}");
                assert!(next.body == expected.body, "round {round}: another answer than before");
            }
            for other in &others {
                let right = other.status == 200 && other.body == expected.body;
                assert!(right || other.status >= 500, "round {round}: {other:?}");
                taken_down += usize::from(!right);
            }
        }
        note(&format!(
            "{ROUNDS} panics beside 8 requests each: {taken_down} of {} failed with it, none after it",
            8 * ROUNDS
        ));
        let panics = worker.wait_for_events("the panics", 2 * ROUNDS, is_panic).await;
        assert_eq!(panics.len(), 2 * ROUNDS);
        for line in panics {
            assert!(line["message"].as_str().unwrap().contains("a panic on purpose"), "{line}");
        }
        // A cron event works as before, too.
        let hour = end() - TimeDelta::days(4);
        worker.aggregate(hour).await;
        assert_late_hour_is_right(shared, hour, "after panics").await;
        shared.assert_no_secret_in_the_log_of(&worker);
    });
}
